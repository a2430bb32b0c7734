"""Asking a hub something without becoming an endpoint of it: how its addresses answer, and its log.

It is never the way of an app stream, and nothing of it stays open.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ztm.agent.dial import dial_hub
from ztm.errors import ZtmError
from ztm.model import Address, HubInfo
from ztm.net.base import Network, Session, TlsConfig
from ztm.rest.client import call_ok
from ztm.wire import codec, paths
from ztm.wire.records import HubStatus

PATIENCE = 5.0
"""Seconds for one address to answer, the handshake included."""
AGAIN = 2.0
"""Seconds after which a dial without an answer gets a second one beside it."""
TOGETHER = 8
"""Addresses tried at once."""


@dataclass(frozen=True, slots=True)
class PortProbe:
    """How one address of a hub answered."""

    address: Address
    status: HubStatus | None = None
    """None where no hub of this mesh with that id is."""
    latency: float | None = None
    """Seconds for one question, on a session that was there."""


@asynccontextmanager
async def visit(network: Network, address: Address, tls: TlsConfig) -> AsyncIterator[Session]:
    """A session with the hub at `address`, for questions.

    Raises:
        ZtmError: no hub of this mesh answers there.
    """
    stream = await dial_hub(network, address, tls, timeout=PATIENCE, again=AGAIN)
    session = network.session(stream, "client", own=stream.is_own)
    try:
        yield session
    finally:
        session.close("all is asked")


async def probe(network: Network, hub: HubInfo, tls: TlsConfig) -> list[PortProbe]:
    """How each address of a hub answers now, in their order; within a few times `PATIENCE`."""
    room = asyncio.Semaphore(TOGETHER)

    async def one(address: Address) -> PortProbe:
        async with room:
            try:
                async with asyncio.timeout(PATIENCE):
                    return await _ask(network, address, tls, hub.id)
            except (ZtmError, TimeoutError):
                return PortProbe(address)

    return list(await asyncio.gather(*(one(address) for address in hub.ports)))


async def _ask(network: Network, address: Address, tls: TlsConfig, hub_id: str) -> PortProbe:
    async with visit(network, address, tls) as session:
        await call_ok(session, "GET", paths.HUB_STATUS, timeout=PATIENCE)  # the first one waits for settings
        begin = network.now()
        answer = await call_ok(session, "GET", paths.HUB_STATUS, timeout=PATIENCE)
        latency = network.now() - begin
    status = codec.decode_hub_status(answer.body)
    return PortProbe(address, status, latency) if status.id == hub_id else PortProbe(address)


async def log_of(network: Network, addresses: Sequence[Address], tls: TlsConfig) -> bytes:
    """The log of the hub at the first of `addresses` that answers.

    Raises:
        ZtmError: none does, or the hub refuses.
    """
    for address in addresses[:-1]:
        try:
            return await _log_at(network, address, tls)
        except ZtmError as error:
            if error.status == 403:
                raise
    return await _log_at(network, addresses[-1], tls)


async def _log_at(network: Network, address: Address, tls: TlsConfig) -> bytes:
    async with visit(network, address, tls) as session:
        return (await call_ok(session, "GET", paths.LOG, timeout=PATIENCE)).body
