"""What a session has shown, kept in a file that terminals can play again: asciicast version 2.

Input is never kept: passwords are typed. Files are for the owner of the agent only, and bounded in size and number.

Source: https://docs.asciinema.org/manual/asciicast/v2/.
"""

import codecs
import contextlib
import json
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ztm.errors import StorageError
from ztm.wire.console import Window
from ztm.wire.paths import encode

SUFFIX = ".cast"
MAX_FILES = 64
"""Recordings kept; the oldest goes first."""
MAX_BYTES = 8 << 20
"""Of one recording; what comes after is not kept, and the file says so."""
FLUSH = 16 << 10
"""Bytes that wait to be written together."""


class Recording:
    """One session's file; times are seconds of `now` since it was opened."""

    def __init__(self, path: Path, header: dict[str, object], now: Callable[[], float]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._now = now
        self._begin = now()
        self._waiting: list[bytes] = []
        self._size = self._held = 0
        self._is_full = False
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"the session's recording cannot be made: {error.strerror}") from error
        self._put(json.dumps(header))

    def show(self, data: bytes) -> None:
        """Keep what was shown.

        Raises:
            StorageError: the disk did not take it.
        """
        text = self._decoder.decode(data)
        if text and not self._is_full:
            self._event("o", text)

    def resize(self, window: Window) -> None:
        """Keep that the terminal has another size."""
        if not self._is_full:
            self._event("r", f"{window.columns}x{window.rows}")

    def close(self) -> None:
        """Write what waits, and close the file. Idempotent."""
        with contextlib.suppress(StorageError):  # the session is over: there is nobody left to tell
            self._flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _event(self, kind: str, text: str) -> None:
        self._put(json.dumps([round(self._now() - self._begin, 6), kind, text]))
        if self._size > MAX_BYTES:
            self._is_full = True
            self._put(json.dumps([round(self._now() - self._begin, 6), "m", f"more than {MAX_BYTES} bytes: cut here"]))

    def _put(self, line: str) -> None:
        data = line.encode() + b"\n"
        self._waiting.append(data)
        self._size += len(data)
        self._held += len(data)
        if self._held > FLUSH or self._is_full:
            self._flush()

    def _flush(self) -> None:
        data, self._waiting, self._held = b"".join(self._waiting), [], 0
        if self._file is None:
            return
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            raise StorageError(f"the session cannot be recorded: {error.strerror}") from error


def open_recording(
    directory: Path, user: str, window: Window, term: str, wall: float, now: Callable[[], float]
) -> Recording:
    """A new recording in `directory`, in whose name are the time and the mesh user; the oldest may go for it.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        kept = sorted(directory.glob(f"*{SUFFIX}"))
        for old in kept[: max(0, len(kept) - MAX_FILES + 1)]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"the directory of recordings cannot be used: {error.strerror}") from error
    stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = directory / f"{stamp}-{encode(user)[:128]}-{secrets.token_hex(4)}{SUFFIX}"
    header: dict[str, object] = {
        "version": 2,
        "width": window.columns,
        "height": window.rows,
        "timestamp": int(wall),
        "env": {"TERM": term},
    }
    return Recording(path, header, now)
