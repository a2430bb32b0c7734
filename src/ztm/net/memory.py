"""How a long-running process handles its memory: tuned for one that moves large blocks and many short-lived streams."""

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
MMAP_FROM = 4 << 20
"""Bytes from which a block gets pages of its own. Below it, each chunk of a bulk stream would otherwise be mapped,
faulted in and unmapped again, which costs more than moving its bytes."""
TRIM_FROM = 16 << 20
"""Free bytes at the top of the heap that are kept for the next burst."""
COLLECT_AFTER = 20_000
"""New containers after which cycles are looked for; a new connection makes some hundred, most without cycles."""


def tune_memory() -> None:
    """Tune this process once everything is imported: the allocator where it is glibc's, and the cycle collector."""
    gc.collect()
    gc.freeze()  # modules and classes live as long as the process: no need to walk them again and again
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_FROM)
        mallopt(_M_TRIM_THRESHOLD, TRIM_FROM)
