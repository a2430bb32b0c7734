"""A population of idle agents in one process: as many hub links as asked for, and nothing behind them.

Each link is the agent's own (`ztm.agent.hublink`), with its TLS, its control session, its heartbeat and its answers
to pings; meshes, apps and databases are left out, as what is measured is the hub. The links share one certificate.

usage: population.py PERMIT COUNT     prints "ready COUNT" once all were accepted, then at each SIGUSR1 what it has
                                      counted as a line of JSON, and lives until it is ended
"""

import asyncio
import json
import signal
import sys
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from ztm import pki
from ztm.agent.config import AgentConfig
from ztm.agent.dial import LinkSelf, only_hubs
from ztm.agent.hublink import HubLink
from ztm.errors import ZtmError
from ztm.model import Address, Permit
from ztm.net.aio import run as run_loop
from ztm.net.asgi import ASGIApp
from ztm.net.base import TlsConfig
from ztm.net.choice import network as chosen_network
from ztm.net.process import tune_process
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths
from ztm.wire.records import PingAnswer

TOGETHER = 8
"""Agents that connect at the same time."""
AGAIN, LAST_AGAIN = 1.0, 8.0
"""Seconds after which one that was not accepted tries again, as agents do; the delay doubles up to the last."""
LATE = 20.0
"""Seconds between two heartbeats answered, or two pings, from which one was late: they are due every 15."""
CONFIG = AgentConfig(data=Path("unused"), listen=Address("127.0.0.1", 1))


class Due:
    """What one agent waits for again and again."""

    def __init__(self, name: str, counted: Counter[str]) -> None:
        self._name = name
        self._counted = counted
        self._last = time.monotonic()

    def came(self) -> None:
        """Count it, and whether it came late."""
        self._counted[self._name] += 1
        self._counted["late"] += self.is_late
        self._last = time.monotonic()

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self._last > LATE


class Population:
    """The agents of this process, and what they have counted: heartbeats, pings, late ones, lost links, later tries."""

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._network = chosen_network()
        self._places = asyncio.Semaphore(TOGETHER)
        self._tls = TlsConfig(ca=permit.ca, certificate=permit.certificate, key=permit.key or "", admit=only_hubs)
        self.counted: Counter[str] = Counter(beats=0, pings=0, late=0, lost=0, retries=0)
        self._due: list[Due] = []

    async def connect(self, number: int) -> HubLink:
        """One agent's link."""
        own = LinkSelf(str(uuid.uuid4()), f"idle-{number}", (), self._tls)
        answers = self._answers(own)
        delay = AGAIN
        while True:
            try:
                async with self._places:
                    return await HubLink.open(
                        self._network, CONFIG, self._permit.bootstraps[0], own, lambda _, __: answers
                    )
            except ZtmError as error:
                self.counted["retries"] += 1
                self._complain(f"the first that was not accepted at once: {error}")
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_AGAIN)

    def _expect(self, name: str) -> Due:
        self._due.append(due := Due(name, self.counted))
        return due

    def told(self) -> str:
        """What was counted so far, as a line of JSON; what is late and has not come counts already."""
        late = self.counted["late"] + sum(due.is_late for due in self._due)
        return json.dumps({**self.counted, "late": late})

    def _answers(self, own: LinkSelf) -> ASGIApp:
        """What an idle agent is asked: pings."""
        due = self._expect("pings")

        async def ping(_request: Request) -> Response:
            due.came()
            return Response(200, codec.encode_ping_answer(PingAnswer(own.id, own.name, int(time.time() * 1000))))

        router = Router()
        router.add("GET", paths.PING, ping)
        return router

    async def keep(self, link: HubLink) -> None:
        """Send one link's heartbeats until it ends. (`HubLink.run` also looks around each second, which is dear.)"""
        due = self._expect("beats")
        over = asyncio.ensure_future(link.session.closed())
        while not (await asyncio.wait((over,), timeout=CONFIG.heartbeat))[0]:
            try:
                await link.beat()
            except ZtmError as error:
                return self._lose(f"a heartbeat failed: {error}")
            due.came()
        return self._lose(over.result())

    def _lose(self, reason: str) -> None:
        self.counted["lost"] += 1
        self._complain(f"a link was lost: {reason}")

    def _complain(self, text: str) -> None:
        """Say what went wrong, the first time."""
        if self.counted["lost"] + self.counted["retries"] == 1:
            print(text, file=sys.stderr, flush=True)


async def main(permit: Permit, count: int) -> int:
    """Connect them all, and keep them; each one's heartbeats begin when it was accepted."""
    population = Population(permit)

    async def one(number: int) -> "asyncio.Task[None]":
        return asyncio.ensure_future(population.keep(await population.connect(number)))

    def tell() -> None:
        print(population.told(), flush=True)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    kept = await asyncio.gather(*(one(number) for number in range(count)))
    print(f"ready {count}", flush=True)
    await asyncio.gather(*kept)
    return 1


if __name__ == "__main__":
    read = pki.parse_permit(Path(sys.argv[1]).read_text(), datetime.now(UTC))
    tune_process()
    sys.exit(run_loop(main(read, int(sys.argv[2]))))
