"""How the C library hands memory back: tuned for a process that moves large blocks all the time."""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
MMAP_FROM = 4 << 20
"""Bytes from which a block gets pages of its own. Below it, each chunk of a bulk stream would otherwise be mapped,
faulted in and unmapped again, which costs more than moving its bytes."""
TRIM_FROM = 16 << 20
"""Free bytes at the top of the heap that are kept for the next burst."""


def keep_large_blocks() -> None:
    """Tune the allocator of this process where it is glibc's; elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_FROM)
        mallopt(_M_TRIM_THRESHOLD, TRIM_FROM)
