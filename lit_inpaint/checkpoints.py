"""Checkpoints that are verified on load, without Lightning, whose import takes seconds."""

import os
import tempfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import torch

from lit_inpaint import renamed

FORMAT = 1  # of the checkpoints that this version writes; those without a number are of format 1


class Converted(TypedDict):
    """Published weights as a checkpoint of ours: what ``convert`` in the ``weights.py`` of a method returns."""

    method: str  # or a stage of it
    hyper_parameters: Mapping[str, object]
    state_dict: Mapping[str, torch.Tensor]
    contract: Mapping[str, object]  # of the source program, in words: ranges, colours, what a mask means


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a file is in ``folder`` as written or where it lies: ``checkpoints`` may link to another disk."""
    written = Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))
    return written or path.resolve().is_relative_to(folder.resolve())


def read_tensors(path: Path, map_location: Any = "cpu", weights_only: bool = True) -> Any:
    """Load a ``torch.save`` file with verified checksums; no code in the file is run.

    Tensors are memory-mapped and read on use.

    Raises:
        ValueError: There is no such file, it is damaged, or it holds more than tensors and plain values.
    """
    checked = check_bits(path)
    try:
        content = torch.load(path, map_location=map_location, weights_only=weights_only, mmap=checked)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors and plain values ({first_line(error)}); none of its "
            f"code was run.{_others(path)}"
        ) from error
    if not checked:
        tell_unchecked(path)
    return renamed.checkpoint(content)


def check_bits(path: Path) -> bool:
    """Verify the checksums of torch's zip format, once per process and file; False for older formats, which have none.

    ``torch.load`` ignores them: a flipped bit in a tensor would load as a different value.

    Raises:
        ValueError: There is no such file, or it is damaged; lists the intact checkpoints beside it.
    """
    if not path.is_file():
        hint = " `lit-inpaint pull` writes one from a repository of the Hub." if path.parts[:1] == ("hf:",) else ""
        raise ValueError(f"There is no checkpoint {path}.{hint}")
    if reason := damage(path):
        raise ValueError(f"{path} is damaged ({reason}).{_others(path)}")
    return _checked(path)[0]


def damage(path: Path) -> str | None:
    """What is wrong with a file by its checksums; None if they match, or if its format has none."""
    return _checked(path)[1]


def _checked(path: Path) -> tuple[bool, str | None]:
    stat = path.stat()
    return _damage(path, stat.st_size, stat.st_mtime_ns)


def tell_unchecked(path: Path) -> None:
    from lightning.pytorch.utilities.rank_zero import rank_zero_warn  # slow, and seldom needed

    rank_zero_warn(f"{path} has a format without checksums: damaged values would go unnoticed.")


@cache
def _damage(path: Path, size: int, changed: int) -> tuple[bool, str | None]:
    """Whether a file is a zip, and its damage; cached while size and modification time stay the same."""
    with path.open("rb") as file:
        begins = file.read(4) == b"PK\x03\x04"
    if not begins and not zipfile.is_zipfile(path):
        return False, None if size else "it is empty"
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()  # streams every member through its CRC-32
    except Exception as error:  # of a damaged directory: BadZipFile, NotImplementedError, struct.error, ...
        return True, first_line(error)
    return True, f"the checksum of {bad} does not match" if bad else None


def refuse_newer(content: object, path: object, known: int = FORMAT) -> None:
    """
    Args:
        content: A checkpoint, or the content of another file that states its format.
        known: The newest format of such files that this version reads.

    Raises:
        ValueError: It was written by a newer version, in a format unknown to this one.
    """
    found = content.get("format", 1) if isinstance(content, dict) else 1
    if isinstance(found, int) and found > known:
        raise ValueError(f"{path} has format {found}, of a newer lit-inpaint; this one reads {known}. Update it.")


def fits(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> list[str]:
    """How the tensors of a file differ from those that a network has, by name and shape; nothing if they fit.

    >>> fits({"a": torch.zeros(2), "b": torch.zeros(1)}, {"a": torch.zeros(3), "c": torch.zeros(1)})
    ['missing c', 'unexpected b', 'a is (2,), not (3,)']
    """
    problems = [f"missing {name}" for name in wanted if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in wanted]
    for name in wanted:
        if name in state and (unlike := _unlike(state[name], wanted[name])):
            problems.append(f"{name} is {unlike}")
    return problems


def _unlike(given: object, wanted: torch.Tensor) -> str | None:
    """What a value of a file is that this tensor of a network cannot take."""
    if not isinstance(given, torch.Tensor):
        return f"{type(given).__name__}, no tensor"
    if given.shape != wanted.shape:
        return f"{tuple(given.shape)}, not {tuple(wanted.shape)}"
    if given.layout != torch.strided:
        return f"{given.layout}, not dense"
    lost = given.is_complex() != wanted.is_complex() or (wanted.is_floating_point() and not given.is_floating_point())
    return f"{given.dtype}, not {wanted.dtype}" if lost else None


def refuse_unfit(
    state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: object, name: str
) -> None:
    """
    Raises:
        ValueError: The tensors of ``path`` do not fit ``name``; see :func:`fits`.
    """
    if problems := fits(state, wanted):
        raise ValueError(f"{path} does not fit {name}: {len(problems)} differences, first: {problems[0]}.")


def _others(path: Path) -> str:
    """The intact checkpoints in the same folder, newest step first, for the error about a damaged one."""
    found = []
    for other in path.parent.glob("*.ckpt") if path.suffix == ".ckpt" else ():
        if other == path or not other.is_file():  # a folder, a pipe or a broken link of that name
            continue
        if _checked(other) != (True, None):
            continue
        try:
            step = torch.load(other, map_location="cpu", weights_only=True, mmap=True).get("global_step", -1)
        except Exception:
            continue
        found.append((step, other.name))
    names = [f"{name} (step {step})" for step, name in sorted(found, reverse=True)]
    return f" Intact checkpoints in {path.parent}: {', '.join(names)}." if names else ""


def first_line(error: Exception) -> str:
    """First line of an error, or its type if it is empty; only the reason from torch's text on pickles."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return next((line.strip() for line in lines if "WeightsUnpickler error" in line), lines[0])


def check_writable(folder: Path) -> None:
    """Create ``folder``, and fail now if it is not writable, not at the first checkpoint."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"{folder} is not writable: {error.strerror}"
        raise OSError(error.errno, f"{reason}. Set trainer.default_root_dir to a folder of yours.") from None
