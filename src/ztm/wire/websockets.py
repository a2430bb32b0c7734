"""The messages of a WebSocket between an agent and the process of an app: ASGI's, as frames on one stream.

A frame is four bytes of length (big endian) and the message as MessagePack. Here is only the form.
Source: https://asgi.readthedocs.io, WebSocket message format 2.4.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ztm.errors import UsageError

MAX_MESSAGE = 17 << 20
"""Bytes of one frame: a little more than the largest message of a WebSocket."""
_HEAD = struct.Struct(">I")


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a frame.

    Raises:
        UsageError: it is too large.
    """
    plain = {name: value for name, value in message.items() if value is not None}
    if "headers" in plain:
        plain["headers"] = [(bytes(name), bytes(value)) for name, value in plain["headers"]]
    data = msgspec.msgpack.encode(plain)
    if len(data) > MAX_MESSAGE:
        raise UsageError(f"a WebSocket's message of {len(data)} bytes (at most {MAX_MESSAGE})")
    return _HEAD.pack(len(data)) + data


class Messages:
    """Cuts a byte flow into messages; holds at most one unfinished one."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Bytes of the unfinished one."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that `data` completes, in order.

        Raises:
            UsageError: one is too large, or malformed.
        """
        self._held += data
        while len(self._held) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._held)
            if length > MAX_MESSAGE:
                raise UsageError(f"a WebSocket's message of {length} bytes (at most {MAX_MESSAGE})")
            end = _HEAD.size + length
            if len(self._held) < end:
                return
            try:
                message = msgspec.msgpack.decode(bytes(self._held[_HEAD.size : end]), type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise UsageError(f"not a message of a WebSocket: {error}") from error
            if not isinstance(message.get("type"), str):
                raise UsageError("a message of a WebSocket without a type")
            del self._held[:end]
            yield message
