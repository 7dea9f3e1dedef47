"""Images as indices in a palette: down-sampling, quantising, and back to an enlarged image.

Colours are 8-bit values, 0 to 255, kept as float32.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.checkpoints import read_tensors
from masks.convention import erase, to_levels

KMEANS_IMAGES, KMEANS_ROUNDS = 300, 20


def down_sample(image: Tensor, grid: int, mask: Tensor | None = None) -> Tensor:
    """Image (B, 3, H, W) in [-1, 1] to 8-bit colours (B, grid^2, 3), bilinear with antialiasing, rounded.

    With a mask only known pixels count: a known cell beside the hole is the mean of what is known in its reach. The
    official code averages over the hole's pixels as well, that is over the truth; here the network never sees them.
    """
    if mask is None:
        small = F.interpolate(image, (grid, grid), mode="bilinear", antialias=True)
    else:
        known = 1 - mask
        both = F.interpolate(torch.cat([erase(image, mask), known], 1), (grid, grid), mode="bilinear", antialias=True)
        small = both[:, :3] / both[:, 3:].clamp(min=1e-6)
    return to_levels(small).flatten(2).mT


def hole_of_tokens(mask: Tensor, grid: int) -> Tensor:
    """Mask (B, 1, H, W) to (B, grid^2): the pixel in the middle of each cell decides (PIL's NEAREST), as officially."""
    return F.interpolate(mask, (grid, grid), mode="nearest-exact").flatten(1)


def quantise(colours: Tensor, palette: Tensor, degree: int = 1) -> Tensor:
    """Index of the nearest colour of the palette, (B, T, 3) to (B, T); of one of the ``degree`` nearest, at random.

    >>> palette = torch.tensor([[0.0, 0, 0], [255, 255, 255]])
    >>> quantise(torch.tensor([[[10.0, 10, 10], [200, 250, 250]]]), palette)
    tensor([[0, 1]])
    """
    # Without matrix products, which lose digits in bfloat16 and TF32.
    distance = torch.cdist(colours.float(), palette, compute_mode="donot_use_mm_for_euclid_dist")
    if degree == 1:
        return distance.argmin(-1)
    nearest = distance.topk(degree, largest=False).indices
    return nearest.gather(-1, torch.randint(degree, (*nearest.shape[:-1], 1), device=nearest.device))[..., 0]


def enlarge(tokens: Tensor, palette: Tensor, grid: int, size: int) -> Tensor:
    """Tokens (B, grid^2) to an image (B, 3, size, size) in [0, 1], bicubic as PIL's: 8 bits after rows and columns."""
    image = palette[tokens].mT.unflatten(2, (grid, grid))
    for shape in ((grid, size), (size, size)):
        image = F.interpolate(image, shape, mode="bicubic", antialias=True)  # antialias: PIL's kernel, a = -0.5
        image = image.clamp(0, 255).round()
    return image / 255


def make_palette(palette: str, colours: int, grid: int, datamodule: Any) -> Tensor:
    """What the argument ``palette`` of a stage names, (colours, 3): "kmeans", "uniform", or a file.

    Raises:
        ValueError: No such file, another number of colours, or "kmeans" without a data module.
    """
    if palette == "uniform":
        return _uniform_palette(colours)
    if palette != "kmeans":
        return read_palette(Path(palette), colours)
    if datamodule is None:
        raise ValueError(
            "palette kmeans is computed from the training images of a data module, and there is none. Fit with a data "
            "module, or give palette: uniform, a .npy of colours, or a checkpoint of an ICTTransformer."
        )
    data = datamodule.training_set()
    step = max(1, len(data) // KMEANS_IMAGES)
    images = torch.stack([data[index].image for index in range(0, len(data), step)][:KMEANS_IMAGES])
    return kmeans_palette(down_sample(images, grid).flatten(0, 1), colours)


def _uniform_palette(colours: int) -> Tensor:
    """A lattice of n^3 colours.

    >>> _uniform_palette(8)[:3].tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 255.0], [0.0, 255.0, 0.0]]
    """
    side = round(colours ** (1 / 3))
    if side**3 != colours or side < 2:
        raise ValueError(f"a uniform palette has n^3 colours (8, 27, 64, 125, 216, 343, 512); given {colours}.")
    levels = torch.linspace(0, 255, side).round()
    return torch.cartesian_prod(levels, levels, levels)


def kmeans_palette(pixels: Tensor, colours: int) -> Tensor:
    """Lloyd's algorithm from distinct pixels drawn with a fixed seed: 8-bit colours, (N, 3) to (colours, 3)."""
    distinct = pixels.unique(dim=0)
    if len(distinct) < colours:
        raise ValueError(f"the training images have {len(distinct)} colours, not {colours}: set colours lower.")
    generator = torch.Generator().manual_seed(0)
    centres = distinct[torch.randperm(len(distinct), generator=generator)[:colours]].double()
    for _ in range(KMEANS_ROUNDS):
        nearest = torch.cat([torch.cdist(part.double(), centres).argmin(1) for part in pixels.split(16_384)])
        count = torch.bincount(nearest, minlength=colours)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, pixels.double())
        centres = torch.where(count > 0, sums / count.clamp(min=1), centres)
    return centres.round().float()


def read_palette(path: Path, colours: int | None = None) -> Tensor:
    """Colours in [-1, 1] of a .npy (OpenAI's kmeans_centers.npy), or the palette of an ICTTransformer's checkpoint."""
    if not path.is_file():
        raise ValueError(f"palette is {str(path)!r}, which is not a file; expected kmeans, uniform, a .npy or a .ckpt.")
    if path.suffix == ".npy":
        try:
            clusters = np.load(path, allow_pickle=False)
        except Exception as error:  # cut off, another file under this name
            raise ValueError(f"{path} cannot be read as an array of NumPy ({error}). Fetch it again.") from error
        wanted = "(colours, 3) in [-1, 1], as OpenAI's kmeans_centers.npy"
        if not isinstance(clusters, np.ndarray) or clusters.dtype.kind != "f" or clusters.shape[1:] != (3,):
            raise ValueError(f"{path} holds {getattr(clusters, 'dtype', 'several arrays')}; expected floats {wanted}.")
        if not (clusters.size and clusters.min() >= -1 and clusters.max() <= 1):
            raise ValueError(f"{path} has shape {clusters.shape} and other values; expected {wanted}.")
        palette = torch.from_numpy(to_levels(clusters.astype(np.float32)))
    else:
        content = read_tensors(path)
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict) or "palette" not in state:
            raise ValueError(f"{path} has no palette; expected a checkpoint of an ICTTransformer, or a .npy.")
        palette = state["palette"]
    if colours is not None and len(palette) != colours:
        raise ValueError(f"{path} has {len(palette)} colours, but colours is {colours}.")
    return palette
