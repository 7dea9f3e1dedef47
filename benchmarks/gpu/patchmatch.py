"""PatchMatch of a batch in torch: what it costs, that the batch changes no image, and how well holes are filled."""

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.support import Skipped, bounded
from benchmarks.utilisation import now
from datamodules import SamplePhotos
from lit_inpaint.methods import PatchMatch
from lit_inpaint.metrics import metric, round_to_8_bits
from masks import CenterRectangle
from masks.convention import InpaintingBatch

PACKAGED, HOLES20 = "packaged photographs", "the 20 photographs of docs/classics.md"


def items(part: str, device: str) -> list[str]:
    return [PACKAGED, HOLES20]


def packaged(side: int) -> InpaintingBatch:
    data = SamplePhotos(CenterRectangle(), image_size=side, eval_repeats=1, num_workers=0)
    found: Any = list(data.evaluation_set("test"))  # type: ignore[call-overload]
    return InpaintingBatch(*(torch.stack(x) for x in list(zip(*found, strict=True))[:2]), [i.name for i in found])  # type: ignore[arg-type]


def photographs(folder: Path) -> InpaintingBatch:
    images, masks, names = [], [], []
    for path in sorted((folder / "images").iterdir()):
        pixels, mask = cv2.imread(str(path)), cv2.imread(str(folder / "masks" / path.name), cv2.IMREAD_GRAYSCALE)
        images.append(torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1) / 127.5 - 1)
        masks.append(torch.from_numpy(mask > 127)[None].float())
        names.append(path.name)
    return InpaintingBatch(torch.stack(images), torch.stack(masks), names)  # type: ignore[arg-type]


def complete(batch: InpaintingBatch, device: str) -> tuple[float, Tensor]:
    """Seconds an image, and the completions (B, H, W, 3), 0..255."""
    scale = [(np.asarray(i.double().permute(1, 2, 0)) + 1) * 127.5 for i in batch.image]
    holes = [m[0].numpy() == 1 for m in batch.mask]
    begun = now(device) if device == "cuda" else time.perf_counter()
    filled = PatchMatch().complete_at_once(scale, holes, [0] * len(holes), device).cpu()
    return ((now(device) if device == "cuda" else time.perf_counter()) - begun) / len(holes), filled


def quality(batch: InpaintingBatch, filled: Tensor) -> float:
    image = (filled / 127.5 - 1).permute(0, 3, 1, 2).float()
    whole = round_to_8_bits(torch.where(batch.mask == 1, image, batch.image))
    return float(metric("psnr_hole")(whole, batch.image, batch.mask).mean())


def run(item: str, part: str, device: str) -> dict[str, Any]:
    folder = Path(os.environ.get("LIT_INPAINT_DATA") or "") / "holes20"
    if item == HOLES20:
        if device == "cpu":
            raise Skipped("a batch at once takes minutes on a CPU")
        if not os.environ.get("LIT_INPAINT_DATA") or not (folder / "images").is_dir():
            raise Skipped("photographs: there is no folder holes20 where LIT_INPAINT_DATA points")
        batch = photographs(folder)
        complete(batch, device)
        seconds, filled = complete(batch, device)
        return {"images": len(filled), "s_an_image": round(seconds, 4), "psnr_hole": round(quality(batch, filled), 2)}
    batch = packaged(128 if device == "cuda" else 32)
    _, expected = complete(batch, "cpu")
    _, filled = complete(batch, device)
    last = InpaintingBatch(batch.image[-1:], batch.mask[-1:], batch.name[-1:])
    changed = float((complete(last, device)[1] - filled[-1:]).abs().max())
    alone = bounded("grey levels by which a batch changes an image", changed, 1e-3)
    hole = batch.mask[:, 0] == 1
    same = float(((filled - expected).abs().amax(-1)[hole] < 0.5).double().mean())
    found, wanted = quality(batch, filled), quality(batch, expected)
    return {
        "images": len(filled), "alone": alone, "pixels_as_on_the_cpu": round(same, 4),
        "psnr_hole": round(found, 2),
        "psnr_beside_cpu": round(bounded("dB in the hole away from the CPU's", abs(found - wanted), 0.5), 3),
    }  # fmt: skip
