"""Ends from outside: what a browser has open ends when it signs out, and every WebSocket when the agent stops.

It knows neither HTTP nor who may call; whoever serves the request tells its caller.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from ztm.agent.local.login import BrowserSession
from ztm.errors import UnauthorizedError

SIGNED_OUT = 1008
"""What a WebSocket is closed with whose browser has signed out (RFC 6455 section 7.4.1: against the policy)."""
GOING_AWAY = 1001
"""And where the agent stops."""
LAST_WORDS = 2.0
"""Seconds that the agent's stop waits for what it has ended."""


class EndedError(UnauthorizedError):
    """It was ended while it was served."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True, eq=False)
class _Open:
    session: BrowserSession | None
    is_websocket: bool
    clock: asyncio.Timeout
    task: "asyncio.Task[object] | None"
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    why: EndedError = field(default_factory=lambda: EndedError("the browser's sign-in is over", SIGNED_OUT))


class Ends:
    """What is open now and can be ended."""

    def __init__(self) -> None:
        self._open: set[_Open] = set()

    @asynccontextmanager
    async def within(
        self, session: BrowserSession | None, seconds: float | None, *, is_websocket: bool
    ) -> AsyncIterator[None]:
        """Let the body run until it is ended from outside, for `seconds` at the most (None: without a bound).

        Raises:
            EndedError: it was ended.
        """
        clock = asyncio.timeout(seconds)
        one = _Open(session, is_websocket, clock, asyncio.current_task())
        try:
            async with clock:
                self._open.add(one)
                yield
        except TimeoutError:
            if not clock.expired():
                raise
            raise one.why from None
        finally:
            self._open.discard(one)
            one.gone.set()

    def end(self, session: BrowserSession) -> None:
        """A browser has signed out: end all that it has open, but for the request that says so."""
        for one in self._open:
            if one.session == session and one.task is not asyncio.current_task():
                self._end(one)

    async def close(self) -> None:
        """The agent stops: end all WebSockets, and wait a little until they are told."""
        told = [one for one in self._open if one.is_websocket]
        for one in told:
            one.why = EndedError("the agent stops", GOING_AWAY)
            self._end(one)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                for one in told:
                    await one.gone.wait()

    @staticmethod
    def _end(one: _Open) -> None:
        if not one.clock.expired():
            one.clock.reschedule(asyncio.get_running_loop().time())
