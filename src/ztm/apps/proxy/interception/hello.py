"""What a client of TLS asks for, read from its first bytes without answering them.

It judges nothing: bytes that are no whole and well-formed ClientHello are told apart, and that is all.

Source: RFC 8446 sections 4.1.2 and 5.1; RFC 6066 section 3 (server name); RFC 7301 section 3.1 (ALPN).
"""

from typing import NamedTuple

MAX_HELLO = 64 << 10
"""Bytes after which a client is not taken to speak TLS; with post-quantum shares a hello has some two thousand."""
_HANDSHAKE, _CLIENT_HELLO, _MAJOR = 22, 1, 3
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4
_SERVER_NAME, _ALPN = 0, 16
_HOST_NAME = 0


class Hello(NamedTuple):
    """A ClientHello."""

    server_name: str
    """Empty without one."""
    alpn: tuple[str, ...]
    """Protocols, the preferred one first."""


class NoHelloError(ValueError):
    """The bytes do not begin with a ClientHello."""


def read_hello(data: bytes) -> Hello | None:
    """The ClientHello that `data` begins with; None while it is not all there.

    Raises:
        NoHelloError: it is none.
    """
    message = _unrecorded(data)
    if message[:1] and message[0] != _CLIENT_HELLO:
        raise NoHelloError("not a ClientHello")
    if len(message) < _MESSAGE_HEAD:
        return None
    size = int.from_bytes(message[1:_MESSAGE_HEAD])
    if size > MAX_HELLO:
        raise NoHelloError("a ClientHello that large is none")
    body = message[_MESSAGE_HEAD : _MESSAGE_HEAD + size]
    return _parse(body) if len(body) == size else None


def _unrecorded(data: bytes) -> bytes:
    """The handshake bytes in the records so far."""
    message, at = b"", 0
    while at < len(data):
        if data[at] != _HANDSHAKE or (at + 1 < len(data) and data[at + 1] != _MAJOR):
            raise NoHelloError("not TLS")
        size = int.from_bytes(data[at + 3 : at + _RECORD_HEAD])
        message += data[at + _RECORD_HEAD : at + _RECORD_HEAD + size]
        at += _RECORD_HEAD + size
        if not size and at <= len(data):
            raise NoHelloError("an empty record of a handshake")  # RFC 8446 section 5.1
        if message and len(message) >= _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD]):
            break  # what follows may be early data
    return message


class _Bytes:
    """Takes fields with lengths from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise NoHelloError("a field of the ClientHello is cut short")
        self._at += size
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def field(self, size: int) -> bytes:
        return self.take(self.number(size))


def _parse(body: bytes) -> Hello:
    rest = _Bytes(body)
    rest.take(2 + 32)  # version and random
    rest.field(1)  # session id
    rest.field(2)  # cipher suites
    rest.field(1)  # compressions
    name = ""
    alpn: tuple[str, ...] = ()
    extensions = _Bytes(rest.field(2)) if rest else _Bytes(b"")
    while extensions:
        kind, value = extensions.number(2), extensions.field(2)
        if kind == _SERVER_NAME:
            name = _server_name(value)
        elif kind == _ALPN:
            alpn = _protocols(value)
    return Hello(name, alpn)


def _server_name(value: bytes) -> str:
    names = _Bytes(_Bytes(value).field(2))
    while names:
        kind, name = names.number(1), names.field(2)
        if kind == _HOST_NAME:
            return name.decode("ascii", "replace")
    return ""


def _protocols(value: bytes) -> tuple[str, ...]:
    names = _Bytes(_Bytes(value).field(2))
    found = []
    while names:
        found.append(names.field(1).decode("latin-1"))
    return tuple(found)
