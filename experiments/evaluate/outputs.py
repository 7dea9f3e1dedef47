"""Completions made by another program, scored from a folder of PNGs: ``--methods MAT=outputs:FOLDER``."""

import hashlib
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datamodules.evaluation import to_image
from datamodules.reading import Pixels
from experiments.evaluate.protocol import Protocol as Rules
from experiments.evaluate.source import Completion
from experiments.files.find import find_method
from experiments.files.write import key_of, refuse_not_utf8
from experiments.records.record import MethodFacts, hash_of
from lit_inpaint.backbones import sha256
from lit_inpaint.labels import label_methods, unique_label
from masks.convention import InpaintingBatch, composite, to_pixels
from masks.files import deep_colours
from masks.finding import find_images
from masks.regular import open_regular

PREFIX = "outputs:"
Made = Literal["composited", "raw"]
_PASTED = "raw outputs, known pixels pasted back here"
_SHOWN = 5  # names per problem


class Layout(NamedTuple):
    """One way to name completions: ``split`` gives an image's key and the sample, ``join`` the file."""

    split: Callable[[str], tuple[str, str]]
    join: Callable[[str, str], str]


def _numbered(stem: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.+)_(\d+)", stem)
    return (found[1], found[2]) if found else (stem, "")


LAYOUTS = (
    Layout(lambda stem: (stem, ""), lambda key, sample: f"{key}.png"),
    Layout(_numbered, lambda key, sample: f"{key}_{sample}.png"),
    Layout(lambda stem: stem.partition("/")[::-2], lambda key, sample: f"{sample}/{key}.png"),
)


@dataclass(frozen=True)
class Assignment:
    """Which file is which completion.

    Args:
        files: Files of each image, in the order of its samples.
        missing: Files that should exist.
        extra: Files that belong to no image, or to a completion that another file holds.
    """

    files: dict[str, list[str]]
    missing: list[str]
    extra: list[str]


def assign(names: Sequence[str], keys: Sequence[str]) -> Assignment:
    """Match files to images by the layout that explains them best: NAME.png, NAME_0.png ... or 0/NAME.png ...

    >>> assign(["a.png", "b.png"], ["a", "b"]).files
    {'a': ['a.png'], 'b': ['b.png']}
    >>> assign(["a_0.png", "a_1.png", "b_1.png"], ["a", "b"])
    Assignment(files={'a': ['a_0.png', 'a_1.png'], 'b': ['b_1.png']}, missing=['b_0.png'], extra=[])
    """
    tried = [_assigned(layout, names, keys) for layout in LAYOUTS]
    return min(tried, key=lambda found: len(found.missing) + len(found.extra))


def _assigned(layout: Layout, names: Sequence[str], keys: Sequence[str]) -> Assignment:
    found: dict[str, dict[str, str]] = {key: {} for key in keys}
    extra = []
    for name in names:
        key, sample = layout.split(key_of(name))
        if key in found and sample not in found[key]:
            found[key][sample] = name
        else:
            extra.append(name)
    samples = sorted({sample for of_key in found.values() for sample in of_key}, key=lambda s: (len(s), s)) or ["0"]
    missing = [layout.join(key, sample) for key in keys for sample in samples if sample not in found[key]]
    files = {key: [of_key[sample] for sample in samples if sample in of_key] for key, of_key in found.items()}
    return Assignment(files, missing, extra)


class _UnusableError(ValueError):
    """A file that is no completion: ``kind`` of the problem, and details."""

    def __init__(self, kind: str, details: str) -> None:
        super().__init__(kind, details)
        self.kind, self.details = kind, details


