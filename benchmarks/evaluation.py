"""`lit-inpaint benchmark` beside the loops that people write, LaMa's evaluator and torch-fidelity, on the same PNGs.

python -m benchmarks.evaluation FOLDER [--public DIR]

CPU and wall seconds of one thread beyond the imports, in alternation. FOLDER holds photographs; Telea, NavierStokes and
Harmonic complete them first. LaMa's evaluator is run with AlexNet and the weights that the others have. At the end the
peak memory of the process with 500 and with 2,000 drawn faces.
"""

import argparse
import contextlib
import importlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import lpips
import numpy as np
import skimage.metrics
import torch
import torch_fidelity
import torchvision
import yaml
from PIL import Image

from benchmarks.published import checkout, stand_in
from experiments.evaluate import benchmark
from experiments.evaluate.protocol import load_protocols
from experiments.files.write import key_of, write_png
from experiments.records.files import read_record
from lit_inpaint.backbones import backbone, features_state
from lit_inpaint.load import load_method
from lit_inpaint.memory import peak_bytes, reset_peak
from lit_inpaint.metrics import metric
from masks.convention import erase, to_pixels

METHODS = ("Telea", "NavierStokes", "Harmonic")
MASK = {"class_path": "masks.CenterRectangle"}
_FACE = 128  # pixels; features of 430 truths then fill the 256 MiB in which they are kept
Values = dict[str, float]
_UNUSED = (
    "easydict", "pytorch_lightning", "kornia", "kornia.filters", "kornia.geometry", "kornia.geometry.transform",
    "kornia.morphology", "models.ade20k",
)  # fmt: skip


def prepare(photographs: Path, folder: Path, images: int) -> None:
    """truth/, holes/ and a folder per method, 256x256 PNGs."""
    (rules,) = _protocols(folder, photographs, ["psnr"], images)
    for index in range(images):
        image, mask, name = rules.images[index]
        file = f"{key_of(str(name)).replace('/', '-')}.png"
        write_png(to_pixels(image), folder / "truth", file)
        write_png((mask[0].numpy() * 255).astype(np.uint8), folder / "holes", file.replace(".png", "_mask.png"))
        os.symlink(folder / "truth" / file, folder / "holes" / file)
        for method in METHODS:
            filled = load_method(method)(image[None], mask[None])[0]
            write_png(to_pixels(filled), folder / method, file)
            write_png(to_pixels(filled), folder / f"{method}_mask", file.replace(".png", "_mask.png"))


def _protocols(
    folder: Path, photographs: Path, metrics: list[str], images: int | None = None, size: int = 256
) -> list[Any]:
    path = folder / f"{'_'.join(metrics)}.yaml"
    path.write_text(yaml.safe_dump({"name": "timed", "size": size, "mask": MASK, "metrics": metrics}))
    return load_protocols(path, photographs, limit=images)


def ours(folder: Path, metrics: list[str], methods: tuple[str, ...], *flags: str, size: int = 256) -> Values:
    """`benchmark` in a folder of its own, whose records and pictures it writes; values of the first method."""
    _protocols(folder, folder / "truth", metrics, size=size)
    with tempfile.TemporaryDirectory(dir=folder) as out, contextlib.redirect_stdout(io.StringIO()):
        given = [f"{method}=outputs:{folder / method}" for method in methods]
        path = folder / f"{'_'.join(metrics)}.yaml"
        words = [str(path), "--images", str(folder / "truth"), "--methods", *given, "--out", out, "--device", "cpu"]
        assert benchmark.main([*words, *flags]) == 0
        (record,) = (read_record(path) for path in Path(out).glob(f"records/*/{methods[0]}.json"))
    return {name: result.mean for name, result in record.metrics.items() if result.mean is not None}


def _network() -> Any:
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    _load(network.net)
    return network


def _load(slices: Any) -> None:
    """The AlexNet of the other programs is ours."""
    features = torchvision.models.alexnet().features
    features.load_state_dict(features_state("alexnet"))
    for number in range(1, 6):
        for name, layer in getattr(slices, f"slice{number}").named_children():
            layer.load_state_dict(features[int(name)].state_dict())


@torch.no_grad()
def plain_loop(folder: Path, network: Any, methods: tuple[str, ...]) -> Values:
    """An image at a time: Pillow, lpips, scikit-image."""
    means = []
    for method in methods:
        values = []
        for path in sorted((folder / "truth").iterdir()):
            a, b = (np.array(Image.open(folder / of / path.name).convert("RGB")) for of in ("truth", method))
            x, y = (torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in (a, b))
            given: dict[str, Any] = {"channel_axis": 2, "gaussian_weights": True, "use_sample_covariance": False}
            values.append((
                skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255),
                skimage.metrics.structural_similarity(a, b, data_range=255, **given), network(y, x).item(),
            ))  # fmt: skip
        means.append(np.mean(values, 0))
    return dict(zip(("psnr", "ssim", "lpips_alex"), map(float, means[0]), strict=True))


