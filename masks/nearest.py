"""The end of an error about an unknown name; on the ground floor, and without torch, so that every command has it."""

from collections.abc import Iterable
from difflib import get_close_matches

FEW = 25  # as many are listed beside the nearest one


def nearest(name: str, allowed: Iterable[object], cutoff: float = 0.5) -> str:
    """The nearest allowed name, whatever its case, and all of them if they are few or none is near. Initials count.

    Args:
        cutoff: Similarity from which a name counts as near, as in :func:`difflib.get_close_matches`.

    >>> nearest("telae", ["Telea", "PatchMatch"])
    "Did you mean 'Telea'? Allowed: PatchMatch, Telea."
    >>> nearest("xyz", ["Telea", "PatchMatch"])
    'Allowed: PatchMatch, Telea.'
    >>> nearest("lr", ["learning_rate", "width"])
    "Did you mean 'learning_rate'? Allowed: learning_rate, width."
    >>> nearest("step300", [f"step{n}" for n in range(0, 9000, 100)])
    "Did you mean 'step300'?"
    """
    names = sorted(map(str, allowed))
    lower = {one.lower(): one for one in names}
    wanted = name.lower()
    near = (
        [x for x in lower if "".join(word[:1] for word in x.split("_")) == wanted != x]
        or get_close_matches(wanted, lower, n=1, cutoff=cutoff)
        or [x for x in lower if len(wanted) > 2 and wanted in x]
    )
    said = [f"Did you mean '{lower[near[0]]}'?"] if near else []
    if not near or len(names) < FEW:
        said.append(f"Allowed: {', '.join(names) or 'none'}.")
    return " ".join(said)