@dataclass
class Outputs:
    """PNGs of one program for one protocol.

    Args:
        folder: NAME.png per image, at any depth; several completions as NAME_0.png, ... or a folder per sample. The
            outputs of a protocol with several masks lie in a subfolder per mask (repaint-wide).
        made: "composited": known pixels must be those of the image. "raw": the network's whole output; under a protocol
            that measures composites, the known pixels are pasted back here.
    """

    folder: Path
    label: str
    rules: Rules
    made: Made = "composited"

    @cached_property
    def root(self) -> Path:
        own = self.folder / self.rules.name
        return own if own.is_dir() else self.folder

    @cached_property
    def names(self) -> list[str]:
        found = find_images(self.root, what="outputs")
        refuse_not_utf8(found)  # refused ones are in the record as well
        return found

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {name: sha256(self.root / name) for name in self.names}

    @cached_property
    def assignment(self) -> Assignment:
        images = self.rules.images
        return assign(self.names, [key_of(images.name(index)) for index in range(len(images))])

    @property
    def diverse(self) -> bool:
        return max(map(len, self.assignment.files.values()), default=0) > 1

    def identity(self) -> dict[str, str]:
        return {"outputs": hash_of(self.hashes), "made": self.made}

    def open(self, device: torch.device) -> None:
        """Look at the names before anything is measured; files are looked at when they are read.

        Raises:
            ValueError: Counting and naming what is missing, extra or unusable.
        """
        if self.rules.measured == "raw" and self.made != "raw":
            raise ValueError(
                "this protocol measures raw outputs, and composited ones hide what the network does to known pixels. "
                "Give raw outputs and --outputs-are raw."
            )
        if self.assignment.missing or self.assignment.extra:
            raise self._refusal()
        samples, asked = max(map(len, self.assignment.files.values()), default=0), self.rules.samples
        if samples not in (1, asked):
            raise ValueError(
                f"{self.root} holds {samples} completions per image, the protocol asks for {asked}. Give 1 or {asked}, "
                f"or a protocol with samples: {samples}."
            )

    def _refusal(self) -> ValueError:
        """Whatever is wrong with the folder, after a look at every file."""
        problems: dict[str, list[str]] = {}
        if self.assignment.missing:
            problems["missing"] = self.assignment.missing
        if self.assignment.extra:
            problems["extra, belonging to no image"] = self.assignment.extra
        for index in range(len(self.rules.images)):
            image, mask, key = self.rules.images[index]
            for name in self.assignment.files[key_of(str(key))]:
                try:
                    self._completion(name, image, mask)
                except _UnusableError as problem:
                    problems.setdefault(problem.kind, []).append(f"{name} ({problem.details})")
        said = "; ".join(f"{len(found)} {kind}: {_listed(found)}" for kind, found in problems.items())
        return ValueError(f"{self.root}, {len(self.names)} outputs for {len(self.rules.images)} images: {said}.")

    def _completion(self, name: str, image: Tensor, mask: Tensor) -> tuple[Tensor, bytes | None]:
        """A completion of an image, both on the CPU, and its file if that holds no more than these pixels."""
        pixels, file = self._read(name, image.shape)
        completion = to_image(pixels, len(image))
        hole = mask[0].numpy() == 1
        difference = np.abs(pixels.astype(np.int16) - to_pixels(image)).max(-1)
        untouched = hole.any() and (difference[hole] > 0).mean() < 0.05
        composited = self.made == "composited" and difference[~hole].any()
        if composited or (untouched and _white_is_swapped(difference, hole)):
            self._refuse_known(difference, hole)
        return completion, file

    def _read(self, name: str, shape: tuple[int, ...]) -> tuple[Pixels, bytes | None]:
        """One file, (H, W, 3) uint8, whose content is the one that was hashed; and that if it holds no more than the
        image, whose ``shape`` is (C, H, W)."""
        path = self.root / name
        with open_regular(path) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != self.hashes[name]:
            raise ValueError(f"{path} has changed since it was looked at; run the command again.")
        try:
            with Image.open(io.BytesIO(content)) as image:
                size, kind = image.size, f"{image.format}, {image.mode}"
                if image.format == "JPEG":
                    raise _UnusableError("JPEG-compressed", "save PNGs")
                if image.format == "PNG" and deep_colours(image):  # Pillow reads 8 bits of its 16
                    raise _UnusableError("no PNG of 8 bits in RGB or grey", f"{kind} of 16 bits")
                if image.format != "PNG" or image.mode not in ("RGB", "L") or image.has_transparency_data:
                    raise _UnusableError("no PNG of 8 bits in RGB or grey", kind)
                channels, height, width = shape
                if size != (width, height):
                    resized = ", resized" if size[0] * height == size[1] * width else ""
                    expected = f"{size[0]}x{size[1]}, not {width}x{height}{resized}"
                    raise _UnusableError("of another size", expected)
                pixels = np.asarray(image.convert("RGB"))
                return pixels, content if len(image.getbands()) == channels and not image.info else None
        except _UnusableError:
            raise
        except Exception as error:  # whatever a decoder raises for a damaged file
            raise _UnusableError("unreadable", " ".join(str(error).split())[:80]) from error

    def complete(self, batch: InpaintingBatch) -> Completion:
        names = [self.assignment.files[key_of(str(name))] for name in batch.name]
        given = zip(names, batch.image.cpu(), batch.mask.cpu(), strict=True)
        try:
            found = [[self._completion(name, image, mask) for name in of] for of, image, mask in given]
        except _UnusableError:
            raise self._refusal() from None
        samples = torch.stack([torch.stack([completion for completion, _ in of]) for of in found], 1)
        samples, adaptation, files = samples.to(batch.image.device), None, [of[0][1] for of in found]
        if self.made == "raw" and self.rules.measured == "composite":
            samples = torch.stack([composite(sample, batch.image, batch.mask) for sample in samples])
            adaptation, files = _PASTED, []
        return Completion(samples, None, None, None, [adaptation] * len(names), files)

    def _refuse_known(self, difference: np.ndarray, hole: np.ndarray) -> None:
        known = difference[~hole]
        changed = int((known > 0).sum())
        said = f"{changed} of {known.size} known pixels, by up to {known.max()} of 255"
        if _white_is_swapped(difference, hole):
            white = "hole" if getattr(self.rules.images.mask, "white", "hole") == "known" else "known"
            said += (
                f", and the hole hardly; white may mean {white}: `white: {white}` of MaskFolder, --mask-white {white}"
            )
            said += " beside --mask-folder, or in `export`"
        elif changed > known.size / 2:
            said += "; resized, JPEG-compressed on the way, or raw: --outputs-are raw"
        raise _UnusableError("with changed known pixels", said)

    def described(self) -> MethodFacts:
        about = MethodFacts(name="outputs", label=self.label, weights="none", parameters=None, outputs=self.hashes)
        about.given = str(self.folder)
        return about


