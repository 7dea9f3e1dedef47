"""Memory of CPU training: what glibc's malloc does with blocks that are freed."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Let freed memory stay with the process instead of going back to the kernel; True if the C library can.

    By default each large tensor is mapped when it is made and unmapped when it goes, and the kernel clears every page
    of the next one: up to a tenth of a training step on a CPU. What was taken is never given back, and where sizes
    change a small block behind a freed one can keep it from the next larger one, so that the peak may be higher.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, -1))
    except (OSError, AttributeError):  # another C library
        return False
