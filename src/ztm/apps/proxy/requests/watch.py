"""Requests of HTTP/1.1 seen in passing: a client's bytes go in, and for each request what is to be logged comes out.

It changes nothing, answers nothing and never fails: what is not HTTP/1.1, or goes beyond its bounds, it stops looking
at. It holds the head of one request at most.

Source: RFC 9112 sections 3, 5, 6 and 7.1.
"""

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

MAX_HEAD = 64 << 10
"""Bytes of one head; beyond it nothing is looked at any more."""
_MAX_LINE = 1024
"""Bytes of a chunk's size line, or of a trailer field."""
HIDDEN = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "x-auth-token"))
"""Fields whose values are secrets."""
CONCEALED = "(hidden)"

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\xff]+) HTTP/1\.[01]")
_BEGIN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}( .*)?", re.DOTALL)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;.*)?")


class Seen(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name, those that are secret concealed."""
    size: int
    """Bytes of its body."""


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    BLIND = auto()


class RequestWatch:
    """Watches one client; `seen` is told of each request when its body has passed."""

    def __init__(self, seen: Callable[[Seen], None]) -> None:
        self._seen = seen
        self._state = _State.HEAD
        self._buffer = b""
        self._left = 0
        self._request: Seen | None = None

    def feed(self, data: bytes) -> None:
        """The client's next bytes."""
        if self._is_blind():
            return
        self._buffer += data
        while not self._is_blind() and self._step():
            pass
        if self._is_blind():
            self.end()
            self._buffer = b""

    def _is_blind(self) -> bool:
        return self._state is _State.BLIND

    def end(self) -> None:
        """Nothing more comes: a request whose body was on its way is told as it is."""
        if self._request is not None:
            request, self._request = self._request, None
            self._seen(request)

    def _step(self) -> bool:
        """Take what is complete off the buffer; False when more bytes are needed."""
        match self._state:
            case _State.HEAD:
                return self._head()
            case _State.BODY | _State.CHUNK:
                return self._pass()
            case _:
                return self._line()

    def _head(self) -> bool:
        if self._buffer in (b"", b"\r"):
            return False
        if self._buffer.startswith((b"\r\n", b"\n")):  # RFC 9112 section 2.2
            self._buffer = self._buffer.lstrip(b"\r\n")
            return True
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD or not _BEGIN.fullmatch(self._buffer[:64].split(b"\r\n")[0]):
                self._state = _State.BLIND
            return self._is_blind()
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        self._take(head)
        return True

    def _take(self, head: bytes) -> None:
        line, *fields = head.split(b"\r\n")
        found = _LINE.fullmatch(line)
        if not found:
            self._state = _State.BLIND
            return
        headers = _headers(fields)
        shown = {name: CONCEALED if name in HIDDEN else value for name, value in headers.items()}
        self._request = Seen(found[1].decode(), found[2].decode("latin-1"), shown, 0)
        if found[1] == b"CONNECT":
            self._state = _State.BLIND
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._state = _State.SIZE
        else:
            self._expect(headers.get("content-length", "0"))

    def _expect(self, length: str) -> None:
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            self._state = _State.BLIND
            return
        self._left = int(length)
        self._state = _State.BODY
        if not self._left:
            self._finish()

    def _pass(self) -> bool:
        passed = min(len(self._buffer), self._left)
        self._buffer = self._buffer[passed:]
        self._left -= passed
        self._count(passed)
        if self._left:
            return False
        if self._state is _State.BODY:
            self._finish()
        else:
            self._state = _State.CHUNK_END
        return True

    def _line(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE:
                self._state = _State.BLIND
            return self._is_blind()
        line, self._buffer = self._buffer[:end].removesuffix(b"\r"), self._buffer[end + 1 :]
        match self._state:
            case _State.SIZE:
                self._chunk(line)
            case _State.CHUNK_END:
                self._state = _State.BLIND if line else _State.SIZE
            case _ if not line:
                self._finish()
        return True

    def _chunk(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if not found:
            self._state = _State.BLIND
            return
        self._left = int(found[1], 16)
        self._state = _State.CHUNK if self._left else _State.TRAILER

    def _count(self, size: int) -> None:
        if self._request is not None:
            self._request = self._request._replace(size=self._request.size + size)

    def _finish(self) -> None:
        self._state = _State.HEAD
        self.end()


def _headers(fields: list[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.decode("latin-1").partition(":")
        if colon:
            key, text = name.strip().lower(), value.strip()
            found[key] = f"{found[key]}, {text}" if key in found else text
    return found