def _white_is_swapped(difference: np.ndarray, hole: np.ndarray) -> bool:
    """Whether what is known was completed and the hole was not; raw or compressed, all pixels differ a little."""
    if hole.all() or not hole.any():
        return False
    return bool(difference[~hole].mean() > 4 * max(difference[hole].mean(), 2))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def refuse_inside(out: Path, images: Path | None, methods: Sequence[str] = ()) -> None:
    """
    Raises:
        ValueError: ``out`` lies in the folder of the images or outputs: the next run would take its pictures for them.
    """
    folders = [Path(word.partition(PREFIX)[2]) for word in methods if PREFIX in word]
    for folder in [*([images] if images else []), *folders]:
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"--out {out} lies in {folder}, whose pictures are all taken; choose a folder elsewhere.")


def label_sources(given: Sequence[str], weights: Literal["ema", "raw"]) -> dict[str, str]:
    """{what a job takes: label} in the order given: methods, checkpoints, YAMLs and ``[LABEL=]outputs:FOLDER``.

    Raises:
        ValueError: A method or folder that does not exist, or a label given twice.
    """
    given = [*map(find_method, given)]
    folders: dict[str, tuple[str, str]] = {}
    for word in given:
        label, found, folder = word.partition(PREFIX)
        if found and (not label or label.endswith("=")):
            folder = os.path.expanduser(folder)
            if not Path(folder).is_dir():
                raise ValueError(f"{word}: there is no folder {folder!r}. Give the folder that holds the outputs.")
            folders[word] = (label[:-1] or Path(folder).absolute().name, PREFIX + folder)
    methods = iter(label_methods([word for word in given if word not in folders], weights).items())
    labels: dict[str, str] = {}
    for word in given:
        label, method = folders[word] if word in folders else next(methods)[::-1]
        labels[method] = unique_label(label, method, labels, asked=word.startswith(f"{label}="))
    return labels
