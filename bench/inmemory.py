"""A network in this process whose streams and sessions cost next to nothing, so that only decisions are measured.

Streams are `net.joint` pairs; a session opens one for each request, without frames, windows or TLS. The certificates
are judged as in simulations.
"""

import asyncio
import time
from contextvars import ContextVar, copy_context
from typing import Literal, cast

from ztm.errors import BrokenStreamError, UnreachableError
from ztm.model import Address, Identity
from ztm.net.aio import FlowNetwork
from ztm.net.asgi import PREFACE
from ztm.net.base import Accept, Answer, Exchange, Headers, Listener, SessionLimits, Stream, TlsConfig
from ztm.net.flow import FlowStream
from ztm.net.joint import Joint
from ztm.net.listener import Acceptor
from ztm.testing.port import judge

ROOM: ContextVar[str] = ContextVar("room", default="")
"""The host whose work a task is."""


class End(Joint):
    """One end of a connection."""

    __slots__ = ("_identity", "_local", "_remote", "session")

    def __init__(self, local: Address, remote: Address, identity: Identity | None) -> None:
        super().__init__()
        self._local, self._remote, self._identity = local, remote, identity
        self.session: DirectSession | None = None

    @property
    def identity(self) -> Identity | None:
        return self._identity

    @property
    def remote(self) -> Address | None:
        return self._remote

    @property
    def local(self) -> Address | None:
        return self._local

    @property
    def is_own(self) -> bool:
        return self._identity is not None

    def _settle(self) -> None:
        super()._settle()
        there = self._partner
        if there.is_over:  # no cycle is left: sockets make none either
            self._partner = there._partner = NOWHERE

    @property
    def partner(self) -> "End":
        return cast("End", self._partner)


NOWHERE = Joint()
"""The partner of those that need none any more."""


class DirectExchange(End):
    """One end of a request."""

    __slots__ = ("_head", "_owner", "_waiting", "request")

    def __init__(self, session: "DirectSession", request: Headers) -> None:
        stream = session.stream
        super().__init__(cast("Address", stream.local), cast("Address", stream.remote), stream.identity)
        self._owner = session
        session.streams += 1
        self.request = request
        self._head: tuple[int, Headers] | None = None
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_own(self) -> bool:
        return True

    def respond(self, status: int, headers: Headers = (), *, end: bool = False) -> None:
        there = cast("DirectExchange", self._partner)
        there._head = (status, headers)
        there._wake()
        if end:
            self.end()

    async def response(self) -> tuple[int, Headers]:
        while self._head is None:
            if self._reason is not None or self._finished:
                raise BrokenStreamError(self._reason or "the stream ended without an answer")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._head

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _settle(self) -> None:
        super()._settle()
        self._owner.streams -= 1

    def finished(self) -> None:
        super().finished()
        self._wake()

    def broken(self, reason: str) -> None:
        super().broken(reason)
        self._wake()


class DirectSession:
    """See `net.base.Session`; the two of a connection find each other by its ends."""

    silence = 0.0
    round_trip: float | None = 0.0

    def __init__(self, stream: End, answer: Answer | None, room: str) -> None:
        self.stream = stream
        self.identity, self.remote = stream.identity, stream.remote
        self.streams = 0
        self._acceptor = Rooms(cast("Accept", answer), room)
        self._early: list[DirectExchange] = []
        stream.session = self
        there = stream.partner.session
        if there is not None:
            for exchange in there._early:
                self._acceptor.start(exchange)

    @property
    def is_open(self) -> bool:
        return not self.stream.is_over

    def open(self, headers: Headers, *, end: bool = False) -> Exchange:
        if not self.is_open:
            raise BrokenStreamError("the session is over")
        there = self.stream.partner.session
        near, far = DirectExchange(self, headers), DirectExchange(there or self, headers)
        near.join(far)
        if end:
            near.end()
        if there is None:
            self._early.append(far)
        else:
            there._acceptor.start(far)
        return near

    def close(self, reason: str = "") -> None:
        self.stream.abort(reason)

    async def closed(self) -> str:
        await self.stream.ended()
        return "over"


class Rooms(Acceptor):
    """Tasks that work for one host."""

    def __init__(self, accept: Accept, room: str) -> None:
        super().__init__(accept)
        self._context = copy_context()
        self._context.run(ROOM.set, room)

    def start(self, stream: FlowStream) -> None:
        task = asyncio.get_running_loop().create_task(self.own(stream), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class DirectPort(Rooms):
    """See `net.base.Listener`."""

    def __init__(self, host: "DirectHost", address: Address, accept: Accept, tls: TlsConfig | None) -> None:
        super().__init__(accept, host.ip)
        self.address, self.tls, self._host = address, tls, host

    def renew(self, tls: TlsConfig) -> None:
        self.tls = tls

    async def close(self) -> None:
        self._host.ports.pop(self.address.port)


class DirectHost(FlowNetwork):
    """One machine; see `net.base.Network`, of which it has what a tunnel needs."""

    def __init__(self, world: "DirectWorld", ip: str) -> None:
        self.ip = ip
        self.ports: dict[int, DirectPort] = {}
        self._world = world

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def dial(self, address: Address, tls: TlsConfig | None = None, *, timeout: float = 10.0) -> Stream:  # noqa: ARG002
        host = self if address.host == "127.0.0.1" else self._world.host(address.host)
        port = host.ports.get(address.port)
        if port is None:
            raise UnreachableError(f"nobody listens at {address}")
        us = them = None
        if tls is not None and port.tls is not None:
            us = judge(tls, port.tls, self.wall(), server=False)
            them = judge(port.tls, tls, self.wall(), server=True)
        own = Address(self.ip, 50_000)
        near, far = End(own, address, them), End(address, own, us)
        near.join(far)
        port.start(far)
        return near

    async def listen(
        self,
        address: Address,
        accept: Accept,
        tls: TlsConfig | None = None,
        *,
        handshakes: int = 256,  # noqa: ARG002
    ) -> Listener:
        port = self.ports[address.port] = DirectPort(self, address, accept, tls)
        return port

    def session(
        self,
        stream: Stream,
        role: Literal["client", "server"],
        *,
        answer: Answer | None = None,
        limits: SessionLimits | None = None,  # noqa: ARG002
        own: bool = False,  # noqa: ARG002
    ) -> DirectSession:
        made = DirectSession(cast("End", stream), answer, self.ip)
        if role == "client":
            stream.write_now(PREFACE)
        return made


class DirectWorld:
    """All machines, in the place of `ztm.testing.SimWorld`."""

    def __init__(self) -> None:
        self._hosts: dict[str, DirectHost] = {}

    def host(self, ip: str) -> DirectHost:
        return self._hosts.setdefault(ip, DirectHost(self, ip))

    def wall(self) -> float:
        return time.time()
