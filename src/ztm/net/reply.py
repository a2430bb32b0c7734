"""The answer to one request, from the application's ASGI messages to the wire, whichever HTTP it is.

It promises that an application that fails harms its own stream only: the caller gets a status while the
head is not sent, and a cut stream afterwards. It never sends details of an unexpected failure.
"""

import json
import logging
from abc import ABC, abstractmethod
from typing import Any, Protocol

from ztm.errors import BrokenStreamError, ZtmError
from ztm.net.base import Headers, Stream
from ztm.net.scope import ASGIApp, Message, Receive, Scope, Send, Upgrade, is_websocket, method_of

log = logging.getLogger("ztm.http")

INTERNAL = "internal error"
"""All that a caller learns of an unexpected failure; the traceback is in the log."""

_PER_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"),
)
"""Header fields that belong to a hop, never to an answer (RFC 9110 section 7.6.1, RFC 9113 section 8.2.2)."""

RawHeaders = list[tuple[bytes, bytes]]


class Outcome(Protocol):
    """What an application makes of one request, as `run` sees it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is owed to the caller: a whole answer was sent, or the stream was taken over."""

    async def send(self, message: Message) -> None:
        """The ASGI `send`."""

    async def fail(self, status: int, message: str) -> None:
        """Tell the caller of a failure, in whichever way is still possible."""


class Reply(ABC):
    """One request's answer; the subclasses know how it looks on the wire."""

    def __init__(self, stream: Stream, method: str, upgrade: Upgrade | None = None) -> None:
        self.stream = stream
        self.upgrade = upgrade
        self.status = 0
        self.started = False
        """Whether the head is on the wire."""
        self.finished = False
        """Whether nothing more can follow."""
        self.closes = False
        """Whether the application asked, by ``connection: close``, that nothing follows on this stream (HTTP/1.1)."""
        self._method = method
        self._headers: RawHeaders | None = None

    @property
    def is_upgraded(self) -> bool:
        """Whether the application took the raw stream instead of answering."""
        return self.upgrade is not None and self.upgrade.accepted

    @property
    def is_over(self) -> bool:
        """See `Outcome`."""
        return self.finished or self.is_upgraded

    async def send(self, message: Message) -> None:
        """Take one ASGI message; the head waits for the first body message, to know its length.

        Raises:
            BrokenStreamError: the caller is gone.
            RuntimeError: the messages come in an order that makes no answer.
        """
        kind = message["type"]
        if self.is_upgraded:
            raise RuntimeError(f"{kind} after the stream was taken over")
        if kind == "http.response.start" and self._headers is None:
            self.status = message["status"]
            fields = _fields(message)
            self.closes = (b"connection", b"close") in fields
            self._headers = [field for field in fields if field[0] not in _PER_CONNECTION]
        elif kind == "http.response.body" and self._headers is not None and not self.finished:
            await self._body(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} out of order")

    async def fail(self, status: int, message: str) -> None:
        """Answer with an error in JSON, if the head is not sent; else cut the stream."""
        if self.started or self.is_upgraded:
            self.stream.abort(message)
            return
        self.status = status
        self._headers = [(b"content-type", b"application/json")]
        try:
            await self._body(error_body(status, message), last=True)
        except BrokenStreamError:
            self.stream.abort(message)

    async def _body(self, body: bytes, *, last: bool) -> None:
        first, headers = not self.started, self._headers or []
        has_body = self._method != "HEAD" and self.status not in (204, 304)
        if first and last and self.status not in (204, 304) and not any(n == b"content-length" for n, _ in headers):
            headers.append((b"content-length", b"%d" % len(body)))
        await self._put(headers if first else None, body if has_body else b"", last=last)
        self.finished = last

    @abstractmethod
    async def _put(self, headers: RawHeaders | None, body: bytes, *, last: bool) -> None:
        """Write the head when `headers` are given (and note it in `started`), then `body`, then the end when `last`."""


async def run(app: ASGIApp, scope: Scope, receive: Receive, reply: Outcome) -> None:
    """Run `app` for one request and make sure that the request gets one answer, or a cut stream."""
    try:
        await app(scope, receive, reply.send)
    except ZtmError as error:
        log.info("%s %s: %s", method_of(scope), _path(scope), error)
        await reply.fail(error.status, str(error))
    except Exception:
        log.exception("%s %s failed", method_of(scope), _path(scope))
        await reply.fail(500, INTERNAL)
    else:
        if not reply.is_over:
            log.error("%s %s: the application returned without a whole answer", method_of(scope), _path(scope))
            await reply.fail(500, INTERNAL)


def plain(scope: Scope, send: Send) -> Send:
    """`send` by which whoever knows only plain answers can refuse a WebSocket; as it is for a request."""
    if not is_websocket(scope):
        return send

    async def denying(message: Message) -> None:
        kind: str = message["type"]
        await send({**message, "type": f"websocket.{kind}"} if kind.startswith("http.response.") else message)

    return denying


def error_body(status: int, message: str) -> bytes:
    """The JSON of an error (spec agent-api 2)."""
    return json.dumps({"status": status, "message": message}, separators=(",", ":"), ensure_ascii=False).encode()


def text_headers(headers: RawHeaders) -> Headers:
    """Header fields as the network seam wants them."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _path(scope: Scope) -> str:
    """The path as sent: without blanks or line ends, so that nobody can forge lines of a log."""
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii", "backslashreplace")


def _fields(message: Message) -> list[tuple[bytes, bytes]]:
    fields: Any = message.get("headers", ())
    return [(bytes(name).lower(), bytes(value)) for name, value in fields]
