"""Detect PID reuse: is the process that wrote a file still alive on this machine?"""

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
    """Start time of a running process, to detect a reused PID; None if there is none.

    >>> born(os.getpid()) == born(os.getpid()) is not None
    True
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:  # no /proc: only the PID is known
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "?"
