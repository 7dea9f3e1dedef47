"""What every inpainting method promises: the contract of fill / predict / forward / sample.

Nothing here needs Lightning, whose import takes seconds: a method without parameters runs with torch alone.
"""

import hashlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, overload

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint import pictures
from lit_inpaint.pictures import Array, Picture, Range
from lit_inpaint.windows import TILE, complete
from masks.convention import check, composite, erase, hole_box, in_three, to_grey, to_levels
from masks.size import Size, sides

TRAINING_ONLY = ("discriminator", "features")  # networks of losses: no image is completed with them


class Method(nn.Module, ABC):
    """From an image and a mask to a completed image, by :meth:`fill`.

    What a Trainer trains and tests is an :class:`lit_inpaint.InpaintingModule`, which is one of these.

    >>> from lit_inpaint import load_method
    >>> method = load_method("Harmonic")
    >>> image, mask = torch.full((1, 3, 30, 20), 0.2), torch.zeros(1, 1, 30, 20)
    >>> mask[..., 5:10, 5:10] = 1
    >>> bool((method(image, mask) - image).abs().max() < 1e-6), method.adaptation(mask[0])
    (True, None)
    """

    year: ClassVar[int]
    paper: ClassVar[str]  # authors, title, venue: what `lit-inpaint methods` prints
    imports: ClassVar[tuple[str, ...]] = ()  # weight formats that weights.py of the method reads
    trainable: ClassVar[bool] = True
    stages: ClassVar[dict[str, type[Any]]] = {}  # trained apart, by their flags of `lit-inpaint assemble`
    needs: ClassVar[tuple[str, ...]] = ()  # names in lit_inpaint.backbones.BACKBONES: what published training stands on
    averaged: ClassVar[tuple[str, ...]] = ()  # the networks that evaluation uses
    guides: ClassVar[dict[str, str]] = {}  # maps (B, 1, H, W) that forward takes by name beside the mask: what each is
    called: ClassVar[tuple[str, ...]] = ()  # submodules whose forward is one network call, where not those of averaged
    diverse: ClassVar[bool] = False  # True: sample() gives different completions for different seeds
    one_by_one: ClassVar[bool] = False  # True: fill calls its networks for each image of a batch apart
    moves_known: ClassVar[bool] = False  # True: its networks change known pixels; records say how far
    prompted: ClassVar[bool] = False  # True: it takes words about the hole
    needed: ClassVar[dict[str, str]] = {}  # arguments without which it completes nothing: what each names
    exports: ClassVar[tuple[str, ...]] = ()  # published layouts that weights.py of the method writes
    local: ClassVar[bool] = False  # True: fills from the border inwards, in little memory; any hole is one window
    channels: int = 3  # of its images; 1: grey
    multiple: int = 1  # sides are padded (reflected) to a multiple of this
    # The only size the network takes, a side or (height, width): cropped around the hole or resized, see adaptation().
    fixed_size: Size | None = None
    loaded_weights: Literal["ema", "raw", "none"] = "none"  # which ones a checkpoint gave it
    asked: str | None = None  # the prompt of whoever uses a prompted method, instead of that of its settings
    told: Mapping[str, str] | None = None  # a protocol's prompts by image name, for a prompted method without its own
    moved: list[Tensor] | None = None  # where it is a list, known_change of each completion is appended

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    @abstractmethod
    def hparams(self) -> Mapping[str, Any]:
        """The arguments that its constructor has kept."""

    @property
    def origin(self) -> tuple[str | None, str | None]:
        """Repository of the Hub and commit from which it was loaded, where its arguments name one."""
        return None, None

    def facts(self) -> dict[str, Any]:
        """The settings that a record states of a method made with arguments, as plain values."""
        return dict(self.hparams)

    @classmethod
    def content(cls, **arguments: Any) -> dict[str, str]:
        """Hash or commit of every file and repository that the constructor's ``arguments`` name."""
        return {}

    # ---- from an image and a mask to a completed image ------------------------------------------------------------

    @abstractmethod
    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        """The paper's network(s): (B, 3, H, W) with 0 in the hole and (B, 1, H, W) in, the whole image in [-1, 1] out.

        ``generators``: one per image, on the CPU; if given, all random draws come from them.
        """

    def predict(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        """Erase, then :meth:`fill`: the network never sees the hole. Sides must suit the network."""
        return self.fill(erase(image, mask), mask, **guides)

    def forward(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        """Complete images of any size; known pixels come back untouched, the hole is clipped to [-1, 1].

        Raises:
            ValueError: The image or the mask does not follow :mod:`masks.convention`.
        """
        check(image, mask)
        return self.complete_unchecked(image, mask, **guides)

    def complete_unchecked(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        """:meth:`forward` for batches of a data module: looking at the values would make the host wait for a GPU."""
        if image.shape[1] != self.channels:
            return self._in_colour(image, mask, **guides)
        if self.fixed_size and tuple(image.shape[-2:]) != sides(self.fixed_size):
            prediction = self._at_fixed_size(image, mask, **guides)
        else:
            height, width = image.shape[-2:]
            right, bottom = -width % self.multiple, -height % self.multiple
            padded = {k: F.pad(v, (0, right, 0, bottom)) if isinstance(v, Tensor) else v for k, v in guides.items()}
            # The mask is mirrored like the image: a mirrored hole that counts as known would show the truth.
            image_, mask_ = (self.pad(x, right, bottom) if right or bottom else x for x in (image, mask))
            prediction = self.predict(image_, mask_, **padded)[..., :height, :width]
        prediction = prediction.clamp(-1, 1)
        if self.moved is not None:
            self.moved.append(known_change(prediction, image, mask))
        return composite(prediction, image, mask)

    def _in_colour(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        """Grey images by a method of colour pictures: repeated to three channels, the luma of what comes back.

        Raises:
            ValueError: They are in colour, and the method is of grey pictures.
        """
        if self.channels == 1:
            raise ValueError(
                f"images have {image.shape[1]} channels; this {type(self).__name__} completes grey ones (channels 1). "
                "Convert them (channels: 1 of the data or protocol), or take a method of colour pictures."
            )
        completed = self.complete_unchecked(in_three(image), mask, **guides)
        return composite(to_grey(completed).clamp(-1, 1), image, mask)

    def recoloured(self, channels: int) -> str | None:
        """What :meth:`forward` does to images of so many channels that the network cannot take."""
        return "grey repeated to three channels and back" if channels != self.channels == 3 else None

    def pad(self, x: Tensor, right: int, bottom: int) -> Tensor:
        """Images or masks grown to sides that the network takes."""
        mode = "reflect" if right < x.shape[-1] and bottom < x.shape[-2] else "replicate"
        return F.pad(x, (0, right, 0, bottom), mode)

    def sample(self, image: Tensor, mask: Tensor, n: int, seed: int = 0, names: Sequence[str] | None = None) -> Tensor:
        """``n`` completions of each image, (n, B, 3, H, W). The same (seed, name, number) gives the same completion on
        any batch size and device (PatchMatch: on any CPU, or on any GPU). A method that is not ``diverse`` returns one
        completion n times."""
        check(image, mask)
        if n < 1:
            raise ValueError(f"n is {n}; expected at least 1.")
        if not self.diverse:
            return self.complete_unchecked(image, mask).expand(n, *image.shape)
        names = names or [str(index) for index in range(len(image))]
        return torch.stack([self.complete_unchecked(image, mask, **self.draws(seed, names, k)) for k in range(n)])

    @overload
    def complete(
        self,
        image: Picture,
        mask: Image.Image | Array | Tensor,
        *,
        samples: None = None,
        seed: int = 0,
        name: str | Sequence[str] | None = None,
        value_range: Range | None = None,
        tile: int = TILE,
        **guides: Image.Image | Array | Tensor,
    ) -> Picture: ...

    @overload
    def complete(
        self,
        image: Picture,
        mask: Image.Image | Array | Tensor,
        *,
        samples: int,
        seed: int = 0,
        name: str | Sequence[str] | None = None,
        value_range: Range | None = None,
        tile: int = TILE,
        **guides: Image.Image | Array | Tensor,
    ) -> list[Picture]: ...

    def complete(
        self,
        image: Picture,
        mask: Image.Image | Array | Tensor,
        *,
        samples: int | None = None,
        seed: int = 0,
        name: str | Sequence[str] | None = None,
        value_range: Range | None = None,
        tile: int = TILE,
        **guides: Image.Image | Array | Tensor,
    ) -> Picture | list[Picture]:
        """Fill the hole of a picture of any size; what comes back is of the kind that was given. Known pixels are
        unchanged. The same call as ``lit-inpaint inpaint``, with the same result to the bit.

        >>> import numpy as np
        >>> from lit_inpaint import load_method
        >>> image, mask = np.full((32, 48, 3), 100, np.uint8), np.zeros((32, 48), bool)
        >>> image[8:16, 8:16], mask[8:16, 8:16] = 255, True
        >>> load_method("Telea").complete(image, mask)[12, 12]
        array([100, 100, 100], dtype=uint8)

        Args:
            image: A PIL image in RGB or grey; an array (H, W, 3) or a tensor (3, H, W) or (B, 3, H, W), RGB, uint8 from
                0 to 255 or floats in [-1, 1].
            mask: The hole is white, True, 1 or 255; everything else False or 0. (H, W), of any kind; of a batch
                (B, 1, H, W) as well.
            samples: So many completions, as a list; a method that is not ``diverse`` repeats its one.
            seed: Seeds the random draws, with ``name`` and the number of the sample.
            name: What the draws are keyed by, a name for each image of a batch. Default: the file from which a PIL
                image was opened, without its suffix, as ``lit-inpaint inpaint`` does; "0", "1", ... for all others.
            value_range: (darkest, brightest) of floats in another range than [-1, 1], such as (0, 1). Floats that all
                lie in [0, 1] are refused without it: they may be either.
            tile: Larger images are completed in windows of at most this side around their holes; 0: whole.
            guides: What the method takes beside the mask (``guided_by``), drawn like it: ``sketch=lines``.

        Raises:
            ValueError: Stating what was given, what is allowed and what to do.
        """
        if samples is not None and samples < 1:
            raise ValueError(f"samples is {samples}; expected at least 1.")
        if unknown := [guide for guide in guides if guide not in self.guided_by]:
            allowed = ", ".join(self.guided_by) or "none"
            raise ValueError(f"{type(self).__name__} takes no {unknown[0]}. Guides that it takes: {allowed}.")
        pixels = pictures.read(image)
        colours = pixels if self.channels == 3 else pictures.one_channel(pixels, type(self).__name__)
        given, holes = pictures.signed(colours, value_range), pictures.read_hole(mask, pixels)
        names = pictures.names_of(image, len(pixels), name)
        drawn = {guide: pictures.read_hole(drawing, pixels, guide) for guide, drawing in guides.items()}
        found = []
        with _evaluating(self):
            for number in range((samples or 1) if self.diverse else 1):
                batch = [
                    complete(self, x, hole, key, number, seed, tile, {guide: maps[i] for guide, maps in drawn.items()})
                    for i, (x, hole, key) in enumerate(zip(given, holes, names, strict=True))
                ]
                found.append(torch.stack(batch))
        found *= (samples or 1) // len(found)
        completed = [pictures.like(image, pixels, in_three(one), holes, value_range, self.channels) for one in found]
        return completed[0] if samples is None else completed

    def draws(self, seed: int, names: Sequence[str], number: int = 0) -> dict[str, Any]:
        """Arguments of :meth:`forward` and :meth:`predict` that key what a ``diverse`` method draws by (seed, image
        name, sample number); none for other methods."""
        return {"generators": keyed_generators(seed, names, number)} if self.diverse else {}

    @property
    def guided_by(self) -> tuple[str, ...]:
        """Those of ``guides`` that the method takes with its present arguments."""
        return tuple(self.guides)

    def takes(self, height: int, width: int) -> bool:
        """Whether :meth:`predict` takes images of this size; :meth:`forward` adapts all others."""
        if self.fixed_size:
            return (height, width) == sides(self.fixed_size)
        return height % self.multiple == 0 and width % self.multiple == 0

    def adaptation(self, mask: Tensor) -> str | None:
        """What :meth:`forward` does to one image (mask (1, H, W) or (H, W)) that a fixed-size network cannot take."""
        height, width = mask.shape[-2:]
        if not self.fixed_size or (height, width) == sides(self.fixed_size):
            return None
        rows, columns = sides(self.fixed_size)
        if self._crop_box(mask):
            return f"cropped {columns}x{rows} around the hole"
        return f"resized {width}x{height} to {columns}x{rows} and back"

    def _crop_box(self, mask: Tensor) -> tuple[int, int] | None:
        """Top-left corner of a fixed-size crop, centred on the hole and clamped; None if hole or image do not suit."""
        (rows, columns), (height, width) = sides(self.fixed_size), mask.shape[-2:]
        top, left, bottom, right = hole_box(mask)
        if height < rows or width < columns or bottom - top > rows or right - left > columns:
            return None
        return (
            min(max((top + bottom - rows) // 2, 0), height - rows),
            min(max((left + right - columns) // 2, 0), width - columns),
        )

    def _at_fixed_size(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        (rows, columns), out = sides(self.fixed_size), list[Tensor]()
        for i in range(len(image)):
            one: dict[str, Any] = {
                k: v[i : i + 1] if isinstance(v, Tensor | list | tuple) else v for k, v in guides.items()
            }
            x, m, corner = image[i : i + 1], mask[i : i + 1], self._crop_box(mask[i])
            if corner:
                window = (..., slice(corner[0], corner[0] + rows), slice(corner[1], corner[1] + columns))
                one = {k: v[window] if isinstance(v, Tensor) else v for k, v in one.items()}
                whole = x.clone()
                whole[window] = self.predict(x[window], m[window], **one)
            else:
                size = rows, columns
                one = {k: F.interpolate(v, size) if isinstance(v, Tensor) else v for k, v in one.items()}
                small = F.interpolate(x, size, mode="bilinear", antialias=True).clamp(-1, 1)
                hole = (F.interpolate(m, size, mode="bilinear", antialias=True) > 0).to(m.dtype)  # never a leak
                filled = self.predict(small, hole, **one)
                whole = F.interpolate(filled, tuple(x.shape[-2:]), mode="bilinear", antialias=True)
            out.append(whole)
        return torch.cat(out)


def known_change(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute change of the known pixels of each image, in 8-bit levels; 0 where none is known.

    >>> image, mask = torch.zeros(1, 3, 2, 2), torch.tensor([[[[1.0, 0], [0, 0]]]])
    >>> known_change(image + 2 / 255, image, mask)
    tensor([1.])
    """
    known = 1 - mask
    change = to_levels(prediction, rounded=False) - to_levels(image, rounded=False)
    total = (change.abs() * known).flatten(1).sum(1)
    return total / (image.shape[1] * known.flatten(1).sum(1)).clamp(min=1)


def moved_by(method: Method) -> str | None:
    """How far the known pixels of the last completions had moved, in words; None where that is not recorded."""
    if not method.moved:
        return None
    mean = float(torch.cat(method.moved).mean())
    return f"known pixels moved by {mean:.2f} of 255 before they were pasted back"


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Batch statistics and dropout as in evaluation, and afterwards as before."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def parameter_counts(module: nn.Module) -> dict[str, int]:
    """Trainable parameters of each network of a method, by attribute."""
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()}
    return {name: count for name, count in counts.items() if count}


def completing(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A method's state dict without the networks of its losses.

    >>> list(completing({"generator.weight": torch.zeros(1), "discriminator_local.weight": torch.zeros(1)}))
    ['generator.weight']
    """
    return {name: value for name, value in tensors.items() if not name.startswith(TRAINING_ONLY)}


def keyed_generators(seed: int, names: Sequence[str], number: int) -> list[torch.Generator]:
    """One CPU generator per image, keyed by (seed, image name, sample number)."""
    return [torch.Generator().manual_seed(key(seed, name, number)) for name in names]


def key(*parts: int | str) -> int:
    """A seed that depends on all of ``parts``, the same on every machine; NumPy's numbers and strings are Python's.

    >>> import numpy as np
    >>> key(np.int64(1), np.str_("a.png")) == key(1, "a.png")
    True
    """
    plain = tuple(str(part) if isinstance(part, str) else operator.index(part) for part in parts)
    return int.from_bytes(hashlib.sha256(repr(plain).encode()).digest()[:7], "big")
