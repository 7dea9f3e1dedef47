"""Where a configuration or protocol named on the command line lies."""

from pathlib import Path

from experiments.files.read import parse_yaml

INSTALLED = Path(__file__).resolve().parents[1] / "configs"


def find_yaml(name: str, folder: str = "") -> Path:
    """``name`` in the current folder, else among the installed YAMLs (``folder`` below experiments/configs first).

    Raises:
        ValueError: Naming the nearest one that exists; or the file is not YAML.
    """
    spellings = [name, f"{name}.yaml"]
    for place in (Path(), INSTALLED / folder, INSTALLED):
        for spelling in spellings:
            if (place / spelling).is_file():
                found = (place / spelling).absolute()
                parse_yaml(found)
                return found
    from difflib import get_close_matches

    installed = sorted(str(p.relative_to(INSTALLED)) for p in (INSTALLED / folder).rglob("*.yaml"))
    close = get_close_matches(f"{name.removesuffix('.yaml')}.yaml", installed, n=1, cutoff=0.4)
    close = close or [one for one in installed if name.removesuffix(".yaml") in one][:1]
    hint = f"Did you mean '{close[0]}'?" if close else f"Installed: {', '.join(installed)}."
    raise ValueError(f"there is no file '{name}' here, nor a configuration of that name. {hint}")
