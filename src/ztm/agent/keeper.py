"""Keeping one mesh connected: which hub to dial when, and what to do when it falls silent.

It knows nothing of what a link is used for; that is `work`, which runs beside each link while it lives.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from ztm.agent.hublink import HubLink
from ztm.agent.state import Health, State, is_final, judge
from ztm.core.hubs import Dial, HubChooser
from ztm.errors import ZtmError
from ztm.model import Address
from ztm.net.base import Network

log = logging.getLogger("ztm.agent")

DRAIN = 30.0
"""Seconds for which the control session of a replaced link may go on, with the streams that it carries itself."""


class Keeper:
    """The one that dials again. `link` is the present link, also while it is suspect."""

    def __init__(
        self,
        network: Network,
        chooser: HubChooser,
        dial: Callable[[Address], Awaitable[HubLink]],
        work: Callable[[HubLink], Awaitable[None]],
        turn: Callable[[Health], None],
    ) -> None:
        self.link: HubLink | None = None
        self._network = network
        self._chooser = chooser
        self._dial = dial
        self._work = work
        self._turn = turn
        self._draining: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Connect and stay connected, until cancelled."""
        try:
            link: HubLink | None = None
            while True:
                link = await self._live_on(link) if link is not None else await self._next()
        finally:
            if self.link is not None:
                self.link.close("the agent leaves")
                self.link = None
            for task in self._draining:
                task.cancel()
            await asyncio.gather(*self._draining, return_exceptions=True)

    async def _next(self) -> HubLink | None:
        """Wait until an address is due, and try it."""
        step = self._chooser.next(self._network.now())
        if isinstance(step, Dial):
            return await self._connect(step.address)
        await asyncio.sleep(min(1.0, max(0.01, step.until - self._network.now())))
        return None

    async def _connect(self, address: Address) -> HubLink | None:
        try:
            link = await self._dial(address)
        except ZtmError as error:
            self._failed(address, error)
            return None
        self._chooser.connected(address, self._network.now())
        return link

    def _failed(self, address: Address, error: ZtmError) -> None:
        health = judge(error)
        again = self._chooser.refused if is_final(health) else self._chooser.failed
        again(address, self._network.now(), random.random())  # noqa: S311 (spreads retries; no secret)
        self._turn(health)

    async def _live_on(self, link: HubLink) -> HubLink | None:
        """Use a link until it ends, or until one dialled beside it takes its place, which is given."""
        self.link = link
        self._turn(Health(State.CONNECTED))
        running = asyncio.ensure_future(link.run())
        work = asyncio.ensure_future(self._logged_work(link))
        fresh: HubLink | None = None
        try:
            while not running.done() and fresh is None:
                await asyncio.wait((running,), timeout=1.0)
                if running.done():
                    break
                if link.is_suspect:
                    fresh = await self._replace(link)
                else:
                    self._turn(Health(State.CONNECTED))
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if fresh is not None:
                self._drain(link, running)
            else:
                running.cancel()
                self._lost(link, (await asyncio.gather(running, return_exceptions=True))[0])
        return fresh

    async def _logged_work(self, link: HubLink) -> None:
        try:
            await self._work(link)
        except Exception:
            log.exception("what goes on beside the link to %s failed", link.address)

    async def _replace(self, link: HubLink) -> HubLink | None:
        """Try for another link while this one says nothing; given up as soon as it speaks again."""
        step = self._chooser.next(self._network.now())
        if not isinstance(step, Dial):
            return None
        self._turn(Health(State.UNREACHABLE, f"the hub at {link.address} has stopped answering"))
        dialling = asyncio.ensure_future(self._connect(step.address))
        try:
            while not dialling.done() and link.is_suspect and link.is_open:
                await asyncio.wait((dialling,), timeout=0.25)
        finally:
            if not dialling.done():
                dialling.cancel()
        found = (await asyncio.gather(dialling, return_exceptions=True))[0]
        return found if isinstance(found, HubLink) else None

    def _drain(self, link: HubLink, running: "asyncio.Future[str] | None") -> None:
        """Let the streams of a link that is no longer used live if they can."""
        task = asyncio.ensure_future(_outlive(link, running))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    def _lost(self, link: HubLink, ended: object) -> None:
        self.link = None
        if not isinstance(ended, str):
            link.close("the agent leaves")
            return
        self._drain(link, None)
        self._failed(link.address, link.loss_of(ended))


async def _outlive(link: HubLink, running: "asyncio.Future[str] | None") -> None:
    """Keep a link without a future for as long as streams of it move; the control session's, for a while."""
    try:
        if running is not None:
            await asyncio.wait((running,), timeout=DRAIN)
        link.retire("replaced by another session")
        await link.streams.drained()
    finally:
        link.close("no longer used")
        if running is not None:
            running.cancel()
