"""Dialling a hub so that a link that comes back is found soon."""

import asyncio
from dataclasses import dataclass

from ztm.model import HUB_PREFIX, Address, Identity
from ztm.net.base import Network, Stream, TlsConfig

TOGETHER = 4
"""Dials to one address at most under way at once."""


@dataclass(slots=True)
class LinkSelf:
    """What a link says of its own endpoint; changes show in the next heartbeat or dial."""

    id: str
    name: str
    labels: tuple[str, ...]
    tls: TlsConfig


def only_hubs(identity: Identity) -> str | None:
    """Refuses whoever shows another than a hub's certificate (spec mesh-protocol W7)."""
    return None if identity.is_hub else f"it shows the certificate of {identity.user!r}, not one of {HUB_PREFIX}..."


async def dial_hub(network: Network, address: Address, tls: TlsConfig, *, timeout: float, again: float) -> Stream:
    """A TLS stream to the hub at `address`.

    A first packet lost on a dead link is sent again by the kernel only after 1, 3, 7 seconds; so another dial
    starts beside the first every `again` seconds, and the first success counts.

    Raises:
        UnreachableError: nobody listens there.
        DeadlineError: nothing answered within `timeout` seconds.
        CertificateError: it is not a hub of this mesh.
    """
    dials: set[asyncio.Task[Stream]] = set()
    try:
        while True:
            if len(dials) < TOGETHER:
                dials.add(asyncio.ensure_future(network.dial(address, tls, timeout=timeout)))
            done, _ = await asyncio.wait(dials, timeout=again, return_when=asyncio.FIRST_COMPLETED)
            for dial in done:
                dials.discard(dial)
                return dial.result()
    finally:
        for dial in dials:
            _drop(dial)


def _drop(dial: "asyncio.Task[Stream]") -> None:
    """Stop a dial that lost the race; if it has won meanwhile, close what it made."""

    def close(done: "asyncio.Task[Stream]") -> None:
        if not done.cancelled() and done.exception() is None:
            done.result().abort("another dial was faster")

    dial.add_done_callback(close)
    dial.cancel()
