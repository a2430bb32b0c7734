"""The hub and the users of a mesh, and strangers, with certificates made once; and small listeners."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ztm import pki
from ztm.errors import BrokenStreamError
from ztm.model import Address, Identity
from ztm.net.base import Accept, Answer, Exchange, Network, Session, SessionLimits, Stream, TlsConfig

HUB = "0f8f7c4e-5f0a-4f0e-9c0a-0123456789ab"
ANYWHERE = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class Parties:
    hub: TlsConfig
    alice: TlsConfig
    expired: TlsConfig
    stranger: TlsConfig
    """Of a mesh with another CA."""
    foreign_hub: TlsConfig

    @classmethod
    def create(cls, now: datetime | None = None) -> "Parties":
        now = now or datetime.now(UTC)
        ours, theirs = pki.Authority.create(now), pki.Authority.create(now)
        return cls(
            hub=_hub(ours, now),
            alice=_user(ours, "alice", now),
            expired=_user(ours, "old", now - timedelta(days=10), days=5),
            stranger=_user(theirs, "alice", now),
            foreign_hub=_hub(theirs, now),
        )


class Ends:
    """A listener that hands over what it accepts, and keeps it open until the test ends."""

    def __init__(self) -> None:
        self._accepted: asyncio.Queue[Stream] = asyncio.Queue()
        self._done = asyncio.Event()

    async def accept(self, stream: Stream) -> None:
        self._accepted.put_nowait(stream)
        await self._done.wait()

    async def next(self) -> Stream:
        async with asyncio.timeout(5):
            return await self._accepted.get()

    @property
    def is_empty(self) -> bool:
        return self._accepted.empty()

    def close(self) -> None:
        self._done.set()


def _hub(authority: pki.Authority, now: datetime) -> TlsConfig:
    key = pki.new_key()
    return TlsConfig(ca=authority.certificate, certificate=authority.sign_hub(HUB, pki.public_key(key), now), key=key)


def _user(authority: pki.Authority, name: str, now: datetime, days: int = 30) -> TlsConfig:
    key = pki.new_key()
    begin = now - timedelta(hours=1)
    signed = authority.sign_user(name, pki.public_key(key), authority_time(authority), days, not_before=begin)
    return TlsConfig(ca=authority.certificate, certificate=signed, key=key)


def authority_time(authority: pki.Authority) -> datetime:
    """A moment at which the authority may sign."""
    return pki.identity_of(authority.certificate).not_before + timedelta(days=1)


def admitting(tls: TlsConfig, admit: Callable[[Identity], str | None]) -> TlsConfig:
    return TlsConfig(ca=tls.ca, certificate=tls.certificate, key=tls.key, admit=admit)


@asynccontextmanager
async def listening(net: Network, accept: Accept, tls: TlsConfig | None = None) -> AsyncIterator[Address]:
    """The address at which `accept` takes connections for as long as the context lasts."""
    listener = await net.listen(ANYWHERE, accept, tls)
    try:
        yield listener.address
    finally:
        await listener.close()


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def read_all(stream: Stream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def read_exactly(stream: Stream, size: int) -> bytes:
    seen = b""
    while len(seen) < size:
        data = await stream.read()
        assert data, f"ended after {len(seen)} of {size} bytes"
        seen += data
    stream.unread(seen[size:])
    return seen[:size]


async def rest(stream: Stream) -> bytes:
    """All that still comes, whether the stream is then ended or cut."""
    seen = b""
    try:
        while data := await stream.read():
            seen += data
    except BrokenStreamError:
        pass
    return seen


CONNECT = ((":method", "CONNECT"), (":scheme", "http"), (":path", "/api/endpoints/x?name=y"))


@asynccontextmanager
async def session_pair(
    net: Network,
    answer: Answer,
    parties: Parties | None = None,
    *,
    limits: SessionLimits | None = None,
    own: bool = True,
) -> AsyncIterator[tuple[Session, Session]]:
    """A client's and a server's end of a session, over TLS if there are `parties`."""
    made: asyncio.Future[Session] = asyncio.get_running_loop().create_future()

    async def accept(stream: Stream) -> None:
        session = net.session(stream, "server", answer=answer, limits=limits or SessionLimits(), own=own)
        made.set_result(session)
        await session.closed()

    async with listening(net, accept, parties.hub if parties else None) as address:
        stream = await net.dial(address, parties.alice if parties else None)
        client = net.session(stream, "client", own=own)
        server = await made
        try:
            yield client, server
        finally:
            client.close()
            server.close()


async def echo_exchange(exchange: Exchange) -> None:
    exchange.respond(200)
    await echo(exchange)


async def fill(stream: Stream, written: list[int], chunk: int = 16384) -> None:
    """Write for ever; `written` holds the bytes that the stream has taken."""
    while True:
        await stream.write(bytes(chunk))
        written[0] += chunk


async def until_stuck(written: list[int], seconds: float = 0.3) -> int:
    """What `written` holds once nothing has been added for so long."""
    seen = -1
    while seen != written[0]:
        seen = written[0]
        await asyncio.sleep(seconds)
    return seen


async def until(fact: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(seconds):
        while not fact():  # there is nothing to wait for
            await asyncio.sleep(0.002)
