"""What an app's process prints, line by line into the app's log: bounded in length and rate, whatever it prints.

A process that prints faster than may be read is held back by its pipe; its lines beyond the rate are counted and
dropped.
"""

import asyncio
import logging
from collections import deque

from ztm.agent.apps.process.limits import ProcessLimits
from ztm.core.limits import Bucket

_LEVELS = {"2": logging.CRITICAL, "3": logging.ERROR, "4": logging.WARNING, "6": logging.INFO, "7": logging.DEBUG}
"""By what stands before a line (sd-daemon(3))."""
CHUNK = 64 << 10
PAUSE = 0.05
"""Seconds that a process which prints too much waits for its next chunk to be read."""
KEPT = 5
"""Last lines that are kept, to say why a process ended."""

Log = logging.LoggerAdapter[logging.Logger]


class Output:
    """Reads one process's output."""

    def __init__(self, log: Log, limits: ProcessLimits) -> None:
        self._log = log
        self._limits = limits
        self._bucket = Bucket(limits.lines, limits.lines * 10)
        self._line = bytearray()
        self._is_cut = False
        self._dropped = 0
        self.last: deque[str] = deque(maxlen=KEPT)

    async def read(self, pipe: asyncio.StreamReader) -> None:
        """Read until its end."""
        while data := await pipe.read(CHUNK):
            before = self._dropped
            self._take(data)
            if self._dropped > before:
                await asyncio.sleep(PAUSE)
        if self._line:
            self._flush()
        self._tell_dropped()

    def _take(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._extend(piece)
            self._flush()
        self._extend(rest)

    def _extend(self, piece: bytes) -> None:
        room = self._limits.line_bytes - len(self._line)
        self._line += piece[: max(room, 0)]
        self._is_cut = self._is_cut or len(piece) > room

    def _flush(self) -> None:
        text = bytes(self._line).decode("utf-8", "replace").rstrip("\r")
        level, is_cut, self._is_cut = logging.INFO, self._is_cut, False
        self._line.clear()
        if text[:1] == "<" and text[2:3] == ">" and text[1] in _LEVELS:
            level, text = _LEVELS[text[1]], text[3:]
        if not self._bucket.take(asyncio.get_running_loop().time()):
            self._dropped += 1
            return
        self._tell_dropped()
        self.last.append(text)
        self._log.log(level, "%s", f"{text} ... (cut)" if is_cut else text)

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._log.warning("%d lines of output were dropped: the app prints too much", self._dropped)
            self._dropped = 0
