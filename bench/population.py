"""A population of idle agents in one process: as many hub links as asked for, and nothing behind them.

Each link is the agent's own (`ztm.agent.hublink`), with its TLS, its control session, its heartbeat and its answers
to pings; meshes, apps and databases are left out, as what is measured is the hub. The links share one certificate.

usage: population.py PERMIT COUNT     prints "ready COUNT" once all are connected, then lives until it is ended
"""

import asyncio
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from ztm import pki
from ztm.agent.config import AgentConfig
from ztm.agent.dial import LinkSelf, only_hubs
from ztm.agent.hublink import HubLink
from ztm.model import Address, Permit
from ztm.net.aio import AioNetwork
from ztm.net.aio import run as run_loop
from ztm.net.asgi import ASGIApp
from ztm.net.base import TlsConfig
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths
from ztm.wire.records import PingAnswer

TOGETHER = 8
"""Agents that connect at the same time."""


def answers(link: HubLink, own: LinkSelf) -> ASGIApp:
    """What an idle agent is asked: pings."""

    async def ping(_request: Request) -> Response:
        link.pinged_at = link.now()
        return Response(200, codec.encode_ping_answer(PingAnswer(own.id, own.name, int(time.time() * 1000))))

    router = Router()
    router.add("GET", paths.PING, ping)
    return router


async def connect(network: AioNetwork, permit: Permit, number: int) -> HubLink:
    """One agent's link."""
    tls = TlsConfig(ca=permit.ca, certificate=permit.certificate, key=permit.key or "", admit=only_hubs)
    own = LinkSelf(str(uuid.uuid4()), f"idle-{number}", (), tls)
    config = AgentConfig(data=Path("unused"), listen=Address("127.0.0.1", 1))
    return await HubLink.open(network, config, permit.bootstraps[0], own, lambda link, _: answers(link, own))


async def main(permit: Permit, count: int) -> int:
    """Connect them all, and keep them; ends when one link does."""
    network, places = AioNetwork(), asyncio.Semaphore(TOGETHER)

    async def one(number: int) -> HubLink:
        async with places:
            return await connect(network, permit, number)

    links = await asyncio.gather(*(one(number) for number in range(count)))
    print(f"ready {len(links)}", flush=True)
    runs = [asyncio.ensure_future(link.run()) for link in links]
    done, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
    print(f"a link ended: {done.pop().result()}", flush=True)
    return 1


if __name__ == "__main__":
    read = pki.parse_permit(Path(sys.argv[1]).read_text(), datetime.now(UTC))
    sys.exit(run_loop(main(read, int(sys.argv[2]))))
