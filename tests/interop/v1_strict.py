"""HTTP/2 as v1 judges it: whatever v1 would close the connection for is written down, and closes it.

Source: spec mesh-protocol 4.1 and 4.2.
"""

import struct
from collections.abc import Awaitable, Callable
from typing import Protocol

from v1_http import DATA, END_STREAM, GOAWAY, HEADERS, RST, Below, Fields, Http2, Stream, Wire

PADDED, PUSH, LARGEST_FRAME = 8, 5, 16384
PER_CONNECTION = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
App = Callable[[Stream], Awaitable[None]]


class Watcher(Protocol):
    """Who is told."""

    violations: list[str]

    def note(self) -> None:
        """Something happened."""


class StrictHttp2(Http2):
    """v1's HTTP/2, which closes the whole connection over what v1 closes it for (spec mesh-protocol 4.1, 4.2)."""

    def __init__(
        self, below: Below, role: str, watcher: Watcher, answer: App | None = None, *, acks: bool = True
    ) -> None:
        self._watcher = watcher
        self.peer_ended: set[int] = set()
        """Streams that the peer has ended or reset."""
        super().__init__(below, role, answer, acks=acks)

    def _on_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind in (DATA, HEADERS):
            self._check(number not in self.peer_ended, f"a late frame of kind {kind} on stream {number}")
            self._check(not flags & PADDED, "padding")
        self._check(kind != PUSH, "PUSH_PROMISE")
        self._check(len(payload) <= LARGEST_FRAME, f"a frame of {len(payload)} bytes")
        super()._on_frame(kind, flags, number, payload)
        if kind == RST or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.peer_ended.add(number)
        self._watcher.note()

    def _on_head(self, number: int, fields: Fields) -> None:
        names = [name for name, _ in fields]
        self._check(names == [name.lower() for name in names], f"upper-case header names in {names}")
        self._check("content-length" not in names, f"content-length in {fields}")
        self._check(not PER_CONNECTION & set(names), f"headers of one hop in {names}")
        self._check(all(value == "trailers" for name, value in fields if name == "te"), "te")
        pseudo = [name for name in names if name.startswith(":")]
        self._check(names[: len(pseudo)] == pseudo, "pseudo-headers behind others")
        if not self._is_client and number not in self.streams:
            self._check(set(pseudo) - {":authority"} == {":method", ":scheme", ":path"}, f"request with {pseudo}")
        super()._on_head(number, fields)

    def _check(self, fine: bool, what: str) -> None:
        if not fine:
            self._watcher.violations.append(what)
            self.frame(GOAWAY, 0, 0, struct.pack(">II", 0, 1))
            self.below.end()

    def _lost(self) -> None:
        super()._lost()
        self._watcher.note()


class Begun(Wire):
    """A connection whose first bytes were read already."""

    first = b""

    async def read(self) -> bytes:
        data, self.first = self.first, b""
        return data or await super().read()
