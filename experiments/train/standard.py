"""What every run has: a user's own list of callbacks or loggers adds to it."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from experiments.files.find import INSTALLED
from experiments.files.read import read_yaml

STANDARD = INSTALLED / "trainer.yaml"
ROOT = "${trainer.default_root_dir}"


def keep_standard(trainer: Namespace) -> None:
    """Add what the user's list of callbacks or loggers leaves out: without it a run saves no checkpoint, is not listed
    and has no curves. An entry of the same class takes the place of the standard one; a ModelCheckpoint with a folder
    of its own adds to it, for a run resumes from ``checkpoints``.

    ``callbacks: []`` and ``logger: false`` mean none. W&B gives way to the loggers that a user names; metrics.csv
    stays, for `compare` and `runs` read it.
    """
    standard = read_yaml(STANDARD)["trainer"]
    off = {"ProgressBar": trainer.enable_progress_bar is False, "Checkpoint": trainer.enable_checkpointing is False}
    off["Restart"] = off["Checkpoint"]
    unwanted = tuple(suffix for suffix, is_off in off.items() if is_off)
    if trainer.callbacks != []:
        wanted = [entry for entry in standard["callbacks"] if not entry["class_path"].endswith(unwanted)]
        trainer.callbacks = _with(trainer.callbacks, wanted, str(trainer.default_root_dir))
    if trainer.logger and trainer.logger is not True:
        trainer.logger = _with(trainer.logger, standard["logger"][:1], str(trainer.default_root_dir))


def _with(given: Any, standard: list[dict[str, Any]], root: str) -> list[Any]:
    entries = given if isinstance(given, list) else [given] if given else []
    named = {_kind(entry.class_path) for entry in entries if not _saves_elsewhere(entry, root)}
    return [*(_entry(entry, root) for entry in standard if _kind(entry["class_path"]) not in named), *entries]


def _saves_elsewhere(entry: Any, root: str) -> bool:
    place = (entry.get("init_args") or {}).get("dirpath") if _kind(entry.class_path) == "ModelCheckpoint" else None
    return place is not None and Path(place).absolute() != Path(root, "checkpoints").absolute()


def _kind(path: str) -> str:
    """The name of a class; a run has one progress bar."""
    name = path.rpartition(".")[2]
    return "ProgressBar" if name.endswith("ProgressBar") else name


def _entry(entry: dict[str, Any], root: str) -> Namespace:
    arguments = entry.get("init_args", {})
    placed = {key: value.replace(ROOT, root) if isinstance(value, str) else value for key, value in arguments.items()}
    return Namespace({"class_path": entry["class_path"], "init_args": Namespace(placed)})  # type: ignore[no-untyped-call]
