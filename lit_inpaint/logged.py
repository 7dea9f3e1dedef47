"""The keys that a validation logs, known before it runs: what callbacks may monitor and sweeps may optimise."""

import inspect
import re
from collections.abc import Iterable

from lit_inpaint.metrics import CHEAP, NAMES, higher_is_better
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.nearest import nearest

_COUNTED = {"step", "epoch", "images_seen", "images_per_second", "data_wait", "generator_updates"}


def never_logged(key: str, cls: type, asked: Iterable[str] = ()) -> str | None:
    """What to say of a key that no validation of ``cls`` logs, even with the metrics ``asked`` for; None of any other.

    What a training step logs is known when it has run.

    >>> from lit_inpaint.methods import LaMa
    >>> never_logged("val/lpips_alex", LaMa), never_logged("val/lpips_alex", LaMa, ["lpips_alex"])
    ("is logged when asked for: --val_metrics '[lpips_alex]'.", None)
    """
    own = [base for base in cls.__mro__ if issubclass(base, Stage) and base not in (Stage, InpaintingModule)]
    try:
        source = "".join(inspect.getsource(base) for base in own)
    except (OSError, TypeError):  # made in a notebook
        return None
    if not own or re.search(r"f[\"'](val|\{\w+\})/\{", source):
        return None  # it makes its keys as it runs
    cheap = CHEAP if issubclass(cls, InpaintingModule) else ()
    literal = re.findall(r"[\"'](?:val|\{\w+\})/(\w+)[\"']", source)
    known = {f"val/{name}" for name in (*cheap, *asked, *literal)}
    if key in known | _COUNTED or key.startswith(("train/", "health/")):
        return None
    name = key.removeprefix("val/")
    if cheap and key != name and name in NAMES:
        return f"is logged when asked for: --val_metrics '[{name}]'."
    return f"{cls.__name__} never logs. {nearest(key, sorted(known))} For training: train/... as in metrics.csv."


def worse_end(key: str, maximize: bool) -> bool:
    """Whether a validated quantity gets worse where it is said to get better.

    >>> worse_end("val/psnr", maximize=False), worse_end("val/lpips_alex", maximize=False)
    (True, False)
    """
    higher = higher_is_better(key) if key.startswith("val/") else None
    return higher is not None and higher != maximize
