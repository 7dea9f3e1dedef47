"""A protocol as a folder for programs that are not ours: images, masks, erased images and an index with the hash.

    kit/index.json          the protocol's facts, its hash among them, and the sha256 of every image and mask
    kit/images/NAME.png     ground truth, resized and cropped
    kit/masks/NAME.png      white = hole, unless the index says known
    kit/erased/NAME.png     the image with a grey hole
    kit/prompts.csv         image (NAME.png) and prompt, of a protocol that has prompts

A protocol with several masks has such a folder per mask: kit/repaint-wide, ...
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from datamodules import EvaluationSet
from datamodules.files import Files
from experiments.evaluate.protocol import Protocol
from experiments.files.read import said_by
from experiments.files.write import below, key_of, refuse_equal_keys, write_png, write_text
from experiments.records.definition import shortened
from experiments.records.record import ProtocolFacts, hash_of
from lit_inpaint.backbones import sha256
from lit_inpaint.metrics import definition
from lit_inpaint.prompts import PROMPT, table
from masks import MaskFolder
from masks.convention import erase, to_pixels
from masks.files import read_mask
from masks.generator import Mask
from masks.regular import read_text
from masks.size import Size
from masks.tables import IMAGE, read_table

INDEX, PROMPTS, FORMAT = "index.json", "prompts.csv", 1
White = Literal["hole", "known"]


@dataclass(frozen=True)
class Hashes:
    """sha256 of one image's files in the kit."""

    image: str
    mask: str


@dataclass(frozen=True)
class Index:
    """What index.json holds.

    Args:
        images: By name in the data set, in the protocol's order.
    """

    protocol: ProtocolFacts
    mask_white: White
    images: dict[str, Hashes]
    format: int = FORMAT
    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid")


_INDEX = TypeAdapter(Index)


# ---- export ---------------------------------------------------------------------------------------------------------


def export(protocols: Sequence[Protocol], out: Path, white: White = "hole") -> list[Path]:
    """Write a kit, whole or not at all; its folders, one per protocol.

    Raises:
        ValueError: ``out`` exists, or two images would have one name.
    """
    if out.exists():
        raise ValueError(f"{out} exists; a kit is never overwritten. Choose another --out.")
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    names = [protocol.name if len(protocols) > 1 else "" for protocol in protocols]
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.part-", dir=out.absolute().parent) as beside:
        part = Path(beside) / out.name
        for protocol, name in zip(protocols, names, strict=True):
            _export(protocol, part / name, white)
        part.rename(out)
    return [out / name for name in names]


def _export(protocol: Protocol, folder: Path, white: White) -> None:
    images, hashes = protocol.images, dict[str, Hashes]()
    refuse_equal_keys(map(images.name, range(len(images))))
    for index in range(len(images)):
        image, mask, name = images[index]
        file, is_white = f"{key_of(str(name))}.png", mask if white == "hole" else 1 - mask
        picture = write_png(to_pixels(image), folder / "images", file)
        hole = write_png(_levels(is_white), folder / "masks", file)
        write_png(to_pixels(erase(image, mask)), folder / "erased", file)
        hashes[str(name)] = Hashes(sha256(picture), sha256(hole))
    if protocol.prompts:
        by_file = {f"{key_of(name)}.png": prompt for name, prompt in protocol.prompts.items()}
        write_text(folder / PROMPTS, table(by_file))
    index_of = Index(protocol.described(), white, hashes)
    write_text(folder / INDEX, json.dumps(asdict(index_of), indent=1, allow_nan=False) + "\n")


def _levels(mask: Tensor) -> np.ndarray:
    """(1, H, W) of 0 and 1 as (H, W) of 0 and 255."""
    return mask[0].numpy().astype(np.uint8) * np.uint8(255)


# ---- score ----------------------------------------------------------------------------------------------------------


