"""Constructor arguments on the command line, as KEY=VALUE."""

from typing import Any

import yaml


def key_value(pair: str) -> tuple[str, Any]:
    """The name and the value, read as YAML.

    >>> key_value("rates=[1, 2]")
    ('rates', [1, 2])
    """
    key, equals, value = pair.partition("=")
    if not equals:
        raise ValueError(f"'{pair}' is not an argument; write KEY=VALUE, e.g. width=32.")
    try:
        return key, yaml.safe_load(value)
    except Exception as error:  # whatever PyYAML's constructors raise
        raise ValueError(f"{pair!r}: the value is not YAML ({' '.join(str(error).split())}).") from error
