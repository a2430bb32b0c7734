"""The request log as a file of JSON lines, readable by the owner only, of which a few old ones are kept.

Source: spec apps-network 7 rule 9.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ztm.errors import StorageError
from ztm.store.files import create_private, reason

MAX_BYTES = 10 << 20
"""Of one file; then it is renamed and a new one begun."""
KEPT = 4
"""Old files: ``NAME.1`` is the newest."""


class LogFile:
    """See `book.Sink`."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    async def write(self, events: Sequence[tuple[float, dict[str, Any]]]) -> None:
        """See `book.Sink`. The disk is waited for in a thread."""
        lines = "".join(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for _, event in events)
        await asyncio.to_thread(self._append, lines.encode("utf-8", "backslashreplace"))

    def _append(self, data: bytes) -> None:
        create_private(self._path)
        try:
            if self._path.stat().st_size + len(data) > self._max_bytes and self._path.stat().st_size:
                self._rotate()
                create_private(self._path)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "ab") as file:
                file.write(data)
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {reason(error)}") from error

    def _rotate(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            old = self._numbered(number)
            if old.exists():
                old.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
