"""What the command line and an agent say to each other while a command of an app runs: frames on one stream.

Without the header, the stream is v1's: bare bytes both ways, without exit status (spec agent-api 9). Here is only the
form; nothing is read or written.

A frame is one byte of kind, four bytes of length (big endian) and the payload.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from ztm.errors import UsageError

HEADER = "ztm-console"
"""Request header by which a caller asks for frames, and header of the 200 by which it is told that it gets them."""
VERSION = "1"
MAX_PAYLOAD = 64 << 10
"""Bytes of one payload."""
_HEAD = struct.Struct(">BI")
_WINDOW = struct.Struct(">HH")
_STATUS = struct.Struct(">i")


class Kind(IntEnum):
    """What a frame is about. Those below 16 go to the agent, the others come from it."""

    STDIN = 1
    """The next bytes typed or piped in, one such frame for each `WANT`; an empty payload is their end."""
    WINDOW = 2
    """Columns and rows of the terminal, two bytes each."""
    INTERRUPT = 3
    """The caller was interrupted (Ctrl-C without raw mode); no payload."""
    FILE = 4
    """A piece of a file that goes ahead of standard input; an empty payload is its end."""
    SIGNAL = 5
    """A signal for the program there: one byte, its number on Linux (signal(7))."""
    STDOUT = 16
    STDERR = 17
    WANT = 18
    """The app reads the next piece of its standard input; what it does not read stays with the caller. No payload."""
    RAW = 19
    """One byte: whether the terminal is to pass every key through (1) or edit lines itself (0)."""
    STATUS = 20
    """The exit status, four bytes; always the last frame."""


@dataclass(frozen=True, slots=True)
class Window:
    """The size of a terminal, in characters."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: Kind
    payload: bytes = b""

    def encode(self) -> bytes:
        """The frame as bytes."""
        return _HEAD.pack(self.kind, len(self.payload)) + self.payload

    @property
    def window(self) -> Window:
        """What a `Kind.WINDOW` says.

        Raises:
            UsageError: the payload has another size.
        """
        return Window(*_unpack(_WINDOW, self.payload))

    @property
    def status(self) -> int:
        """What a `Kind.STATUS` says.

        Raises:
            UsageError: the payload has another size.
        """
        return int(_unpack(_STATUS, self.payload)[0])


def window_frame(window: Window) -> Frame:
    """The frame that tells the size of a terminal; absurd sizes are cut to two bytes each."""
    return Frame(Kind.WINDOW, _WINDOW.pack(min(window.columns, 0xFFFF), min(window.rows, 0xFFFF)))


def status_frame(status: int) -> Frame:
    """The frame that tells an exit status."""
    return Frame(Kind.STATUS, _STATUS.pack(status))


def _unpack(form: struct.Struct, payload: bytes) -> tuple[int, ...]:
    if len(payload) != form.size:
        raise UsageError(f"a console frame of {len(payload)} bytes where {form.size} are due")
    return form.unpack(payload)


class Frames:
    """Cuts a byte flow into frames; holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes, in order.

        Raises:
            UsageError: a kind is unknown, or a payload exceeds `MAX_PAYLOAD`.
        """
        self._held += data
        while len(self._held) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._held)
            if length > MAX_PAYLOAD:
                raise UsageError(f"a console frame of {length} bytes (at most {MAX_PAYLOAD})")
            end = _HEAD.size + length
            if len(self._held) < end:
                return
            try:
                frame = Frame(Kind(kind), bytes(self._held[_HEAD.size : end]))
            except ValueError:
                raise UsageError(f"a console frame of unknown kind {kind}") from None
            del self._held[:end]
            yield frame
