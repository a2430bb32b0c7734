"""One app that can run here: at most one of it runs, and what changes that is finished, whoever waits or leaves.

However many use it while it does not run, it is started once, and all of them have the outcome of that. A stop cuts a
start short. Which apps there are, and who may start one, is decided elsewhere.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ztm.agent.apps.names import AppName
from ztm.agent.apps.uses import StoppedError, Uses
from ztm.apps.base import App, AppContext, AppFactory, Condition, Supervised
from ztm.apps.catalog import PROVIDER
from ztm.errors import UnreachableError
from ztm.logs import LogRing
from ztm.wire.records import AppInfo, ProcessState

T = TypeVar("T")

LOG_LINES = 100
"""Of each app, in memory, as v1 keeps them."""
_WELL = frozenset(("starting", "running"))
"""Conditions of a process that a start need not change."""


class StoppableContext(AppContext, Protocol):
    """A context that its maker can end."""

    async def close(self) -> None:
        """Stop all that the app spawned."""


ContextFactory = Callable[[str, str, logging.LoggerAdapter[logging.Logger]], StoppableContext]


@dataclass(frozen=True, slots=True)
class Running:
    """What runs of an app."""

    app: App
    context: StoppableContext
    uses: Uses

    @property
    def condition(self) -> Condition | None:
        """How its process is doing, if it has one of its own."""
        app: object = self.app
        return app.condition if isinstance(app, Supervised) else None


class Slot:
    """Where one app of one mesh runs. `state` is what was wanted of it last, `save` what keeps that."""

    def __init__(
        self,
        mesh: str,
        name: AppName,
        factory: AppFactory,
        contexts: ContextFactory,
        state: str,
        save: Callable[[AppName, str], None],
    ) -> None:
        self.name = name
        self.factory = factory
        """What makes it when it is started next."""
        self.state = state
        """``running``, ``stopped``, ``disabled`` or empty, as on disk."""
        self.running: Running | None = None
        self.ring = LogRing(LOG_LINES)
        self.is_heard = False
        """Whether it was ever started, so that it has a log."""
        self._contexts = contexts
        self._save = save
        self._ids = {"mesh": mesh, "app": f"{name}"}
        parts = (mesh, *(() if self.is_builtin else (name.provider,)), name.app)
        self._logger = logging.getLogger("ztm.app." + ".".join(part.replace(".", "_") for part in parts))
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[Any]] = set()
        self._starts: set[asyncio.Task[Running]] = set()
        self._first_use: asyncio.Task[Running] | None = None
        self._over = ""

    @property
    def is_builtin(self) -> bool:
        """Whether it is one of ours."""
        return self.name.provider == PROVIDER

    @property
    def is_changing(self) -> bool:
        """Whether it is started or stopped just now."""
        return self._changing.locked()

    def info(self) -> AppInfo:
        """What is known of it here; one whose process has failed for good is not said to run."""
        name, condition = self.name, self.running.condition if self.running is not None else None
        process = None
        if condition is not None:
            process = ProcessState(condition.state, condition.reason, condition.restarts, condition.confinement)
        return AppInfo(
            name.provider,
            name.name,
            name.tag,
            is_builtin=self.is_builtin,
            is_disabled=self.state == "disabled",
            is_running=self.running is not None and (condition is None or condition.state != "failed"),
            runtime="" if self.is_builtin else "python",
            process=process,
        )

    def remember(self, state: str) -> None:
        """Keep what is wanted of it.

        Raises:
            StorageError: the disk does not take it.
        """
        if self.state != state:
            self._save(self.name, state)
            self.state = state

    # ------------------------------------------------------------------ starting

    async def ready(self) -> Running:
        """What runs of it; it is started if need be, once for all who wait for that.

        Raises:
            UnreachableError: it is disabled, or gone.
            StoppedError: it was stopped meanwhile.
            ZtmError: it does not start.
        """
        if self.running is not None:
            return self.running
        if self._first_use is None or self._first_use.done():
            self._first_use = self._starting(self._start(on_demand=True))
        return await self._outcome(self._first_use)

    async def start(self) -> Running:
        """Start it, whatever its state was, and remember that; where it fails, its state is as before.

        One that runs is left alone, unless it has a process of its own that has failed or waits to be tried again.

        Raises:
            StoppedError: it was stopped meanwhile.
            ZtmError: it does not start, or is gone.
        """
        return await self._outcome(self._starting(self._start()))

    async def _start(self, *, on_demand: bool = False) -> Running:
        async with self._changing:
            if self._over:
                raise UnreachableError(self._over)
            if on_demand and self.running is None and self.state == "disabled":
                raise UnreachableError(f"Cannot start the app: {self.name.app} is disabled (see 'ztm enable app')")
            if self.running is None:
                self.running = await self._made()
            elif not on_demand and (condition := self.running.condition) and condition.state not in _WELL:
                await self.running.app.start()
            self.remember("running")
            return self.running

    async def _made(self) -> Running:
        if not self.is_heard:
            self._logger.addHandler(self.ring)
            self.is_heard = True
        log = logging.LoggerAdapter(self._logger, {"ids": self._ids})
        context = self._contexts(self.name.provider, self.name.app, log)
        try:
            app = self.factory(context)
            await app.start()
        except BaseException:
            await context.close()
            raise
        return Running(app, context, Uses(str(self.name)))

    # ------------------------------------------------------------------ stopping

    async def stop(self, state: str = "") -> None:
        """Stop it with all that is under way in it, but the caller itself; `state` is what is wanted from now on.

        Raises:
            StorageError: it is stopped, and the disk does not take that.
        """
        await self._outcome(self._change(self._stop(state, asyncio.current_task())))

    async def end(self, why: str) -> None:
        """Stop it for good; whoever wants it afterwards is told `why`."""
        self._over = why
        try:
            await self.stop()
        finally:
            if self.is_heard:
                self._logger.removeHandler(self.ring)

    async def _stop(self, state: str, caller: asyncio.Task[Any] | None) -> None:
        for task in self._starts:
            task.cancel()
        async with self._changing:
            running, self.running = self.running, None
            try:
                if running is not None:
                    await _stopped(running, caller)
            finally:
                if state:
                    self.remember(state)

    # ------------------------------------------------------------------ changes

    def _change(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this slot's own, so that nobody who leaves can undo half of it."""
        task = asyncio.get_running_loop().create_task(work)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return task

    def _starting(self, work: Coroutine[Any, Any, Running]) -> asyncio.Task[Running]:
        task = self._change(work)
        self._starts.add(task)
        task.add_done_callback(self._starts.discard)
        return task

    async def _outcome(self, task: asyncio.Task[T]) -> T:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if not task.cancelled() or (own is not None and own.cancelling()):
                raise
            raise StoppedError(f"app {self.name} was stopped") from None


async def _stopped(running: Running, caller: asyncio.Task[Any] | None) -> None:
    try:
        await running.uses.end(caller)
        await running.app.stop()
    finally:
        await running.context.close()
