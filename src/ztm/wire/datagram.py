"""Datagrams inside a stream: one RFC 6455 message each, without a WebSocket handshake.

It knows neither sockets nor addresses, sends no control frames, and treats every opcode as data.
Source: spec apps-network 1.3 (udp); RFC 6455 section 5.2.
"""

from ztm.errors import TooLargeError, UsageError

MAX_PAYLOAD = 65507
"""Bytes of the largest UDP payload over IPv4 (65535 less 20 of IP and 8 of UDP header)."""
MAX_FRAME = 1 << 20
"""Bytes that one frame may announce. More than any datagram has can only be a stream out of step."""
OPENING = b"\x81\x00"
"""The empty frame that an inbound sends first, so that the hub connects at once; receivers drop it."""

_FIN_BINARY = 0x82
_FIN = 0x80
_RSV = 0x70
_MASKED = 0x80
_LENGTH = 0x7F
_MASK_BYTES = 4


def encode(payload: bytes) -> bytes:
    """One datagram as a single unmasked binary frame; nothing for an empty one, which peers drop anyway.

    Raises:
        TooLargeError: `payload` exceeds `MAX_PAYLOAD`.
    """
    size = len(payload)
    if size > MAX_PAYLOAD:
        raise TooLargeError(f"a datagram of {size} bytes; {MAX_PAYLOAD} are allowed")
    if not size:
        return b""
    if size < 126:
        return bytes((_FIN_BINARY, size)) + payload
    return bytes((_FIN_BINARY, 126)) + size.to_bytes(2, "big") + payload


class Decoder:
    """Takes the bytes of a stream as they come, and gives the datagrams that are complete.

    It holds at most `MAX_PAYLOAD` bytes and one frame header: what is longer is skipped while it comes.
    """

    def __init__(self) -> None:
        self._head = b""
        """The begin of a frame header that is not complete."""
        self._message = bytearray()
        self._oversize = False
        self._final = False
        self._left = 0
        """Payload bytes of the current frame that are still to come."""
        self._mask = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The datagrams completed by `data`. Empty ones and those over `MAX_PAYLOAD` are left out.

        Raises:
            UsageError: this is no such stream (RSV bits are set, or a frame is over `MAX_FRAME`).
        """
        done: list[bytes] = []
        data, at = self._head + data, 0
        self._head = b""
        while at < len(data) or not self._left:
            if not self._left:
                header = _parse_header(data, at)
                if header is None:
                    self._head = data[at:]
                    break
                self._final, self._left, self._mask, at = header
            chunk = data[at : at + self._left]
            at += len(chunk)
            self._take(chunk)
            if not self._left and self._final:
                self._finish(done)
        return done

    def _take(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._oversize or len(self._message) + len(chunk) > MAX_PAYLOAD:
            self._oversize = True
            self._message.clear()
        elif self._mask:
            self._message += _unmask(chunk, self._mask)
            turn = len(chunk) % _MASK_BYTES
            self._mask = self._mask[turn:] + self._mask[:turn]
        else:
            self._message += chunk

    def _finish(self, done: list[bytes]) -> None:
        if self._message:
            done.append(bytes(self._message))
        self._message.clear()
        self._oversize = False
        self._final = False


def _parse_header(data: bytes, at: int) -> tuple[bool, int, bytes, int] | None:
    """FIN, payload length, mask (or ``b""``) and where the payload begins; None if it is not all there."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    if first & _RSV:
        raise UsageError("not a datagram stream: reserved bits are set in a frame header")
    at += 2
    size = second & _LENGTH
    if size > 125:
        wide = 2 if size == 126 else 8
        if len(data) < at + wide:
            return None
        size = int.from_bytes(data[at : at + wide], "big")
        at += wide
    if size > MAX_FRAME:
        raise UsageError(f"not a datagram stream: a frame of {size} bytes; {MAX_FRAME} are allowed")
    if not second & _MASKED:
        return bool(first & _FIN), size, b"", at
    if len(data) < at + _MASK_BYTES:
        return None
    return bool(first & _FIN), size, data[at : at + _MASK_BYTES], at + _MASK_BYTES


def _unmask(chunk: bytes, mask: bytes) -> bytes:
    size = len(chunk)
    key = (mask * (size // _MASK_BYTES + 1))[:size]
    return (int.from_bytes(chunk, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
