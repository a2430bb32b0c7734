"""Gives back the pages of programs and libraries that only the start needed.

Code is mapped from files and costs memory once it was run; most of it runs once. What is given back here stays in the
system's page cache, and comes back by a fault of some microseconds where it is needed after all. Nothing that was ever
written is touched.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_MADV_DONTNEED = 4
_SMAPS = Path("/proc/self/smaps")
_STATM = Path("/proc/self/statm")
_PROGRAM = str(Path(sys.executable).resolve())
FREE_FROM = 12 << 20
"""Resident bytes of files from which they are given back. An agent at work needs about half of that."""


def give_back_code() -> int:
    """Let go of resident pages of code, if there are many; the mappings that were let go, 0 where nobody can know."""
    if not sys.platform.startswith("linux"):
        return 0
    with contextlib.suppress(OSError, ValueError):
        if _file_bytes() >= FREE_FROM:
            return _let_go(list(clean(_SMAPS.read_text().splitlines())))
    return 0


def clean(smaps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Begin and end of the mappings of programs and libraries that cannot be written, and of which no page ever was.

    What the linker has written before it made it read-only holds anonymous pages, which would be lost. Other files are
    left alone: they may be unmapped while this looks, and memory be put in their place.

    Raises:
        ValueError: `smaps` is not as proc(5) has it.
    """
    span: tuple[int, int] | None = None
    for line in smaps:
        if line.startswith("Anonymous:"):
            if span is not None and line.split()[1] == "0":
                yield span
        elif not line[0].isupper():  # "7f12-7f34 r-xp 00000000 fe:01 12345 /usr/lib/..."
            addresses, allowed, _offset, _device, _inode, *name = line.split(maxsplit=5)
            begin, _, end = addresses.partition("-")
            is_code = allowed in ("r-xp", "r--p") and is_loaded(name[0].strip() if name else "")
            span = (int(begin, 16), int(end, 16)) if is_code else None


def is_loaded(path: str) -> bool:
    """Whether a mapped file is the program itself or a shared library, which stay mapped until the end."""
    name = path.rpartition("/")[2]
    return path.startswith("/") and (name.endswith(".so") or ".so." in name or path == _PROGRAM)


def _let_go(spans: list[tuple[int, int]]) -> int:
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for begin, end in spans:
        advise(begin, end - begin, _MADV_DONTNEED)
    return len(spans)


def _file_bytes() -> int:
    """Resident bytes of what is mapped from files. Source: proc(5), statm, third field, in pages."""
    import resource

    return int(_STATM.read_text().split()[2]) * resource.getpagesize()
