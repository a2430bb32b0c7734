"""What a long-running process asks of its system: memory for bulk and short-lived streams, and enough open files."""

import asyncio
import contextlib
import ctypes
import gc
import sys

from ztm.net.pages import give_back_code

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
MMAP_FROM = 4 << 20
"""Bytes from which a block gets pages of its own. Below it, each chunk of a bulk stream would otherwise be mapped,
faulted in and unmapped again, which costs more than moving its bytes."""
TRIM_FROM = 16 << 20
"""Free bytes at the top of the heap that are kept for the next burst."""
COLLECT_AFTER = 100_000
"""New containers after which cycles are looked for; a new connection makes some hundred, most without cycles."""
FIRST_LOOK = 2.0
"""Seconds after the start; what only that needed is over by then."""
LOOK_EVERY = 5.0
"""Seconds between two looks at whether memory can be given back."""
GARBAGE_FROM = 5_000
"""New containers from which such a look searches them for cycles: each may hold a stream's buffers."""
FREE_FROM = 8 << 20
"""Free bytes of the heap from which they are given back; what a burst left is rarely at its top (see `TRIM_FROM`)."""


def tune_process() -> None:
    """Tune this process once everything is imported: open files, cycle collector, and glibc's allocator."""
    _raise_file_limit()
    gc.collect()
    gc.freeze()  # modules and classes live as long as the process: no need to walk them again and again
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_FROM)
        mallopt(_M_TRIM_THRESHOLD, TRIM_FROM)


def _raise_file_limit() -> None:
    """Allow as many open files as this user may have: each agent and each client is at least one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def give_back_memory() -> None:
    """Now and then return to the system what a burst has left behind, until cancelled."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    pause = FIRST_LOOK
    while True:
        await asyncio.sleep(pause)
        pause = LOOK_EVERY
        give_back_code()
        if gc.get_count()[0] > GARBAGE_FROM:
            gc.collect(1)
        if trim is not None and _free_bytes() > FREE_FROM:
            trim(0)


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later (mallinfo(3))."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks"),
            "keepcost",
        )
    )


def _free_bytes() -> int:
    """Bytes of the heap that are in no use; 0 where nobody knows."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = _MallocInfo
    return int(mallinfo().fordblks)
