"""A mesh file's content, open for reading: for as long as somebody holds it, also when its name is gone meanwhile."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

from ztm.errors import StorageError
from ztm.store.files import reason

PIECE = 128 << 10
"""Bytes that are read at once."""


class Content:
    """An open file; it is closed with the last reference to it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self.size = os.fstat(self._descriptor).st_size
            """Bytes that it has."""
        except OSError as error:
            raise StorageError(f"a mesh file cannot be read: {reason(error)}") from error

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self, start: int = 0, size: int | None = None) -> bytes:
        """`size` bytes, or all, from `start` on; fewer at the end.

        Raises:
            StorageError: the disk does not give them.
        """
        try:
            return os.pread(self._descriptor, self.size - start if size is None else size, start)
        except OSError as error:
            raise StorageError(f"a mesh file cannot be read: {reason(error)}") from error

    async def pieces(self, start: int, size: int) -> AsyncIterator[bytes]:
        """`size` bytes from `start` on, piece by piece.

        Raises:
            StorageError: the disk does not give them, or not all of them.
        """
        end = start + size
        while start < end:
            piece = self.read(start, min(PIECE, end - start))
            if not piece:
                raise StorageError("a mesh file cannot be read: it is shorter than it was")
            start += len(piece)
            yield piece
