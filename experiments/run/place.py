"""Output folder of ``fit``: a saved configuration contains no folder, so it refers to the one it is in."""

import os
from pathlib import Path

import yaml
from jsonargparse import Namespace

from experiments.files.read import Plain, read_yaml
from lit_inpaint import renamed

ROOT = "${trainer.default_root_dir}"


def moved(value: object, old: str, new: str) -> object:
    """``value`` (changed in place) with every path at or below ``old`` at the same place below ``new``.

    >>> moved({"dirpath": "a/checkpoints", "name": "ab"}, "a", "b")
    {'dirpath': 'b/checkpoints', 'name': 'ab'}
    """
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        for start in (old, os.path.abspath(old)):
            if path == start or path.startswith(f"{start}/"):
                return new + path[len(start) :]
        return value
    if isinstance(value, dict | Namespace):
        inside = value if isinstance(value, dict) else vars(value)
        for key in inside:
            inside[key] = moved(inside[key], old, new)
    elif isinstance(value, list):
        value[:] = [moved(inner, old, new) for inner in value]
    return value


def to_save(resolved: Plain, written: Plain | None) -> str:
    """The text of config.yaml: interpolations as ``written``, without folder and checkpoint."""
    root = resolved["trainer"].pop("default_root_dir", None)
    if root is not None:
        moved(resolved["trainer"], str(root), ROOT)
    if "ckpt_path" in resolved:
        resolved["ckpt_path"] = None
    resolved.pop("allow_changes", None)  # said of one start
    return str(yaml.safe_dump(_interpolated(resolved, written), sort_keys=False, allow_unicode=True))


def _interpolated(resolved: object, written: object) -> object:
    if isinstance(written, str) and "${" in written:
        return written
    if isinstance(resolved, dict) and isinstance(written, dict):
        return {key: _interpolated(value, written.get(key)) for key, value in resolved.items()}
    if isinstance(resolved, list) and isinstance(written, list) and len(resolved) == len(written):
        return [_interpolated(*pair) for pair in zip(resolved, written, strict=True)]
    return resolved


def read_saved(path: Path, folder: Path) -> Plain:
    """A saved configuration, resolved to the run folder it is in; version 0.1.0 stored the folder's name.

    Raises:
        ValueError: If the file is not a YAML mapping.
    """
    config: Plain = renamed.configuration(read_yaml(path))
    trainer = config.setdefault("trainer", {})
    if isinstance(trainer, dict):
        old = trainer.get("default_root_dir")
        config["trainer"] = moved(trainer, str(old), str(folder)) if old else trainer
        config["trainer"]["default_root_dir"] = str(folder)
    config.pop("ckpt_path", None)
    return config
