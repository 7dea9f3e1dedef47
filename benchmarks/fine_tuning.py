"""Fine-tuning against training from nothing, at equal steps, on a folder of photographs.

``python -m benchmarks.fine_tuning OUT``: a DeepFillV2 learns faces, its weights leave in nipponjo's published layout
and come back through `import-weights`; then it is fitted to a few photographs (other faces) with ``--init_from`` at a
lower learning rate, beside the same network from nothing. The test images are compared one by one, so the difference is
a paired one. With ``--weights FILE`` the file of a published program takes the place of the first training, with
``--root FOLDER`` one's own photographs that of drawn faces. docs/training.md has the result on synthetic faces.
"""

import argparse
import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datamodules import DrawnFaces, ImageFolder
from experiments import cli
from lit_inpaint.load import load_method, read_checkpoint
from lit_inpaint.metrics import metric
from masks import DeepFillV2Mask

SIZE, WIDTH, RATE = 64, 16, 1e-4
SHARES = {"val_share": 0.1, "test_share": 0.3}  # of a folder that is not split


def photographs(out: Path, train: int, test: int) -> Path:
    """Faces of people whom the first training has not seen, as files."""
    people = DrawnFaces(DeepFillV2Mask(), SIZE, train=train, val=20, test=test, faces_seed=7)
    for split in ("train", "val", "test"):
        files = people.files(split)  # type: ignore[arg-type]
        (out / split).mkdir(parents=True, exist_ok=True)
        for index in range(len(files)):
            Image.fromarray(files.read(index)).save(out / split / f"{index:04}.png")
    return out


def run(*words: object) -> None:
    with contextlib.suppress(SystemExit):
        cli.main([str(word) for word in words])


def fit(folder: Path, steps: int, *more: object) -> Path:
    """A fit of so many steps; one that has ended is not repeated."""
    checkpoint = folder / "checkpoints/last.ckpt"
    run(
        "fit", "--model", "DeepFillV2", "--model.variant", "nipponjo", "--model.width", WIDTH,
        "--model.discriminator_width", WIDTH, *more, "--data.mask", "DeepFillV2Mask", "--data.image_size", SIZE,
        "--data.batch_size", 8, "--data.num_workers", 0, "--trainer.max_steps", steps, "--trainer.accelerator", "cpu",
        "--trainer.default_root_dir", folder, "--trainer.limit_val_batches", 0, "--trainer.num_sanity_val_steps", 0,
        "--trainer.enable_model_summary", "false", "--ckpt_path", "auto",
    )  # fmt: skip
    if not checkpoint.is_file() or read_checkpoint(checkpoint)["global_step"] < steps:
        raise SystemExit(f"{folder}: the fit failed or was stopped, see above. Run the same command again to resume.")
    return checkpoint


def data(photos: Path) -> ImageFolder:
    return ImageFolder(photos, DeepFillV2Mask(), image_size=SIZE, **shares(photos))


def shares(photos: Path) -> dict[str, float]:
    return {} if (photos / "test").is_dir() else SHARES


def scores(checkpoint: Path, photos: Path) -> np.ndarray:
    """Hole PSNR of every test image; holes are those of an evaluation."""
    test = data(photos).evaluation_set("test")
    method, psnr, found = load_method(checkpoint), metric("psnr_hole"), []
    with torch.no_grad():
        for index in range(len(test)):
            image, mask = test[index].image[None], test[index].mask[None]
            found.append(float(psnr(method(image, mask), image, mask)))
    return np.array(found)


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--weights", type=Path, help="DeepFillV2 in a published layout; default: trained here")
    p.add_argument("--first", type=int, default=2000, help="steps of that training")
    p.add_argument("--steps", type=int, default=300, help="steps of the two fits that are compared")
    p.add_argument("--root", type=Path, help="folder of one's own photographs; default: other faces, drawn here")
    p.add_argument("--photos", type=int, default=40, help="drawn faces to train on")
    p.add_argument("--test", type=int, default=100, help="drawn faces to test on")
    a = p.parse_args(argv)
    os.environ.setdefault("WANDB_MODE", "disabled")
    published, imported = a.weights or a.out / "nipponjo.pth", a.out / "imported.ckpt"
    if not a.weights:
        first = fit(a.out / "first", a.first, "--data", "DrawnFaces")
        run("export", first, "--format", "official", "--out", published)
    if not imported.is_file():
        run("import-weights", "DeepFillV2", published, "--out", imported)
    photos = a.root or photographs(a.out / "photos", a.photos, a.test)
    own: list[object] = ["--data", "ImageFolder", "--data.root", photos]
    own += [word for name, share in shares(photos).items() for word in (f"--data.{name}", share)]
    lower = "--init_from", imported, "--init_strict", "false", "--model.learning_rate", RATE / 2
    tuned = scores(fit(a.out / "tuned", a.steps, *own, *lower), photos)
    fresh = scores(fit(a.out / "fresh", a.steps, *own), photos)
    before = scores(imported, photos)
    trained = len(data(photos).files("train"))
    result: dict[str, object] = {"photographs": trained, "steps": a.steps, "test_images": len(before)}
    for name, values in (("imported", before), ("fresh", fresh), ("tuned", tuned)):
        result[f"psnr_hole_{name}"] = round(float(values.mean()), 3)
    for name, gain in (("tuned_minus_fresh", tuned - fresh), ("tuned_minus_imported", tuned - before)):
        half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
        result[name] = [round(float(x), 3) for x in (gain.mean(), gain.mean() - half, gain.mean() + half)]
    (a.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
