"""``lit-inpaint inpaint``: fill the holes of one's own file or folder, at any size."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datamodules.reading import IMAGE_SUFFIXES, read_image
from lit_inpaint.classical import UnfillableError
from lit_inpaint.load import load_method
from lit_inpaint.module import InpaintingModule
from masks.convention import composite
from masks.files import read_mask


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="lit-inpaint inpaint",
        description="Fill the holes of an image, or of every image of a folder. Known pixels come back untouched.",
        epilog="Masks of a folder are paired by file name (without ending); one mask file serves a whole folder.",
    )
    p.add_argument("--method", required=True, help="Telea, PatchMatch, ... or the path of a checkpoint")
    p.add_argument("--image", required=True, type=Path, help="a file or a folder")
    p.add_argument(
        "--mask", required=True, type=Path, help="a file or a folder; white is the hole unless --mask-white known"
    )
    p.add_argument("--out", required=True, type=Path, help="a .png file, or a folder if --image is one")
    p.add_argument("--mask-white", choices=["hole", "known"], default="hole", help="what white means in the mask files")
    p.add_argument(
        "--mask-threshold", type=int, help="grey value (1-255) from which a pixel is white; without it grey is refused"
    )
    p.add_argument("--weights", choices=["ema", "raw"], default="ema", help="averaged or raw weights of a checkpoint")
    p.add_argument("--samples", type=int, default=1, help="completions an image, for methods that can give several")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--overwrite", action="store_true", help="replace existing output files")
    return p


def main(argv: list[str]) -> int:
    a = parser().parse_args(argv)
    jobs = pairs(a.image, a.mask, a.out)
    if a.samples < 1:
        raise ValueError(f"--samples is {a.samples}; expected at least 1.")
    files = [file for _, _, out in jobs for file in {out, *targets(out, a.samples)}]
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise ValueError(f"two images of {a.image} would be written to {twice}; give one of them another name.")
    existing = [file for file in files if file.exists()]
    if existing and not a.overwrite:
        raise ValueError(
            f"{existing[0]} exists; give another --out, or --overwrite to replace {len(existing)} file(s)."
        )
    method = load_method(a.method, a.weights, a.device)
    failed = 0
    for image_file, mask_file, out in jobs:
        try:
            said = fill_file(method, image_file, mask_file, out, a)
            print(said)
        except ValueError as error:
            reason = f"{image_file}: {error.reason}" if isinstance(error, UnfillableError) else str(error)
            if len(jobs) == 1:
                raise ValueError(reason) from error
            failed += 1
            print(f"lit-inpaint: {reason}", file=sys.stderr)
    if len(jobs) > 1:
        print(
            f"{len(jobs) - failed} of {len(jobs)} images filled, in {a.out}"
            + (f"; {failed} failed, see above" if failed else "")
        )
    return 1 if failed else 0


def pairs(image: Path, mask: Path, out: Path) -> list[tuple[Path, Path, Path]]:
    """(image file, mask file, output file) of every job."""
    for path in (image, mask):
        if not path.exists():
            raise ValueError(f"there is no file or folder {path}.")
    if not image.is_dir():
        if mask.is_dir():
            raise ValueError(f"{mask} is a folder, {image} one image: name the mask file.")
        target = out / f"{image.stem}.png" if out.is_dir() else out
        if target.suffix.lower() != ".png":
            raise ValueError(f"--out {out} must end in .png: other formats would change the known pixels.")
        return [(image, mask, target)]
    files = sorted(p for p in image.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not files:
        raise ValueError(f"{image} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    if not mask.is_dir():
        return [(f, mask, out / f.relative_to(image).with_suffix(".png")) for f in files]
    masks = {p.relative_to(mask).with_suffix(""): p for p in mask.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES}
    without = [f for f in files if f.relative_to(image).with_suffix("") not in masks]
    if without:
        raise ValueError(
            f"{mask} holds no mask for {without[0].relative_to(image)} ({len(without)} of {len(files)} lack one)."
        )
    return [
        (f, masks[f.relative_to(image).with_suffix("")], out / f.relative_to(image).with_suffix(".png")) for f in files
    ]


def targets(out: Path, samples: int) -> list[Path]:
    """Where the completions of one image go: ``out`` itself if there is one, else out-0.png, out-1.png, ..."""
    return [out] if samples == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(samples)]


def fill_file(method: InpaintingModule, image_file: Path, mask_file: Path, out: Path, a: argparse.Namespace) -> str:
    """Complete one file and say what was done."""
    pixels = read_image(image_file)
    hole = read_mask(mask_file, white=a.mask_white, threshold=a.mask_threshold)
    if hole.shape != pixels.shape[:2]:
        raise ValueError(
            f"{mask_file} is {hole.shape[1]}x{hole.shape[0]}, {image_file} {pixels.shape[1]}x{pixels.shape[0]}; "
            "they must have one size. Resize the mask with nearest neighbour."
        )
    share = float(hole.mean())
    if share > 0.6:
        print(
            f"lit-inpaint: warning: the hole covers {share:.0%} of {image_file.name}; if that is the part to keep, say "
            f"--mask-white {'known' if a.mask_white == 'hole' else 'hole'}.",
            file=sys.stderr,
        )
    image = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1).to(method.device)
    mask = torch.from_numpy(hole)[None, None].float().to(method.device)
    with torch.no_grad():
        samples = method.sample(image, mask, a.samples, a.seed, [image_file.stem])[:, 0] if share else image
    written = []
    for sample, target in zip(samples, targets(out, len(samples)), strict=True):
        bytes_ = ((sample.clamp(-1, 1) + 1) * 127.5).round().byte()
        result = composite(bytes_[None].cpu(), torch.from_numpy(pixels).permute(2, 0, 1)[None], mask.cpu())[0]
        write_png(result.permute(1, 2, 0).numpy(), target)
        written.append(str(target))
    how = method.adaptation(mask[0])
    weights = {"ema": ", averaged weights", "raw": ", raw weights", "none": ""}[method.loaded_weights]
    done = (
        f"filled {share:.1%} of {image_file} ({pixels.shape[1]}x{pixels.shape[0]}) by {type(method).__name__}{weights}"
    )
    return (
        f"{done if share else f'{image_file} has no hole: copied'}{f', {how}' if how else ''} -> {', '.join(written)}"
    )


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Beside the target first, then renamed: nothing half-written is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        Image.fromarray(pixels).save(part, format="PNG")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
