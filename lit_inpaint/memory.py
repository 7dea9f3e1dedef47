"""The most memory that was taken: of a GPU what torch allocated, of a CPU what the process held."""

import re
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

_PROCESS = Path("/proc/self")
T = TypeVar("T")


def without_memory(make: Callable[[], T]) -> T:
    """What ``make`` returns, its tensors on the meta device; with real ones where a constructor looks at values.

    >>> without_memory(lambda: torch.ones(2)).device.type, without_memory(lambda: torch.ones(2).sum().item())
    ('meta', 2.0)
    """
    try:
        with torch.device("meta"):
            return make()
    except Exception:  # of .item() and the like; what is wrong with the arguments is said once more
        return make()


def peak_bytes(device: torch.device) -> int:
    """Bytes, since :func:`reset_peak` or the beginning."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_peak()


def reset_peak(device: torch.device) -> None:
    """Let the peak start at what is held now; on a CPU only Linux can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            (_PROCESS / "clear_refs").write_text("5")


def resident_peak() -> int:
    """Bytes of this process alone.

    On Linux ``ru_maxrss`` begins with what the process that started this one held, so the kernel's own count is read.
    Elsewhere it is all there is: bytes on macOS, KiB on other systems.
    """
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text()):
            return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
