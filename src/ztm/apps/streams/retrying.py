"""Trying again, now and then, until what could not be had is there: ports in use above all.

It knows nothing of what it tries.
"""

import asyncio
from collections.abc import Awaitable, Callable

from ztm.apps.base import AppContext


class Retrying:
    """Calls `attempt` every `seconds` once asked to, until it says that all is well or `stop` is called."""

    def __init__(self, context: AppContext, seconds: float, attempt: Callable[[], Awaitable[bool]]) -> None:
        self._context = context
        self._seconds = seconds
        self._attempt = attempt
        self._is_trying = False
        self._is_stopped = False

    def later(self) -> None:
        """Begin to try, unless that is under way."""
        if not self._is_trying and not self._is_stopped:
            self._is_trying = True
            self._context.spawn(self._try())

    def stop(self) -> None:
        """Try no more, now and later."""
        self._is_stopped = True

    async def _try(self) -> None:
        try:
            is_done = False
            while not is_done and not self._is_stopped:
                await asyncio.sleep(self._seconds)
                is_done = self._is_stopped or await self._attempt()
        finally:
            self._is_trying = False
