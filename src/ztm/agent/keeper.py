"""Keeping one mesh connected: which hub to dial when, and what to do when it falls silent.

It knows nothing of what a link is used for; that is `work`, which runs beside each link while it lives.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from ztm.agent.hublink import HubLink
from ztm.agent.state import Health, State, is_final, judge
from ztm.core.hubs import Dial, HubChooser
from ztm.errors import BrokenStreamError, DeadlineError, ZtmError
from ztm.logs import bind
from ztm.model import Address
from ztm.net.base import Network

log = logging.getLogger("ztm.agent")

DRAIN = 30.0
"""Seconds for which the control session of a replaced link may go on, with the streams that it carries itself."""

LEAVE_AGAIN = 0.05
"""Seconds between two looks at what is left, when the agent leaves."""
TAKE = 15.0
"""Seconds for the keeper to take up a link that it is offered; it may be within a dial of its own."""


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
        self._switching = asyncio.Lock()
        self._offered: HubLink | None = None
        """A link that somebody asked for; it takes the place of the present one."""
        self._offer = asyncio.Event()
        self._taken = asyncio.Event()
        self._is_leaving = False

    async def drain(self) -> None:
        """Leave the hub and dial none any more, but keep what carries streams until these have ended."""
        self._is_leaving = True
        if self.link is not None:
            await self.link.leave()
        while self.link is not None or self._draining:
            await asyncio.sleep(LEAVE_AGAIN)

    async def switch(self, address: Address) -> HubLink:
        """Go on with a link to the hub at `address`, which is dialled beside the present one.

        Where that fails nothing has changed; a switch that is cancelled may still take place.

        Raises:
            ZtmError: there is no link to be had; see `HubLink.open`.
            BrokenStreamError: it ended at once.
            DeadlineError: it was made, and could not be taken into use.
        """
        async with self._switching:
            link = await self._dial(address)
            self._chooser.connected(address, self._network.now())
            self._offered = link
            self._offer.set()
            try:
                async with asyncio.timeout(TAKE):
                    while self.link is not link and link.is_open:
                        self._taken.clear()
                        await self._taken.wait()
            except TimeoutError as error:
                if self._accept_offer() is link:
                    link.close("not taken into use")
                raise DeadlineError(f"the link to {address} is not taken into use: the mesh is being closed") from error
            if self.link is not link:
                raise BrokenStreamError(f"the link to {address} ended before it was of use")
            return link

    def _accept_offer(self) -> HubLink | None:
        link, self._offered = self._offered, None
        self._offer.clear()
        return link

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
            if (offered := self._accept_offer()) is not None:
                offered.close("the agent leaves")
            self._taken.set()
            for task in self._draining:
                task.cancel()
            await asyncio.gather(*self._draining, return_exceptions=True)

    async def _next(self) -> HubLink | None:
        """Wait until an address is due, and try it."""
        if (offered := self._accept_offer()) is not None:
            return offered
        if self._is_leaving:
            await asyncio.sleep(LEAVE_AGAIN)
            return None
        step = self._chooser.next(self._network.now())
        if isinstance(step, Dial):
            return await self._connect(step.address)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(1.0, max(0.01, step.until - self._network.now()))):
                await self._offer.wait()
        return None

    async def _connect(self, address: Address) -> HubLink | None:
        try:
            link = await self._dial(address)
        except ZtmError as error:
            self._failed(address, error)
            return None
        self._chooser.connected(address, self._network.now())
        if self._is_leaving:
            link.close("the agent leaves")
            return None
        return link

    def _failed(self, address: Address, error: ZtmError) -> None:
        health = judge(error)
        again = self._chooser.refused if is_final(health) else self._chooser.failed
        again(address, self._network.now(), random.random())  # noqa: S311 (spreads retries; no secret)
        self._turn(health)

    async def _live_on(self, link: HubLink) -> HubLink | None:
        """Use a link until it ends, or until one dialled beside it takes its place, which is given."""
        self.link = link
        bind(hub=link.status.id or str(link.address))
        self._taken.set()
        self._turn(Health(State.CONNECTED))
        running = asyncio.ensure_future(link.run())
        work = asyncio.ensure_future(self._logged_work(link))
        offer = asyncio.ensure_future(self._offer.wait())
        fresh: HubLink | None = None
        try:
            while not running.done() and fresh is None:
                await asyncio.wait((running, offer), timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    break
                if offer.done():
                    fresh = self._accept_offer()
                    offer = asyncio.ensure_future(self._offer.wait())
                elif link.is_suspect:
                    fresh = await self._replace(link)
                else:
                    self._turn(Health(State.CONNECTED))
        finally:
            work.cancel()
            offer.cancel()
            await asyncio.gather(work, offer, return_exceptions=True)
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
        bind(hub="")
        if not isinstance(ended, str):
            link.close("the agent leaves")
            return
        self._drain(link, None)
        if self._is_leaving:
            self._turn(Health(State.OFFLINE, "the agent is stopping"))
        else:
            self._failed(link.address, link.loss_of(ended))


async def _outlive(link: HubLink, running: "asyncio.Future[str] | None") -> None:
    """Keep a link without a future for as long as streams of it move; the control session's, for a while."""
    try:
        if running is not None:
            await asyncio.wait((running,), timeout=DRAIN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await link.streams.control_drained()
        link.retire("replaced by another session")
        await link.streams.drained()
    finally:
        link.close("no longer used")
        if running is not None:
            running.cancel()
