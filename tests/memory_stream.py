"""Streams and exchanges in memory: two joined ends with half-close and back-pressure."""

import asyncio

from ztm.errors import BrokenStreamError
from ztm.model import Address, Identity
from ztm.net.base import Headers


class _Way:
    """One direction."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.chunks: list[bytes] = []
        self.is_ended = False
        self.waiting: set[asyncio.Future[None]] = set()

    @property
    def held(self) -> int:
        return sum(map(len, self.chunks))

    def wake(self) -> None:
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)
        self.waiting.clear()

    def change(self) -> "asyncio.Future[None]":
        """Done with the next change; waits from now on, not from when it is awaited."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.add(waiter)
        return waiter


class MemoryStream:
    """One end of a stream in memory."""

    identity: Identity | None = None
    remote: Address | None = Address("192.0.2.1", 4000)
    local: Address | None = Address("192.0.2.2", 8888)

    def __init__(self, incoming: _Way, outgoing: _Way) -> None:
        self._in = incoming
        self._out = outgoing
        self._back: list[bytes] = []
        self.aborted: str | None = None
        self.partner: MemoryStream | None = None

    @property
    def is_over(self) -> bool:
        return self.aborted is not None or (self._in.is_ended and self._out.is_ended)

    def _check(self) -> None:
        if self.aborted is not None:
            raise BrokenStreamError(f"cut: {self.aborted}")

    async def read(self) -> bytes:
        while True:
            self._check()
            if self._back:
                return self._back.pop(0)
            if self._in.chunks:
                data = self._in.chunks.pop(0)
                self._in.wake()
                return data
            if self._in.is_ended:
                return b""
            await self._in.change()

    async def read_all(self) -> bytes:
        """Everything until the other side ends."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    async def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        seen = b""
        while mark not in seen:
            part = await self.read()
            assert part, f"ended before {mark!r}: {seen!r}"
            seen += part
        end = seen.index(mark) + len(mark)
        if seen[end:]:
            self.unread(seen[end:])
        return seen[:end]

    def unread(self, data: bytes) -> None:
        if data:
            self._back.insert(0, data)

    async def write(self, data: bytes) -> None:
        self.write_now(data)
        while self._out.held > self._out.limit:
            await self._out.change()
            self._check()

    def write_now(self, data: bytes) -> None:
        self._check()
        assert not self._out.is_ended, "written after the end"
        if data:
            self._out.chunks.append(bytes(data))
            self._out.wake()

    def end(self) -> None:
        self._out.is_ended = True
        self._out.wake()

    def abort(self, reason: str = "") -> None:
        for side in (self, self.partner):
            if side and side.aborted is None:
                side.aborted = reason
        self._in.wake()
        self._out.wake()

    async def ended(self) -> None:
        while self.aborted is None and not (self._in.is_ended and self._out.is_ended):
            await asyncio.wait([self._in.change(), self._out.change()], return_when=asyncio.FIRST_COMPLETED)

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not read."""
        return self._out.held


class MemoryExchange(MemoryStream):
    """An HTTP/2 stream in memory; both ends share the heads."""

    def __init__(self, incoming: _Way, outgoing: _Way, request: Headers) -> None:
        super().__init__(incoming, outgoing)
        self.request = request
        self.answered: asyncio.Future[tuple[int, Headers]] = asyncio.get_running_loop().create_future()

    def respond(self, status: int, headers: Headers = (), *, end: bool = False) -> None:
        self._check()
        self.answered.set_result((status, list(headers)))
        if end:
            self.end()

    async def response(self) -> tuple[int, Headers]:
        ending = asyncio.ensure_future(self.ended())
        try:
            await asyncio.wait([self.answered, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        if not self.answered.done():
            raise BrokenStreamError("the stream ended without an answer")
        return self.answered.result()


def stream_pair(limit: int = 64 << 10) -> tuple[MemoryStream, MemoryStream]:
    """Two joined ends; a writer waits while more than `limit` bytes are unread."""
    up, down = _Way(limit), _Way(limit)
    a, b = MemoryStream(down, up), MemoryStream(up, down)
    a.partner, b.partner = b, a
    return a, b


def exchange_pair(request: Headers, limit: int = 64 << 10) -> tuple[MemoryExchange, MemoryExchange]:
    """The opening and the accepting end of one HTTP/2 stream."""
    up, down = _Way(limit), _Way(limit)
    opening, accepting = MemoryExchange(down, up, request), MemoryExchange(up, down, request)
    opening.partner, accepting.partner = accepting, opening
    accepting.answered = opening.answered
    return opening, accepting
