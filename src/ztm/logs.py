"""Logs: one line an event on stderr, as text or JSON, and the last lines kept for `ztm log`.

It promises never to be given key material; whoever logs names ids, users and addresses only. What looks like
a private key or a token is blotted out all the same, as the last net.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, NamedTuple

from ztm.wire.records import LogEntry

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
_TAGS = {
    logging.DEBUG: "DBG",
    logging.INFO: "INF",
    logging.WARNING: "WRN",
    logging.ERROR: "ERR",
    logging.CRITICAL: "ERR",
}
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""What the journal takes before a line (sd-daemon(3), the levels of syslog(3))."""
LONGEST = 16 << 10
"""Characters of one line; a longer one is cut, so that no peer can fill a disk with one message."""

_SECRETS = (
    # To the end of the text where the end of the key is not there: a cut key is a key.
    re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=bearer )[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"),
    re.compile(r"(?<=/~)[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"),  # a pass to the page of an app
)
_BLOT = "[secret]"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Ids(NamedTuple):
    """What lines are about: the innermost ids, and those around them."""

    given: Mapping[str, object]
    outer: "_Ids | None"


_IDS: ContextVar[_Ids | None] = ContextVar("ids", default=None)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How a process logs."""

    format: str = "text"
    """One of `FORMATS`."""
    level: str = "info"
    """The least important of `LEVELS` that is shown."""


def bind(**ids: object) -> None:
    """Name in every line from here on, in this task and those it starts, what it is about (``mesh="m"``).

    An empty text takes an id away. Values are written out only when a line is.
    """
    _IDS.set(_Ids({**_merged(_IDS.get()), **ids}, None))


class about:  # noqa: N801 (used like a function)
    """`bind` for the body alone, and for the tasks that it starts; cheap, as every stream comes by here."""

    __slots__ = ("_given", "_token")

    def __init__(self, **ids: object) -> None:
        self._given = ids

    def __enter__(self) -> None:
        """Begin."""
        self._token = _IDS.set(_Ids(self._given, _IDS.get()))

    def __exit__(self, *_: object) -> None:
        """End."""
        _IDS.reset(self._token)


def _merged(ids: "_Ids | None") -> dict[str, object]:
    """All ids, the innermost of a name, with those that were taken away."""
    if ids is None:
        return {}
    return {**_merged(ids.outer), **ids.given}


def redact(text: str) -> str:
    """`text` without what looks like a private key, a bearer token, the password of a URL, or a pass in its path."""
    if "-----BEGIN" in text or "earer " in text or "EARER " in text or "://" in text or "/~" in text:
        for secret in _SECRETS:
            text = secret.sub(_BLOT, text)
    return text


def ids_of(record: logging.LogRecord) -> dict[str, str]:
    """What a record is about: the ids bound where it was logged, and those given with it (``extra={"ids": {...}}``)."""
    found = {**_merged(_IDS.get()), **getattr(record, "ids", {})}
    return {name: text for name, text in ((name, str(value)) for name, value in found.items()) if text}


class LogRing(logging.Handler):
    """Keeps the last `size` records of one logger."""

    def __init__(self, size: int) -> None:
        super().__init__(logging.INFO)
        self._entries: deque[LogEntry] = deque(maxlen=size)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        kind = "error" if record.levelno >= logging.ERROR else "info"
        self._entries.append(LogEntry(iso_now(record.created), redact(record.getMessage()), kind))

    def entries(self) -> list[LogEntry]:
        """What was kept, oldest first."""
        return list(self._entries)


class TextFormat(logging.Formatter):
    """`time [LVL] message name=value ...`; for the journal, which has times itself, `<priority>` and the rest."""

    def __init__(self, *, for_journal: bool = False) -> None:
        super().__init__()
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        tag = _TAGS.get(record.levelno, record.levelname[:3])
        ids = "".join(f" {name}={_quoted(value)}" for name, value in ids_of(record).items())
        line = f"[{tag}] {_one_line(_whole(record))}{ids}"
        if self._for_journal:
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}"
        return f"{datetime.fromtimestamp(record.created).astimezone().isoformat(timespec='milliseconds')} {line}"


class JsonFormat(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, the ids, and `error` with a stack."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        line: dict[str, str] = {
            "time": iso_now(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage())[:LONGEST],
        }
        if record.exc_info:
            line["error"] = redact(_stack(record))[-LONGEST:]
        ids = {name: redact(value) for name, value in ids_of(record).items()}
        return json.dumps({**ids, **line})


def _whole(record: logging.LogRecord) -> str:
    message = record.getMessage()
    return f"{message}\n{_stack(record)}" if record.exc_info else message


def _stack(record: logging.LogRecord) -> str:
    return "".join(traceback.format_exception(*record.exc_info)).rstrip() if record.exc_info else ""


def _one_line(text: str) -> str:
    escaped = _CONTROL.sub(lambda found: ascii(found.group())[1:-1], redact(text))
    return escaped if len(escaped) <= LONGEST else f"{escaped[:LONGEST]} ... (cut)"


def _quoted(value: str) -> str:
    clean = redact(value)
    return clean if re.fullmatch(r"[\w./:@+\[\]-]+", clean) else json.dumps(clean)


def log_to_stderr(options: LogOptions | None = None) -> None:
    """Send this process's log lines to stderr, each at once."""
    options = options or LogOptions()
    handler = logging.StreamHandler(sys.stderr)
    is_json = options.format == "json"
    handler.setFormatter(JsonFormat() if is_json else TextFormat(for_journal=_is_journal(sys.stderr)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ztm").setLevel(options.level.upper())


def _is_journal(stream: IO[str]) -> bool:
    """Whether `stream` goes to the journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def iso_now(wall: float) -> str:
    """Epoch seconds as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
