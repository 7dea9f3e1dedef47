"""What a protocol's YAML names outside of itself: masks in YAMLs of their own, prompts, variables in paths."""

from pathlib import Path
from typing import Any

from datamodules import EvaluationSet
from experiments.files.find import find_yaml
from experiments.files.read import read_yaml
from experiments.files.variables import expanded
from experiments.records.files import published_rows
from experiments.records.record import PublishedRow
from lit_inpaint.prompts import Prompts
from masks.build import laws
from masks.nearest import nearest


def masks_of(config: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """The masks by name, "" for the only one. A string names a law, or a YAML: beside the protocol, here, or built in.

    Raises:
        ValueError: There is no such YAML, a mask is no mapping, or masks has no names.
    """
    masks = _read(config["masks"], path) if "masks" in config else {"": config["mask"]}
    if "masks" in config and isinstance(masks, dict) and "class_path" in masks:
        raise ValueError(f"{path}: masks is one mask, {masks['class_path']}; say mask, or give each of several a name.")
    masks = {name: _read(mask, path) for name, mask in masks.items()} if isinstance(masks, dict) else masks
    if not isinstance(masks, dict) or not all(isinstance(mask, dict) for mask in masks.values()):
        raise ValueError(
            f"{path}: masks needs mappings with class_path, by name, mask needs one with class_path; or name a YAML."
        )
    if isinstance(rows := config.get("published"), dict):
        for name in set(rows) - set(masks):
            raise ValueError(f"{path}: published has no mask '{name}'. {nearest(name, masks)}")
    return masks


def _read(mask: Any, path: Path) -> Any:
    if not isinstance(mask, str):
        return mask
    if mask in laws():
        return {"class_path": mask}
    beside = path.parent / mask
    file = beside if beside.is_file() else find_yaml(mask, "masks")
    return expanded(read_yaml(file), file)


def rows_of(config: dict[str, Any], name: str, mask: dict[str, Any]) -> list[PublishedRow]:
    """The published rows of one mask: its own, those that the protocol has under its name, or those of all masks."""
    rows = mask.get("published", config.get("published", []))
    return published_rows(rows.get(name, []) if isinstance(rows, dict) else rows)


def data_of(data: Any, path: Path) -> dict[str, Any]:
    """The data module as a mapping; a string names its class, as in `fit`.

    Raises:
        ValueError: It is neither.
    """
    found = {"class_path": data} if isinstance(data, str) else data
    if not isinstance(found, dict) or not isinstance(found.get("class_path"), str):
        raise ValueError(f"{path}: data is {data!r}; expected class_path and init_args, or the name of a class.")
    return found


def data_arguments(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of the data module, their variables expanded.

    Raises:
        ValueError: A variable is not set.
    """
    try:
        return dict(expanded(config["data"].get("init_args", {}), path))
    except ValueError as error:
        raise ValueError(f"{str(error).removesuffix('.')}, or give --images FOLDER.") from error


def prompts_of(config: dict[str, Any], path: Path, images: EvaluationSet) -> dict[str, str]:
    """The prompt of each image, from the table that the protocol names: beside the protocol, or a path from here.

    Raises:
        ValueError: There is no such table, or it lacks the prompt of an image.
    """
    if not (given := config.get("prompts")):
        return {}
    if not isinstance(given, str):
        raise ValueError(f"{path}: prompts is {given!r}; expected the path of a table with the columns image, prompt.")
    named = expanded(given, path)
    beside = path.parent / named
    table = Prompts(beside if beside.is_file() else named)
    names = map(images.name, range(len(images)))
    found = {name: " ".join((table.of(name).prompt or "").split()) for name in names}
    if empty := [name for name, prompt in found.items() if not prompt]:
        more = f" and of {len(empty) - 1} more" if len(empty) > 1 else ""
        raise ValueError(f"{table.path}: the prompt of {empty[0]}{more} is empty. Say what the image shows.")
    return found
