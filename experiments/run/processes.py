"""Whether a process is still the one that it was, on the machine where its number means something."""

import contextlib
import os
import platform
from pathlib import Path


def machine() -> str:
    """This machine and this container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def born(pid: int) -> str | None:
    """When a living process began, so that a number used again is told apart; None if there is none.

    >>> born(os.getpid()) == born(os.getpid()) is not None
    True
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:  # no /proc: the number has to do
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "?"