def lama(public: Path, folder: Path) -> Callable[[], Values]:
    """advimman/lama, InpaintingEvaluator with its SSIM (which pads with zeros) and LPIPS."""
    checkout(public, "advimman/lama", "saicinpainting/evaluation/evaluator.py")
    stand_in(*_UNUSED)
    data, losses, evaluator = (
        importlib.import_module(f"saicinpainting.evaluation.{name}")
        for name in ("data", "losses.base_loss", "evaluator")
    )
    random = torchvision.models.alexnet()  # not downloaded
    with mock.patch.object(torchvision.models, "alexnet", lambda pretrained: random):
        scores = {"ssim": losses.SSIMScore(), "lpips_alex": losses.LPIPSScore(net="alex", use_gpu=False)}
    _load(scores["lpips_alex"].score.model.net.net)
    dataset = data.PrecomputedInpaintingResultsDataset(
        str(folder / "holes"), str(folder / f"{METHODS[0]}_mask"), img_suffix=".png", inpainted_suffix=".png"
    )

    def run() -> Values:
        with contextlib.redirect_stderr(io.StringIO()):
            found = evaluator.InpaintingEvaluator(dataset, scores, device="cpu", batch_size=1).evaluate()
        return {name: float(found[name, "total"]["mean"]) for name in scores}

    return run


def fidelity(folder: Path) -> Values:
    """torch-fidelity's fid, a batch of 16 like ours, without its cache."""
    given: dict[str, Any] = {"input1": str(folder / METHODS[0]), "input2": str(folder / "truth"), "fid": True}
    weights = {"feature_extractor_weights_path": str(folder / "inception.pth")}
    options = {"cuda": False, "batch_size": 16, "cache": False, "verbose": False, "save_cpu_ram": True}
    found = torch_fidelity.calculate_metrics(**given, **options, **weights)
    return {"fid": float(found["frechet_inception_distance"])}


def memory(folder: Path, metrics: list[str], counts: tuple[int, ...] = (500, 2000)) -> None:
    """Peak memory of `benchmark` with few and with many images, grey in the holes of drawn faces."""
    path = folder / "faces.yaml"
    data = {"class_path": "DrawnFaces", "init_args": {"test": max(counts)}}
    path.write_text(yaml.safe_dump({"name": "faces", "size": _FACE, "mask": MASK, "metrics": metrics, "data": data}))
    (rules,) = load_protocols(path)
    for count in counts:
        for index in range(count):
            image, mask, _ = rules.images[index]
            write_png(to_pixels(image), folder / f"faces{count}" / "truth", f"{index}.png")
            write_png(to_pixels(erase(image, mask)), folder / f"faces{count}" / METHODS[0], f"{index}.png")
        cpu, wall, peak, _ = timed(partial(ours, folder / f"faces{count}", metrics, METHODS[:1], size=_FACE))
        print(f"{count} faces of {_FACE} px: {cpu:.1f} CPU s, {wall:.1f} wall s, peak {peak:.0f} MiB", flush=True)


def timed(run: Callable[[], Values]) -> tuple[float, float, float, Values]:
    """CPU seconds, wall seconds, peak MiB of the process, values."""
    device = torch.device("cpu")
    reset_peak(device)
    cpu, wall = time.process_time(), time.perf_counter()
    values = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu, wall, (peak_bytes(device) or 0) / 2**20, values


def compare(title: str, theirs: Callable[[], Values], own: Callable[[], Values], turns: int) -> None:
    pairs = [(timed(theirs), timed(own)) for _ in range(turns)]
    (cpu_a, wall_a, memory_a, a), (cpu_b, wall_b, memory_b, b) = (
        [statistics.median(column) for column in list(zip(*side, strict=True))[:3]] + [side[-1][3]]
        for side in zip(*pairs, strict=True)
    )
    each = sorted(x[0] / y[0] for x, y in pairs)
    gap = max(abs(a[name] - b[name]) / abs(b[name]) for name in a if name in b)
    print(
        f"| {title} | {cpu_a:.1f}, {wall_a:.1f}, {memory_a:.0f} | {cpu_b:.1f}, {wall_b:.1f}, {memory_b:.0f} | "
        f"**{statistics.median(each):.2f}** ({each[0]:.2f}-{each[-1]:.2f}) | {wall_a / wall_b:.2f} | {gap:.0e} |",
        flush=True,
    )


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("photographs", type=Path)
    p.add_argument("--public", type=Path, help="folder of the checkouts in benchmarks/public.md")
    p.add_argument("--images", type=int, default=100)
    p.add_argument("--turns", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(a.photographs, folder, a.images)
        network, cheap = _network(), ["psnr", "ssim", "lpips_alex"]
        print("| beside | theirs: CPU s, wall s, MiB | ours | CPU ratio | wall | values |\n|---|---|---|---|---|---|")
        ours(folder, cheap, METHODS[:1])  # loads the network
        for methods in (METHODS[:1], METHODS):
            title = f"lpips + scikit-image, {len(methods)} method{'s' * (len(methods) > 1)}"
            theirs, own = partial(plain_loop, folder, network, methods), partial(ours, folder, cheap, methods)
            compare(title, theirs, own, a.turns)
            compare(f"{title}, no pictures", theirs, partial(own, "--no-pictures"), a.turns)
        if a.public:
            compare("LaMa's evaluator", lama(a.public, folder), lambda: ours(folder, cheap[1:], METHODS[:1]), a.turns)
        metric("fid").least = 2  # for the ratio, the number of images does not matter
        features = torch.load(backbone("inception_fid"), weights_only=True)
        classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
        torch.save({**classifier, **features}, folder / "inception.pth")
        compare("torch-fidelity", lambda: fidelity(folder), lambda: ours(folder, ["fid"], METHODS[:1]), a.turns)
        memory(folder, cheap)


if __name__ == "__main__":
    main()
