"""HTTP/1.1 over any stream: requests and CONNECT from the calling side, and `serve_http1` for the other.

Nothing here dials, keeps pools or sets deadlines; the caller owns the stream and the time. No Host header
is sent unless the caller gives one, as v1 does (spec mesh-protocol 4.5).
"""

from typing import NamedTuple

import h11

from ztm.errors import BrokenStreamError, TooLargeError
from ztm.net.base import Headers, Stream
from ztm.net.http1_head import HEAD_END, header_lines
from ztm.net.http1_server import serve_http1
from ztm.net.scope import check_target

__all__ = ["Answer", "connect_answer", "connect_head", "request_http1", "serve_http1"]

MAX_BODY = 8 << 20
"""Bytes of an answer that a caller takes unless it says otherwise."""
_MAX_HEAD = 64 << 10
"""Bytes of an answer's head; as much as our own server takes of a request's."""
_WITH_BODY = ("POST", "PUT", "PATCH")


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes


async def request_http1(
    stream: Stream, method: str, target: str, *, headers: Headers = (), body: bytes = b"", limit: int = MAX_BODY
) -> Answer:
    """Send one request and read its whole answer; the stream may then serve another, if the answer allows it.

    Raises:
        BrokenStreamError: the stream ended before the answer did, or the answer is not HTTP/1.1.
        TooLargeError: the answer's body exceeds `limit` bytes; the stream is cut.
        UsageError: `target` is not a path.
    """
    length = f"content-length: {len(body)}\r\n" if body or method in _WITH_BODY else ""
    head = f"{method} {check_target(target)} HTTP/1.1\r\nconnection: keep-alive\r\n{length}".encode()
    await stream.write(b"%b%b\r\n%b" % (head, header_lines(headers), body))
    connection = _awaiting_answer(method)
    try:
        return await _read_answer(stream, connection, limit)
    except h11.RemoteProtocolError as error:
        raise BrokenStreamError(f"{method} {target}: no whole HTTP/1.1 answer ({error})") from error


def _awaiting_answer(method: str) -> h11.Connection:
    """A parser that has seen a request go out; what it would have sent, with a Host, is dropped."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "")]))
    connection.send(h11.EndOfMessage())
    return connection


async def _read_answer(stream: Stream, connection: h11.Connection, limit: int) -> Answer:
    status, headers, body = 0, [], bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.read())
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > limit:
                stream.abort("the answer is too large")
                raise TooLargeError(f"the answer is larger than {limit} bytes")
        elif isinstance(event, h11.EndOfMessage):
            rest = connection.trailing_data[0]
            if rest:
                stream.unread(rest)
            return Answer(status, headers, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise BrokenStreamError("the stream ended before an answer came")


def connect_head(target: str, headers: Headers = ()) -> bytes:
    """The head of a CONNECT to `target`, a path; raw bytes may follow once the answer allows them.

    Raises:
        UsageError: `target` is not a path.
    """
    return b"CONNECT %b HTTP/1.1\r\nconnection: keep-alive\r\n%b\r\n" % (
        check_target(target).encode(),
        header_lines(headers),
    )


async def connect_answer(stream: Stream) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers of the answer to a CONNECT; whatever follows the head stays on the stream.

    Raises:
        BrokenStreamError: the stream ended first, or what came is not HTTP/1.1.
    """
    data = await stream.read()
    end = data.find(HEAD_END)
    while end < 0:
        more = await stream.read()
        if not more or len(data) > _MAX_HEAD:
            raise BrokenStreamError("the stream ended before an answer to CONNECT came")
        start = max(0, len(data) - 3)
        data += more
        end = data.find(HEAD_END, start)
    if len(data) > end + 4:
        stream.unread(data[end + 4 :])
    return _parse_answer(data[:end])


def _parse_answer(head: bytes) -> tuple[int, list[tuple[str, str]]]:
    line, *fields = head.decode("latin-1").split("\r\n")
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1.") or not (rest[:3].isascii() and rest[:3].isdigit() and len(rest[:3]) == 3):
        raise BrokenStreamError(f"not an HTTP/1.1 answer to CONNECT: {line[:80]!r}")
    headers = []
    for field in fields:
        name, colon, value = field.partition(":")
        if colon:
            headers.append((name.lower(), value.strip()))
    return int(rest[:3]), headers
