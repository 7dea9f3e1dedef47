"""The newest whole checkpoint of a run; damaged ones are named and passed over."""

from collections.abc import Iterable
from pathlib import Path


def newest_whole(paths: Iterable[Path]) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a fit whose checksums match, by recorded start and step; and what is wrong with others.

    Of two of the same step, last.ckpt is taken. Files that are whole but hold no training state (``save_weights_only``)
    are ignored. Older checkpoints than the one that is taken are not verified.
    """
    import torch  # slow to import: `runs` lists folders without it

    from lit_inpaint.checkpoints import damage, first_line

    found, said = [], []
    for path in paths:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            reason = damage(path) if path.is_file() else "it is not a file"
            said.append(f"{path} is damaged ({reason or first_line(error)}).")
            continue
        if isinstance(content, dict) and {"global_step", "optimizer_states"} <= content.keys():
            start = content.get("run", {}).get("start", 0)
            found.append((start, content["global_step"], path.name.startswith("last"), path))
    for *_, path in sorted(found, reverse=True):
        if not (reason := damage(path)):
            return path, said
        said.append(f"{path} is damaged ({reason}).")
    return None, said
