"""Small trained networks that come with the package: ``zoo:NAME`` wherever a method is named.

    NAME.safetensors   the networks that complete images, in float16
    NAME.json          the card: what was trained and how, its rows of the table, and the SHA-256 of both files

What lies in this folder is the list. Nothing is downloaded, nothing is unpickled, and no module is imported because a
card names it. ``python -m benchmarks.zoo add`` writes entries, ``make table`` measures their rows again.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from lit_inpaint import hub, renamed
from lit_inpaint.backbones import sha256
from lit_inpaint.checkpoints import FORMAT as CHECKPOINT_FORMAT
from lit_inpaint.checkpoints import first_line, refuse_newer
from lit_inpaint.options import key_values
from masks.nearest import nearest

__all__ = ["Card", "CardRow", "Number", "card_of", "cards", "checkpoint_of", "entry", "names"]
PREFIX, FORMAT = "zoo:", 1
FOLDER = Path(__file__).parent
TENSORS, CARD = ".safetensors", ".json"
_EXACT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class Number:
    """Mean of a metric with the checkpoint's float32 weights and with the entry's float16 ones.

    Args:
        interval: 95 % interval of the mean with float16.
        first: Values with float16 of the first images, by name: ``make table`` measures these again.
    """

    float32: float
    float16: float
    interval: tuple[float, float] | None
    n: int
    first: dict[str, float]
    __pydantic_config__: ClassVar = _EXACT


@dataclass(frozen=True, kw_only=True)
class CardRow:
    """One row of a table: the entry under one protocol.

    Args:
        protocol: Name of the YAML, as `benchmark` takes it.
        mask: Which of its masks; None where it has one without a name.
        hash: The protocol's hash.
        limit: What `--limit` was, which is part of the hash; None for the protocol's own.
        sampler: What `--sampler` was; empty for the method's own.
    """

    protocol: str
    mask: str | None
    hash: str
    limit: int | None
    sampler: list[str]
    metrics: dict[str, Number]
    __pydantic_config__: ClassVar = _EXACT


@dataclass(frozen=True, kw_only=True)
class Card:
    """What NAME.json holds.

    Args:
        title: What it was trained on and by whom, so that nobody takes it for a published model.
        weights: Whether the checkpoint's averaged weights were taken, or its raw ones.
        config: Model, data and length of the training, as its run has saved them.
        checkpoint_sha256: SHA-256 of the checkpoint that it was made from.
        file_sha256: SHA-256 of NAME.safetensors.
        sha256: SHA-256 of all of the above.
    """

    library: Literal["lit-inpaint"] = "lit-inpaint"
    format: int = FORMAT
    title: str
    method: str
    module: str
    hyper_parameters: dict[str, Any]
    weights: Literal["ema", "raw"]
    seed: int | None
    images_seen: int | None
    parameters: int
    config: dict[str, Any]
    rows: list[CardRow]
    checkpoint_sha256: str
    file_sha256: str
    sha256: str = ""
    __pydantic_config__: ClassVar = _EXACT

    def text(self) -> str:
        """NAME.json, with its own hash."""
        return json.dumps(asdict(self) | {"sha256": self.hash}, indent=1, allow_nan=False) + "\n"

    @property
    def hash(self) -> str:
        content = {key: value for key, value in asdict(self).items() if key != "sha256"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_CARD = TypeAdapter(Card)


def entry(method: object) -> str | None:
    """The entry that ``zoo:NAME`` names; None for anything else.

    >>> entry("zoo:some"), entry("Telea")
    ('some', None)
    """
    text = str(method)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def names() -> list[str]:
    """Every entry of the folder, damaged ones too.

    >>> names() == sorted(names())
    True
    """
    return sorted({path.stem for path in FOLDER.iterdir() if path.suffix in (TENSORS, CARD)})


def card_of(name: str) -> Card:
    """The verified card of an entry.

    Raises:
        ValueError: There is no such entry, its card is missing or damaged, or its tensors are.

    >>> card_of("LaMo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: there is no 'LaMo' in the zoo. ...
    """
    if name not in (known := names()):
        raise ValueError(f"there is no '{name}' in the zoo. {nearest(name, known) if known else 'It is empty.'}")
    path, tensors = FOLDER / f"{name}{CARD}", FOLDER / f"{name}{TENSORS}"
    for file, other in ((path, tensors), (tensors, path)):
        if not file.is_file():
            raise ValueError(f"{PREFIX}{name}: {other} has no {file.name} beside it. Install lit-inpaint again.")
    try:
        content = path.read_bytes()
        refuse_newer(json.loads(content), path, FORMAT)
        card = _CARD.validate_json(content)
    except (ValueError, RecursionError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} is not a card of the zoo ({_reason(error)}). Install lit-inpaint again.") from error
    for file, stated, found in ((path, card.sha256, card.hash), (tensors, card.file_sha256, sha256(tensors))):
        if stated != found:
            raise ValueError(
                f"{file} has been cut off or altered: its sha256 is {found[:12]}..., {path.name} states "
                f"{stated[:12]}.... Install lit-inpaint again."
            )
    return card


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return first_line(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")


def cards() -> Iterator[tuple[str, Card | str]]:
    """Every entry with its card, or with what is wrong with it in one line.

    >>> [line for name, line in cards() if isinstance(line, str)]
    []
    """
    for name in names():
        try:
            yield name, card_of(name)
        except ValueError as error:
            yield name, str(error)


def checkpoint_of(name: str, weights: Literal["ema", "raw"] = "ema") -> dict[str, Any]:
    """An entry as a checkpoint holds it, in float32: ``partial`` says that what only training needs is not there. One
    that samples completes as its first row does.

    Raises:
        ValueError: See :func:`card_of`; or raw weights are asked of an entry that has averaged ones.

    >>> checkpoint_of("LaMo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: there is no 'LaMo' in the zoo. ...
    """
    card = card_of(name)
    if weights == "raw" and card.weights == "ema":
        raise ValueError(f"{PREFIX}{name} has averaged weights only; leave out --weights raw.")
    path = FOLDER / f"{name}{TENSORS}"
    try:
        state = {key: float32(value) for key, value in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read ({first_line(error)}). Install lit-inpaint again.") from error
    content = {
        "method": card.method,
        "module": card.module,
        "format": CHECKPOINT_FORMAT,
        "hyper_parameters": card.hyper_parameters,
        "state_dict": state,
        "partial": True,
        "seed": card.seed,
    }
    if card.rows and card.rows[0].sampler:
        sampler, *arguments = card.rows[0].sampler
        content["sampler"] = {"class_path": sampler, "init_args": key_values(arguments)}
    if card.weights == "ema":
        networks = dict.fromkeys(key.partition(".")[0] for key in state if "." in key)
        content["ema"] = {network: hub.below(state, network) for network in networks}
    return renamed.checkpoint(content)


def float32(tensor: torch.Tensor) -> torch.Tensor:
    """Counters and the like keep their type."""
    return tensor.float() if tensor.is_floating_point() else tensor
