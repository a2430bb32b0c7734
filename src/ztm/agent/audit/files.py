"""The files of one audit log: lines are added at the end, and the oldest file goes when there are too many.

What is added is one `write`, kept by the kernel even if this process is killed right after; nothing is buffered here.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

NAME = "audit.jsonl"
"""The file that is written; older ones are ``audit.1.jsonl``, the next older ``audit.2.jsonl``, and so on."""
BLOCK = 64 << 10
"""Bytes read at a time, backwards."""
LONGEST = 64 << 10
"""Bytes of a line that is read; ours are far shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLimits:
    """What the audit log of one mesh may take of the disk."""

    file_bytes: int = 10 << 20
    """Bytes of one file; then the next is begun. Some 30,000 sessions."""
    files: int = 5
    """Files at most, the one that is written included; at least 1."""


class AuditFiles:
    """The files in one directory; `append`, and `close` in the end."""

    def __init__(self, directory: Path, limits: AuditLimits) -> None:
        self._directory = directory
        self._limits = limits
        self._descriptor = -1
        self._size = 0

    def append(self, lines: bytes) -> None:
        """Add one line or several, each with its line end; all of them, or nothing. They lie in one file.

        Raises:
            OSError: the system did not take them.
        """
        self._ready(len(lines))
        written = os.write(self._descriptor, lines)
        if written < len(lines):  # the disk is full in the middle of them
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            self.close()
            raise OSError(errno.ENOSPC, "the disk is full")
        self._size += written

    def _ready(self, size: int) -> None:
        """Have a file open that is there under its name and has room for `size` bytes."""
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink == 0:
            self.close()
        if self._descriptor < 0:
            self._open()
        if self._size and self._size + size > self._limits.file_bytes:
            self.close()
            self._rotate()
            self._open()

    def _open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._directory / NAME, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):  # a pipe would keep its writer waiting
                raise OSError(errno.EINVAL, f"{NAME} is no regular file")
            size = status.st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # the machine went down within a line
                size += os.write(descriptor, b"\n")
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._size = descriptor, size

    def _rotate(self) -> None:
        paths = self._paths()
        paths[-1].unlink(missing_ok=True)
        for newer, older in reversed(list(pairwise(paths))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def _paths(self) -> list[Path]:
        """All files there may be, the newest first."""
        older = (f"audit.{number}.jsonl" for number in range(1, max(self._limits.files, 1)))
        return [self._directory / name for name in (NAME, *older)]

    def close(self) -> None:
        """Let the file go. Idempotent; `append` opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # ------------------------------------------------------------------ reading

    def backwards(self) -> Iterator[bytes]:
        """All lines, the newest first, while others may be added; may run in another thread.

        Raises:
            OSError: a file cannot be read.
        """
        with contextlib.ExitStack() as opened:
            for file in self._opened(opened):
                yield from _backwards(file)

    def _opened(self, opened: contextlib.ExitStack) -> list[BinaryIO]:
        """The files as they are now, each once, even if they are renamed meanwhile."""
        found: dict[tuple[int, int], BinaryIO] = {}
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):
                file = opened.enter_context(path.open("rb", buffering=0))
                status = os.fstat(file.fileno())
                found.setdefault((status.st_dev, status.st_ino), file)
        return list(found.values())


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """The lines of one file, the last first; without the one that is being written, and without too long ones."""
    end = file.seek(0, os.SEEK_END)
    rest, is_torn = b"", True
    while end > 0:
        begin = max(end - BLOCK, 0)
        file.seek(begin)
        block = file.read(end - begin)
        if len(block) < end - begin:
            return
        end = begin
        rest, *lines = (block + rest).split(b"\n")
        if is_torn and lines:
            lines.pop()  # nothing, or the beginning of a line
            is_torn = False
        yield from (line for line in reversed(lines) if 0 < len(line) <= LONGEST)
        if len(rest) > LONGEST:
            rest = rest[:1] * (LONGEST + 1)  # too long already: its beginning does not matter
    if 0 < len(rest) <= LONGEST and not is_torn:
        yield rest
