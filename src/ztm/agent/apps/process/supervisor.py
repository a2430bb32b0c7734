"""Keeping an app's process running: started again after a crash, later and later, and given up after too many.

What it promises to callers: a running process, or an error that says how the app is doing.
"""

import asyncio
from collections.abc import Awaitable, Callable

from ztm.agent.apps.process.child import Child
from ztm.agent.apps.process.limits import ProcessLimits
from ztm.agent.apps.process.restarts import Restarts
from ztm.apps.base import AppContext, Condition
from ztm.errors import UnreachableError, ZtmError

Launch = Callable[[], Awaitable[Child]]


class Supervisor:
    """Owns the process of one app."""

    def __init__(
        self, name: str, context: AppContext, limits: ProcessLimits, launch: Launch, confinement: str = ""
    ) -> None:
        self._name = name
        self._context = context
        self._limits = limits
        self._launch = launch
        self._confinement = confinement
        self._restarts = Restarts(limits)
        self._child: Child | None = None
        self._began = 0.0
        self._is_stopped = False
        self._watching: asyncio.Task[None] | None = None
        self.condition = Condition("starting", confinement=confinement)
        """How it is doing."""
        self.changed: Callable[[], None] = lambda: None
        """Called whenever that is another."""

    @property
    def child(self) -> Child | None:
        """The process, if one runs and is ready."""
        return self._child

    def running(self) -> Child:
        """The process.

        Raises:
            UnreachableError: none is ready now; the message says why.
        """
        if self._child is None:
            why = f": {self.condition.reason}" if self.condition.reason else ""
            raise UnreachableError(f"app {self._name} is {self.condition.state}{why}")
        return self._child

    async def start(self) -> None:
        """Start the process; it is ready when this returns. One that runs is left alone, a failed one starts anew.

        Raises:
            UnreachableError: it does not start; nothing is tried again.
        """
        if self._child is not None:
            return
        await self._halt()
        self._restarts, self._is_stopped = Restarts(self._limits), False
        self._become("starting")
        try:
            self._take(await self._launch())
        except ZtmError as error:
            self._become("failed", str(error))
            raise UnreachableError(f"app {self._name} does not start: {error}") from error
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._is_stopped = True
        child, self._child = self._child, None
        await self._halt()
        if child is not None:
            await child.stop()
        self._become("stopped")

    async def _halt(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _take(self, child: Child) -> None:
        self._child, self._began = child, self._context.network.now()
        self._become("running")

    async def _watch(self) -> None:
        """Start it again whenever it ends, until it has failed."""
        while self._child is not None:
            reason = await self._child.ended()
            child, self._child = self._child, None
            await child.kill()
            if not await self._revived(reason):
                return

    async def _revived(self, reason: str) -> bool:
        """Whether another process runs in place of the one that ended."""
        network = self._context.network
        ran = network.now() - self._began
        while True:
            delay = self._restarts.crashed(network.now(), ran)
            if delay is None:
                limits = self._limits
                many = f"it crashed {limits.crashes} times within {limits.crash_window / 60:g} minutes, last: {reason}"
                self._become("failed", many)
                self._context.log.error("the app is given up: %s", many)
                return False
            self._become("restarting", reason)
            self._context.log.error("the app crashed: %s; it starts again in %g s", reason, delay)
            await asyncio.sleep(delay)
            try:
                self._take(await self._launch())
            except ZtmError as error:
                reason, ran = str(error), 0.0
            else:
                return True

    def _become(self, state: str, reason: str = "") -> None:
        self.condition = Condition(state, reason, self._restarts.count, self._confinement)
        self._context.tell("process", self._name, state, reason)
        self.changed()
