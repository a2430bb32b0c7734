"""Running hub or agent until it is told to stop: signals, readiness, the watchdog, and the time to drain.

It knows nothing of what it runs, and starts no process: who is told to stop is this process itself.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Iterator
from typing import Protocol

from ztm.errors import ZtmError
from ztm.net.notify import Notifier

log = logging.getLogger("ztm")

STATUS_EVERY = 5.0
"""Seconds between two looks at whether the status line has changed."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Service(Protocol):
    """What can be run."""

    async def start(self) -> None:
        """Come up; once it returns, everything listens.

        Raises:
            ZtmError: it cannot.
        """

    async def drain(self) -> None:
        """Take nothing new, and return when what is under way has ended. May be cancelled."""

    async def close(self) -> None:
        """End whatever is left."""

    def status(self) -> str:
        """How it is, in one line."""


class Stops:
    """The requests to stop this process: the first lets it drain, a second ends it at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.ask)

    def ask(self) -> None:
        """One more request."""
        (self.hurried if self.asked.is_set() else self.asked).set()


@contextlib.contextmanager
def reported(told: Notifier) -> Iterator[None]:
    """Tell the service manager why a start failed.

    Raises:
        ZtmError: what the body raised.
    """
    try:
        yield
    except ZtmError as error:
        told.status(str(error))
        raise


async def serve(service: Service, told: Notifier, *, drain: float) -> int:
    """Run `service` until a signal asks it to stop; the process's exit status.

    What is under way then has `drain` seconds to end.

    Raises:
        ZtmError: it could not start.
    """
    stops = Stops()
    signs: asyncio.Future[None] | None = None
    try:
        if await _unless(stops.asked, service.start()):
            told.ready(service.status())
            signs = asyncio.ensure_future(_signs_of_life(service, told))
            await stops.asked.wait()
            log.info("asked to stop: what is under way has %g s to end", drain)
            told.stopping("stopping: what is under way may end")
            await _drained(service, drain, stops)
    finally:
        await service.close()
        if signs is not None:
            signs.cancel()
            await asyncio.gather(signs, return_exceptions=True)
    return 0


async def _drained(service: Service, seconds: float, stops: Stops) -> None:
    try:
        async with asyncio.timeout(seconds):
            if not await _unless(stops.hurried, service.drain()):
                log.info("asked to stop again: what is still under way is cut")
    except TimeoutError:
        log.info("what is still under way after %g s is cut", seconds)
    except ZtmError as error:
        log.warning("not everything could end by itself: %s", error)


async def _unless(event: asyncio.Event, work: Awaitable[None]) -> bool:
    """Wait for `work`, unless `event` comes first: then `work` is cancelled, and this is False."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


async def _signs_of_life(service: Service, told: Notifier) -> None:
    """Tell the manager now and then that the loop turns, and how things are when that has changed."""
    every = min(told.watchdog / 2 or STATUS_EVERY, STATUS_EVERY)
    before = service.status()
    while told:
        if told.watchdog:
            told.alive()
        await asyncio.sleep(every)
        with contextlib.suppress(ZtmError):
            now = service.status()
            if now != before:
                before = now
                told.status(now)
