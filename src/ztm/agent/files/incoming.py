"""A content that comes in piece by piece, onto the disk and through the hash, in bounded memory.

It promises that nothing of an incomplete content stays. The disk is written in threads, so that a slow one delays
nobody else. It does not know where pieces come from, nor what becomes of the whole.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ztm.agent.files.content import Content
from ztm.core.files import FileHash
from ztm.errors import StorageError, TooLargeError
from ztm.store.files import reason

TEMPORARY = ".incoming"
"""How names of contents end that are not whole yet."""
PIECE = 256 << 10
"""Bytes gathered before the disk is written: one thread's turn is worth that."""


class Incoming:
    """One content on its way to the disk; leaving its ``with`` removes what was not given a name."""

    def __init__(self, temporary: Path, path: str, limit: int, over: Callable[["Incoming"], None]) -> None:
        self._temporary = temporary
        self._path = path
        self._limit = limit
        self._over = over
        self._hash = FileHash(path)
        self._buffer = bytearray()
        self._lock = threading.Lock()
        """Held while a thread works on the file."""
        self._is_over = False
        self.size = 0
        """Bytes that came so far."""
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file: BinaryIO = os.fdopen(os.open(temporary, flags, 0o600), "w+b", buffering=0)
        except OSError as error:
            raise StorageError(f"cannot store {path}: {reason(error)}") from error

    async def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            TooLargeError: the content is larger than allowed.
            StorageError: the disk does not take it.
        """
        self.size += len(data)
        if self.size > self._limit:
            raise TooLargeError(f"{self._path} is larger than {self._limit} bytes, which is all that is taken here")
        self._buffer += data
        if len(self._buffer) >= PIECE:
            await self._in_thread(self._flush)

    async def finish(self) -> str:
        """Bring all of it onto the disk; the hash that names it.

        Raises:
            StorageError: the disk does not take it.
        """
        await self._in_thread(self._settle)
        return self._hash.hexdigest()

    def rename(self, target: Path) -> None:
        """Give the whole content its name, after `finish`.

        Raises:
            OSError: the system did not allow it.
        """
        self._temporary.replace(target)

    def reader(self) -> Content:
        """The whole content for reading, after `finish`.

        Raises:
            StorageError: it cannot be opened.
        """
        return Content(self._temporary)

    # ------------------------------------------------------------------ in threads

    async def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._locked, work)
        except OSError as error:
            raise StorageError(f"cannot store {self._path}: {reason(error)}") from error

    def _locked(self, work: Callable[[], None]) -> None:
        try:
            with self._lock:
                if not self._is_over:
                    work()
        finally:
            self._clean()  # it may have been given up meanwhile

    def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _settle(self) -> None:
        self._flush()
        os.fsync(self._file.fileno())

    # ------------------------------------------------------------------ ending

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._clean()
        self._over(self)

    def _clean(self) -> None:
        """Let go of the file, unless a thread is at it: then that thread does."""
        if not self._is_over or not self._lock.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(OSError):
                self._file.close()
                self._temporary.unlink(missing_ok=True)
        finally:
            self._lock.release()
