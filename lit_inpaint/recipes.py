"""A method with arguments, in a YAML: the class and arguments of ``model``, as `fit` takes them.

    model:
      class_path: PatchMatch
      init_args: {patch: 5}

Wherever a method is named, such a file may stand; its arguments are part of the record.
"""

from pathlib import Path
from typing import Any

import yaml

from lit_inpaint.checkpoints import first_line
from masks.regular import read_text


def is_recipe(path: Path) -> bool:
    return path.suffix in {".yaml", ".yml"}


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """Class path and arguments.

    Raises:
        ValueError: Naming the file: it is not one of these.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML ({first_line(error)}).") from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("class_path"), str) or {*content} != {"model"}:
        more = f" It holds {', '.join(map(str, content))}." if isinstance(content, dict) else ""
        raise ValueError(f"{path} is no method: expected model: {{class_path: ..., init_args: {{...}}}} alone.{more}")
    arguments = model.get("init_args") or {}
    if not isinstance(arguments, dict) or {*model} - {"class_path", "init_args"}:
        raise ValueError(f"{path}: model holds {', '.join(map(str, model))}; expected class_path and init_args alone.")
    return model["class_path"], arguments