class _KitImages(EvaluationSet):
    """Images and masks of a kit, under the names that they have in the data set."""

    def __init__(self, folder: Path, index: Index, size: Size, channels: int) -> None:
        self._names = list(index.images)
        files = [f"{key_of(name)}.png" for name in self._names]
        for file in files:
            below(folder, file)  # refuses a name that leads out of the kit
        masks = MaskFolder(str(folder / "masks"), pairing="name", white=index.mask_white)
        super().__init__(Files(folder / "images", files), masks, size, "none", channels=channels)

    def name(self, index: int) -> str:
        return self._names[index]

    def mask_file(self, index: int) -> Path:
        return Path(self.files.root).parent / "masks" / self.files.name(index)

    def draw_mask(self, index: int) -> Mask:
        assert isinstance(self.mask, MaskFolder)
        return read_mask(self.mask_file(index), self.mask.white)


@dataclass(frozen=True)
class Kit(Protocol):
    """A protocol read from its kit: the definition, and so the hash, is the one that was exported."""

    facts: ProtocolFacts = field(kw_only=True)

    @property
    def definition(self) -> dict[str, Any]:
        return self.facts.definition

    def described(self) -> ProtocolFacts:
        return self.facts


def load_kits(folder: Path) -> list[Kit]:
    """The protocols of a kit.

    Raises:
        ValueError: There is no kit, or a file of it is not what was exported.
    """
    indices = [folder / INDEX] if (folder / INDEX).is_file() else sorted(folder.glob(f"*/{INDEX}"))
    if not indices:
        raise ValueError(f"{folder} is no kit: there is no {INDEX}. `lit-inpaint protocol export` makes one.")
    return [_load(path) for path in indices]


def _load(path: Path) -> Kit:
    index = _read_index(path)
    facts = index.protocol
    with said_by(path):
        if hash_of(facts.definition) != facts.hash:
            raise ValueError(f"its hash is {facts.hash[:8]}, that of its definition {hash_of(facts.definition)[:8]}.")
        stated: Any = facts.definition
        images = _KitImages(path.parent, index, stated["size"], stated.get("channels", 3))
        for name, words in stated["metrics"].items():
            if words != definition(name):
                raise ValueError(
                    f"{name} was {words!r} when it was exported and is {definition(name)!r}. Export again."
                )
        kit = Kit(
            name=facts.name,
            images=images,
            metrics=tuple(stated["metrics"]),
            measured=stated["measured"],
            round_to_8_bits=stated["rounding"] == "8 bits",
            samples=stated["samples"],
            seed=stated["sample_seed"],
            about=facts.about,
            published=facts.published,
            prompts=_prompts(path.parent / PROMPTS, list(index.images), stated.get("prompts")),
            facts=facts,
        )
    for number, (name, hashes) in enumerate(index.images.items()):
        for file, expected in (
            (Path(images.files.path(number)), hashes.image),
            (images.mask_file(number), hashes.mask),
        ):
            if not file.is_file() or sha256(file) != expected:
                raise ValueError(f"{file} is not the one that was exported for {name}; export the kit again.")
    found: Any = images.fingerprint()
    if shortened(found["masks"]) != stated["masks"]:
        raise ValueError(
            f"the masks of {path.parent} are not those of protocol {facts.hash[:8]}; export the kit again."
        )
    return kit


def _prompts(path: Path, images: list[str], stated: dict[str, Any] | None) -> dict[str, str]:
    """The prompts that were exported, by name in the data set."""
    if stated is None:
        return {}
    rows = {row[IMAGE]: row[PROMPT] for row in read_table(path, (IMAGE, PROMPT))} if path.is_file() else {}
    found = {name: rows.get(f"{key_of(name)}.png", "") for name in images}
    if shortened(found) != stated:
        raise ValueError(f"{path} is not the one that was exported; export the kit again.")
    return found


def _read_index(path: Path) -> Index:
    text = read_text(path)
    try:
        index = _INDEX.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is not the index of a kit ({place}: {first['msg']}); export it again.") from error
    if index.format != FORMAT:
        raise ValueError(f"{path} has format {index.format}; this version reads {FORMAT}.")
    return index
