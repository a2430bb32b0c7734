"""Reading the head of an HTTP/1.1 request or answer off a stream, and the texts of our own heads.

It finds where a head ends, within a bound and a deadline, and puts back what came behind it. It does not
judge what the head says; `h11` does that for requests.
"""

import asyncio
import re
from http import HTTPStatus

import h11

from ztm.net.base import Headers, Stream
from ztm.net.reply import error_body
from ztm.net.scope import HttpLimits

REASONS = {status.value: status.phrase for status in HTTPStatus}
HEAD_END = b"\r\n\r\n"
_PLAIN_CONNECT = re.compile(
    rb"CONNECT (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:(?!(?i:host|content-length|transfer-encoding):)[a-zA-Z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)*)\r\n"
)


class BadHeadError(Exception):
    """What came is not a request head that can be served; `status` is the answer to it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def read_request(stream: Stream, limits: HttpLimits) -> tuple[h11.Connection, h11.Request] | None:
    """The next request, parsed; what came behind its head is in the parser, or for CONNECT back on the stream.

    None when no request can come any more; see `read_head`.

    Raises:
        BadHeadError: it is malformed or too large.
        BrokenStreamError: the stream was cut.
    """
    read = await read_head(stream, limits)
    return None if read is None else parsed(stream, *read, limits)


def parsed(stream: Stream, head: bytes, rest: bytes, limits: HttpLimits) -> tuple[h11.Connection, h11.Request]:
    """The request of `head`; `rest`, which came behind it, is in the parser, or for CONNECT back on the stream.

    Raises:
        BadHeadError: it is malformed.
    """
    connection, request = parse(head, limits)
    if not rest:
        pass
    elif request.method == b"CONNECT":
        stream.unread(rest)
    else:
        connection.receive_data(rest)
    return connection, request


async def read_head(stream: Stream, limits: HttpLimits) -> tuple[bytes, bytes] | None:
    """The next head, not parsed yet, and what came behind it.

    None when no request can come any more: the stream ended, was idle for too long, or its head came
    too slowly (then it is cut).

    Raises:
        BadHeadError: it cannot be a head, or is too large.
        BrokenStreamError: the stream was cut.
    """
    try:
        buffer = bytearray(await read_within(stream, limits.idle_seconds))
    except TimeoutError:
        return None
    end = _head_end(buffer, limits.header_bytes)
    if not end:
        try:
            async with asyncio.timeout(limits.head_seconds):
                end = await _rest_of_head(stream, buffer, limits)
        except TimeoutError:
            stream.abort(f"no whole request head within {limits.head_seconds:g} seconds")
            return None
    return (bytes(buffer[:end]), bytes(buffer[end:])) if end else None


async def _rest_of_head(stream: Stream, buffer: bytearray, limits: HttpLimits) -> int:
    """Read on until the head is whole; where it ends, or 0 if the stream ended first."""
    end = 0
    while not end and (more := await stream.read()):
        buffer += more
        end = _head_end(buffer, limits.header_bytes, len(more))
    return end


async def read_within(stream: Stream, seconds: float) -> bytes:
    """The next bytes, waited for at most `seconds` (0: for ever).

    Raises:
        TimeoutError: none came.
        BrokenStreamError: the stream was cut.
    """
    if not seconds:
        return await stream.read()
    async with asyncio.timeout(seconds):
        return await stream.read()


def _head_end(buffer: bytearray, limit: int, fresh: int = 1 << 62) -> int:
    """Where the head ends in `buffer`, 0 if not yet; only the last `fresh` bytes are new.

    Empty lines before the request line are taken out (RFC 9112 section 2.2).

    Raises:
        BadHeadError: this cannot become a head any more.
    """
    if buffer and buffer[0] in b"\r\n":
        del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
    if not buffer:
        return 0
    if not 0x41 <= buffer[0] <= 0x5A:
        raise BadHeadError(400, "a request begins with its method in capitals; this is not HTTP/1.1")
    line = buffer.find(b"\n")
    if line >= 0 and buffer[line - 1] != 0x0D:
        raise BadHeadError(400, "lines must end with CR LF")
    at = buffer.find(HEAD_END, max(0, len(buffer) - fresh - 3))
    if (at if at >= 0 else len(buffer)) > limit:
        raise BadHeadError(431, f"the request head is larger than {limit} bytes")
    return at + 4 if at >= 0 else 0


def plain_connect(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]] | None:
    """Target and fields of a CONNECT as plain as mesh peers send it, read without a parser, which costs far more.

    None is no judgement: what says anything of a host or a body, or has another form, is for `parse`.
    """
    found = _PLAIN_CONNECT.fullmatch(head)
    if found is None:
        return None
    fields = [line.split(b": ", 1) for line in found[2].split(b"\r\n")[:-1]]
    return found[1], [(name.lower(), value) for name, value in fields]


def parse(head: bytes, limits: HttpLimits) -> tuple[h11.Connection, h11.Request]:
    """Parse a whole head; one without Host, as v1 sends it, gets an empty one for `h11` (spec mesh-protocol 4.5).

    Raises:
        BadHeadError: it is malformed.
    """
    if head.count(b"\n") != head.count(b"\r\n"):
        raise BadHeadError(400, "lines must end with CR LF")
    if b"\nhost:" not in head.lower():
        line = head.index(b"\n") + 1
        head = b"%bhost:\r\n%b" % (head[:line], head[line:])
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes + 64)
    try:
        connection.receive_data(head)
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadHeadError(error.error_status_hint, str(error)) from error
    if not isinstance(request, h11.Request):
        raise BadHeadError(400, "no request in the head")
    return connection, request


def connect_accepted(headers: Headers) -> bytes:
    """The head that answers a CONNECT with 200; raw bytes follow it (spec agent-api 9)."""
    return b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n%b\r\n" % header_lines(headers)


def refusal(status: int, message: str) -> bytes:
    """A whole answer to a head that could not be parsed; the connection ends after it."""
    body = error_body(status, message)
    lines = header_lines((("content-type", "application/json"), ("content-length", str(len(body)))))
    return b"HTTP/1.1 %d %b\r\n%bconnection: close\r\n\r\n%b" % (status, REASONS[status].encode(), lines, body)


def header_lines(headers: Headers) -> bytes:
    """Header fields as lines.

    Raises:
        ValueError: a field holds a line end, so that it would be more than one.
    """
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError("a header field holds a line end")
    return text.encode("utf-8")
