"""Logs: one line an event on stderr, and the last lines kept for `ztm log`.

It promises never to be given key material; whoever logs names ids, users and addresses only.
"""

import logging
import sys
from collections import deque
from datetime import UTC, datetime

from ztm.wire.records import LogEntry

LINE = "%(asctime)s [%(tag)s] %(message)s"


class LogRing(logging.Handler):
    """Keeps the last `size` records of one logger."""

    def __init__(self, size: int) -> None:
        super().__init__(logging.INFO)
        self._entries: deque[LogEntry] = deque(maxlen=size)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        kind = "error" if record.levelno >= logging.ERROR else "info"
        self._entries.append(LogEntry(_iso(record.created), record.getMessage(), kind))

    def entries(self) -> list[LogEntry]:
        """What was kept, oldest first."""
        return list(self._entries)


class _Line(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(LINE)

    def format(self, record: logging.LogRecord) -> str:
        record.tag = {"WARNING": "WRN", "ERROR": "ERR", "CRITICAL": "ERR"}.get(record.levelname, record.levelname[:3])
        return super().format(record)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send this process's log lines to stderr, each at once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ztm").setLevel(level)


def iso_now(wall: float) -> str:
    """Epoch seconds as ISO 8601 in UTC with milliseconds."""
    return _iso(wall)


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
