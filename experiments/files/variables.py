"""Variables in the paths of YAMLs: ``$DATA``, ``${DATA}``, ``${oc.env:DATA}``, ``${oc.env:DATA,photos}``, ``~``."""

import os
import re
from pathlib import Path
from typing import Any

_SHELL = re.compile(r"\$([A-Za-z_]\w*)")
_BRACED = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_OMEGACONF = re.compile(r"\$\{oc\.env:\s*(\w+)\s*(?:,\s*([^}]*?)\s*)?\}")


def deferred(value: Any) -> Any:
    """``$DATA`` and ``~/`` as ``${oc.env:DATA}`` and ``${oc.env:HOME}/``, at any depth: OmegaConf resolves them
    later, and the configuration of a run keeps them.

    >>> deferred({"root": "$DATA/faces", "logs": ["~/runs", "${trainer.max_steps}"]})
    {'root': '${oc.env:DATA}/faces', 'logs': ['${oc.env:HOME}/runs', '${trainer.max_steps}']}
    """
    if isinstance(value, dict):
        return {key: deferred(item) for key, item in value.items()}
    if isinstance(value, list):
        return [deferred(item) for item in value]
    if not isinstance(value, str):
        return value
    value = _SHELL.sub(r"${oc.env:\1}", value)
    return "${oc.env:HOME}" + value[1:] if value == "~" or value.startswith("~/") else value


def expanded(value: Any, path: Path) -> Any:
    """``value`` of the YAML ``path`` with every variable replaced, at any depth. Other ``${...}`` stay.

    >>> os.environ["FACES"] = "/data/faces"
    >>> expanded(["$FACES/a", "${FACES}", "${oc.env:FACES}/b", "${oc.env:UNSET_HERE,photos}", 3], Path("p.yaml"))
    ['/data/faces/a', '/data/faces', '/data/faces/b', 'photos', 3]

    Raises:
        ValueError: A variable is not set.
    """
    if isinstance(value, dict):
        return {key: expanded(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [expanded(item, path) for item in value]
    if not isinstance(value, str):
        return value

    def read(found: re.Match[str]) -> str:
        default = found[2] if found.re is _OMEGACONF else None
        if found.re is _BRACED and found[1] not in os.environ:
            return found[0]  # W&B's ${args}, another key of the configuration
        if (given := os.environ.get(found[1], default)) is None:
            raise ValueError(f"{path} needs the environment variable {found[1]} in {value}: set it.")
        return given

    for pattern in (_OMEGACONF, _BRACED, _SHELL):
        value = pattern.sub(read, value)
    return os.path.expanduser(value) if value.startswith("~") else value
