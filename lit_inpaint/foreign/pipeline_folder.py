"""Folders of diffusers' pipelines, read by us: JSON and safetensors, so that nothing in them is run or downloaded."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

INDEX = "model_index.json"
_TENSORS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")


def is_pipeline(path: Path) -> bool:
    return (path / INDEX).is_file()


def read(path: Path) -> dict[str, Any]:
    """``index``, ``folder``, and ``config`` and ``tensors`` of each network and scheduler that the index names.

    Parts of other libraries than diffusers (text encoders, safety checkers) are not read.

    Raises:
        ValueError: A part is missing, is damaged, or has its tensors in another format than safetensors.
    """
    index = _json(path / INDEX)
    found: dict[str, Any] = {"index": index, "folder": str(path)}
    for name, kind in index.items():
        if not isinstance(kind, list) or kind[:1] != ["diffusers"]:
            continue
        if "/" in name or name.startswith("."):
            raise ValueError(f"{path / INDEX} names a part '{name}'; expected the name of a folder beside it.")
        if "Scheduler" in str(kind[1]):
            found[name] = {"config": _json(path / name / "scheduler_config.json")}
        else:
            found[name] = {"config": _json(path / name / "config.json"), "tensors": _tensors(path / name)}
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no {path}, which a folder of diffusers has.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected an object.")
    return content


def _tensors(folder: Path) -> dict[str, Any]:
    path = next((folder / name for name in _TENSORS if (folder / name).is_file()), None)
    if path is None:
        others = sorted(p.name for p in folder.glob("*") if p.suffix != ".json")
        held = ", ".join(others) or "nothing"
        raise ValueError(f"{folder} has no {_TENSORS[0]}; it holds {held}. Only safetensors in one file are read.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())}).") from error
