"""One client of the proxy, whatever it speaks: reading what it wants, finding it a way, and parting with it.

It knows no protocol, and chooses no exit.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ztm.apps.audit import Audit, Trail, audited
from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.entry.destination import Destination
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.way import Passage, Way
from ztm.apps.streams.clients import TcpClient
from ztm.apps.streams.reach import Early, Source
from ztm.apps.streams.traffic import Traffic, Visit
from ztm.errors import BrokenStreamError, UnauthorizedError
from ztm.model import Address, Peer
from ztm.net.base import Meter, Network, Stream

T = TypeVar("T")
Parser = Callable[[bytes], tuple[T, int] | None]
"""What the bytes begin with, and its size; None while it is not whole."""

NOWHERE = Address("", 0)
"""Stands for an address that the system does not tell."""
GONE = "the client left"
LOGIN = "the proxy's user name and password"
OPEN_TO_ALL = "the proxy asks for no password"


@dataclass(frozen=True, slots=True)
class House:
    """What all clients of one door have in common."""

    network: Network
    way: Way
    limits: DoorLimits
    audit: Audit
    owner: Peer
    """The own user at the own endpoint."""
    say: Callable[[str], None]
    """Logs a line, without flooding the log."""
    traffic: Traffic[Visit]


class Client:
    """One accepted connection."""

    def __init__(self, stream: Stream, house: House, credentials: Credentials | None, generation: Callable[[], int]):
        self.stream = stream
        self.house = house
        self.limits = house.limits
        self.credentials = credentials
        """What it must show; None asks for nothing."""
        self.generation = generation
        """Changes when no stream that was opened before may be used again."""
        self.remote = stream.remote or NOWHERE

    async def may_pass(self, user: str, password: str) -> bool:
        """Whether these are the credentials asked for."""
        return self.credentials is None or await self.credentials.check(user, password)

    async def take(self, parse: Parser[T], *, limit: int = 1 << 10) -> T | None:
        """The next thing that `parse` finds whole; what came behind it is put back. None if the client left first.

        `limit` bytes are read at most; a parser that is not content with as many raises itself.

        Raises:
            BrokenStreamError: the stream was cut, or `limit` was passed.
        """
        buffer = b""
        while len(buffer) <= limit:
            data = await self.stream.read()
            if not data:
                return None
            buffer += data
            found = parse(buffer)
            if found is not None:
                thing, size = found
                self.stream.unread(buffer[size:])
                return thing
        raise BrokenStreamError(f"more than {limit} bytes, and no end")

    @contextmanager
    def session(self, action: str, destination: object, meter: Meter | None = None) -> Iterator[Trail]:
        """The audit record and the books of one thing that this client asks for."""
        owner, house = self.house.owner, self.house
        peer = Peer(owner.user, owner.endpoint, self.remote.host, self.remote.port)
        rule = LOGIN if self.credentials is not None else OPEN_TO_ALL
        trail = Trail(side="entry", peer=peer, action=action, subject=str(destination), rule=rule)
        trail.meter = meter or trail.meter
        visit = Visit(peer, trail.meter, self.stream.abort)
        house.traffic.begin(visit)
        try:
            with audited(house.audit, trail):
                yield trail
        finally:
            house.traffic.end(visit)

    def note_wrong_password(self, action: str, destination: object) -> None:
        """Leave an audit record of a client that showed wrong credentials, and say so in the log."""
        self.say("it gave a wrong user name or password")
        try:
            with self.session(action, destination) as trail:
                trail.is_allowed = False
                raise UnauthorizedError("wrong user name or password")
        except UnauthorizedError:
            return  # it was raised for the record

    async def connect(self, destination: Destination, accepted: bytes) -> None:
        """Carry between this client and `destination` until the end; `accepted` is sent once an exit has accepted.

        Raises:
            ZtmError: none did, and the client has been told nothing.
            BrokenStreamError: the client left before.
        """
        with self.session("connect", destination) as trail:
            source = TcpClient(self.stream, self.house.network)
            source.meter = trail.meter
            passage = await self.open(destination, source, self.stream.ended())
            trail.target = passage.exit
            self.stream.write_now(accepted)
            try:
                await self.house.network.splice(self.stream, passage.stream, trail.meter)
            except BrokenStreamError as broken:
                trail.reason = str(broken)

    async def open(self, destination: Destination, source: Source, gone: Coroutine[None, None, None]) -> Passage:
        """A way to `destination`, on which all that was read from `source` meanwhile has been sent.

        It is given up when `gone` returns, which says that the client has left.

        Raises:
            ZtmError: there is none.
            BrokenStreamError: the client left, or what `source` raised.
        """
        early = Early(source, self.limits.early_bytes)
        opening = asyncio.ensure_future(self.house.way.open(destination.host, destination.port, early))
        watch = asyncio.ensure_future(gone)
        passage: Passage | None = None
        try:
            await asyncio.wait((opening, watch), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                raise BrokenStreamError(GONE)
            passage = opening.result()
            return passage
        finally:
            await stopped(opening, watch)
            if passage is None and not opening.cancelled() and opening.exception() is None:
                opening.result().stream.abort(GONE)

    async def refuse(self, answer: bytes) -> None:
        """Send a last answer, and part.

        Raises:
            BrokenStreamError: the client is gone.
        """
        self.stream.write_now(answer)
        await self.part()

    async def part(self) -> None:
        """End the stream, and cut it if the client has not ended its side in time.

        What still comes is read and dropped meanwhile: bytes unread at a cut would take the last answer with them.

        Raises:
            BrokenStreamError: the client cut it.
        """
        self.stream.end()
        try:
            async with asyncio.timeout(self.limits.linger_seconds):
                while await self.stream.read():
                    pass
        except TimeoutError:
            self.stream.abort("it did not end its side")

    def say(self, reason: str) -> None:
        """Log why this client is not served."""
        self.house.say(f"client {self.remote.host}: {reason}")


async def stopped(*tasks: "asyncio.Future[T] | asyncio.Future[None]") -> None:
    """Cancel tasks, and wait until they are over; what they raise is theirs."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
