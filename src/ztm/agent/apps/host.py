"""The apps of one mesh that can run here: starting and stopping them, and handing them requests and streams.

An app that was running when the agent stopped runs again after it starts; one that was stopped starts again when its
owner uses it, and a disabled one does not. What is under way in an app ends with it. Which apps there are is told
from outside, as is how one is made. Source: spec app-framework 5.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from ztm.agent.apps.names import AppName
from ztm.agent.apps.uses import Uses
from ztm.agent.audit.peers import watched
from ztm.apps.base import App, AppContext, AppFactory, Condition, Draining, Measured, Supervised
from ztm.apps.catalog import PROVIDER
from ztm.errors import NotFoundError, UnreachableError, UsageError, ZtmError
from ztm.logs import LogRing
from ztm.model import Peer
from ztm.net.asgi import PEER, Receive, Scope, Send, serve_stream
from ztm.net.base import Network, SessionLimits
from ztm.net.scope import HttpLimits, Upgrade
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange, AppInfo, LogEntry, ProcessState

log = logging.getLogger("ztm.agent")

T = TypeVar("T")

LOG_LINES = 100
"""Of each app, in memory, as v1 keeps them."""


class StoppableContext(AppContext, Protocol):
    """A context that its maker can end."""

    async def close(self) -> None:
        """Stop all that the app spawned."""


ContextFactory = Callable[[str, str, logging.LoggerAdapter[logging.Logger]], StoppableContext]


@dataclass(slots=True)
class _Running:
    app: App
    context: StoppableContext
    uses: Uses


@dataclass(slots=True)
class _Slot:
    """One app: how it is made, what is wanted of it, and what runs of it."""

    name: AppName
    factory: AppFactory
    state: str
    """``running``, ``stopped``, ``disabled`` or empty: what is wanted, as on disk."""
    ring: LogRing
    running: _Running | None = None
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is started or stopped."""
    is_heard: bool = False
    """Whether it was ever started, so that it has a log."""

    @property
    def is_builtin(self) -> bool:
        return self.name.provider == PROVIDER


class AppHost:
    """Starts, stops and reaches the apps of one mesh."""

    def __init__(
        self,
        mesh: str,
        owner: Callable[[], str],
        store: AgentStore,
        network: Network,
        factories: Mapping[str, AppFactory],
        contexts: ContextFactory,
    ) -> None:
        self._mesh = mesh
        self._owner = owner
        self._store = store
        self._network = network
        self._contexts = contexts
        self._slots: dict[AppName, _Slot] = {}
        for name, factory in factories.items():
            self.add(AppName(PROVIDER, name), factory)

    # ------------------------------------------------------------------ what there is

    def add(self, name: AppName, factory: AppFactory) -> None:
        """Have one more app, in the state that was kept of it; one that is here already is made anew from now on."""
        slot = self._slots.get(name)
        if slot is not None:
            slot.factory = factory
            return
        wanted = {(row.provider, row.name, row.tag): row.state for row in self._store.apps(self._mesh)}
        state = wanted.get((name.provider, name.name, name.tag), "")
        self._slots[name] = _Slot(name, factory, state, LogRing(LOG_LINES))

    async def drop(self, name: AppName) -> None:
        """Stop an app, if there is such a one, and know it no longer; what was wanted of it is kept."""
        slot = self._slots.pop(name, None)
        if slot is not None:
            await self._stop(slot)
            self._unhear(slot)

    def apps(self) -> list[AppInfo]:
        """The built-in apps."""
        return [self._info(slot) for slot in self._slots.values() if slot.is_builtin]

    def has(self, provider: str, app: str) -> bool:
        """Whether that can run here."""
        return self._find(provider, app) is not None

    def app(self, provider: str, app: str) -> AppInfo:
        """One app, as far as it is known here.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._info(self._slot(provider, app))

    def _info(self, slot: _Slot) -> AppInfo:
        name = slot.name
        shown = AppInfo(
            name.provider,
            name.name,
            name.tag,
            is_builtin=slot.is_builtin,
            is_disabled=slot.state == "disabled",
            is_running=slot.running is not None,
            runtime="python",
        )
        app: object = slot.running.app if slot.running is not None else None
        return replace(shown, process=_process(app.condition)) if isinstance(app, Supervised) else shown

    def _find(self, provider: str | None, app: str) -> _Slot | None:
        try:
            return self._slots.get(AppName.parse(provider or PROVIDER, app))
        except UsageError:
            return None

    def _slot(self, provider: str | None, app: str) -> _Slot:
        slot = self._find(provider, app)
        if slot is None:
            raise NotFoundError(f"app not found: {provider + '/' if provider else ''}{app}")
        return slot

    def log_entries(self, provider: str, app: str) -> list[LogEntry] | None:
        """An app's last log lines; None if it was never started."""
        slot = self._slot(provider, app)
        return slot.ring.entries() if slot.is_heard else None

    def figures(self) -> dict[str, Mapping[str, float]]:
        """What the running apps count, by app: its name, or for one by others ``provider/name[@tag]``."""
        found: dict[str, Mapping[str, float]] = {}
        for name, slot in self._slots.items():
            app: object = slot.running.app if slot.running is not None else None
            if isinstance(app, Measured):
                found[name.name if slot.is_builtin else str(name)] = app.figures()
        return found

    # ------------------------------------------------------------------ starting and stopping

    async def start_wanted(self) -> None:
        """Start the apps that were running before; one that fails is logged and does not stop the others."""
        wanted = [slot for slot in self._slots.values() if slot.state == "running"]
        await asyncio.gather(*map(self._start_again, wanted))

    async def _start_again(self, slot: _Slot) -> None:
        try:
            await self._start(slot)
        except ZtmError as error:
            log.error("app %s of mesh %s does not start: %s", slot.name, self._mesh, error)

    async def start(self, provider: str, app: str) -> None:
        """Start an app, whatever its state was, and remember it; where it fails, its state is as before."""
        await self._start(self._slot(provider, app))

    async def _start(self, slot: _Slot, *, on_demand: bool = False) -> _Running:
        """Start it once, however many want it at the same time."""
        async with slot.changing:
            if slot.running is not None:
                return slot.running
            if on_demand and slot.state == "disabled":
                raise UnreachableError(f"Cannot start the app: {slot.name.app} is disabled")
            if self._slots.get(slot.name) is not slot:
                raise NotFoundError(f"app not found: {slot.name}")
            slot.running = await self._started(slot)
            self._remember(slot, "running")
            return slot.running

    async def _started(self, slot: _Slot) -> _Running:
        logger = self._logger(slot.name)
        if not slot.is_heard:
            logger.addHandler(slot.ring)
            slot.is_heard = True
        ids = {"ids": {"mesh": self._mesh, "app": f"{slot.name}"}}
        context = self._contexts(slot.name.provider, slot.name.app, logging.LoggerAdapter(logger, ids))
        app = slot.factory(context)
        try:
            await app.start()
        except BaseException:
            await context.close()
            raise
        return _Running(app, context, Uses(str(slot.name)))

    def _logger(self, name: AppName) -> logging.Logger:
        parts = (self._mesh, *((name.provider,) if name.provider != PROVIDER else ()), name.app)
        return logging.getLogger("ztm.app." + ".".join(part.replace(".", "_") for part in parts))

    def _unhear(self, slot: _Slot) -> None:
        if slot.is_heard:
            self._logger(slot.name).removeHandler(slot.ring)

    async def stop(self, provider: str, app: str, state: str = "stopped") -> None:
        """Stop an app with all that is under way in it, and remember it as `state`."""
        slot = self._slot(provider, app)
        await self._stop(slot)
        self._remember(slot, state)

    async def _stop(self, slot: _Slot) -> None:
        async with slot.changing:
            running, slot.running = slot.running, None
            if running is not None:
                await running.uses.end()
                try:
                    await running.app.stop()
                finally:
                    await running.context.close()

    async def drain(self) -> None:
        """Have the apps take no new clients, and return when they are done with those they have."""
        apps: list[object] = [slot.running.app for slot in self._slots.values() if slot.running is not None]
        await asyncio.gather(*(app.drain() for app in apps if isinstance(app, Draining)))

    async def close(self) -> None:
        """Stop all apps with all that is under way in them; those that ran will run again."""
        slots = list(self._slots.values())
        await asyncio.gather(*map(self._stop, slots))
        for slot in slots:
            self._unhear(slot)

    def _remember(self, slot: _Slot, state: str) -> None:
        if slot.state != state:
            name = slot.name
            self._store.save_app_state(self._mesh, name.provider, name.name, name.tag, self._owner(), state)
            slot.state = state

    async def change(self, provider: str, app: str, change: AppChange) -> None:
        """Do what a POST asks, disabling first, as v1 does (spec agent-api 8)."""
        slot = self._slot(provider, app)
        if change.is_disabled is True:
            await self.stop(provider, app, "disabled")
        elif change.is_disabled is False and slot.state == "disabled":
            self._remember(slot, "stopped")
        if change.is_running is True:
            await self.start(provider, app)
        elif change.is_running is False and slot.state != "disabled":
            await self.stop(provider, app)

    # ------------------------------------------------------------------ reaching

    async def running(self, provider: str, app: str) -> App:
        """An app for its owner's use; a stopped one is started.

        Raises:
            NotFoundError: there is no such app.
            UnreachableError: it is disabled.
            ZtmError: it does not start.
        """
        return (await self._ready(self._slot(provider, app))).app

    async def _ready(self, slot: _Slot) -> _Running:
        return slot.running or await self._start(slot, on_demand=True)

    async def use(self, provider: str, app: str, use: Callable[[App], Awaitable[T]]) -> T:
        """What `use` makes of an app for its owner; it is cut off when the app stops. A stopped app is started.

        Raises:
            StoppedError: the app was stopped meanwhile.
            ZtmError: as `running`.
        """

        async def used() -> T:
            return await use(running.app)

        running = await self._ready(self._slot(provider, app))
        return await running.uses.run(used())

    async def serve_user(self, provider: str, app: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Have an app answer the local user; a stopped one is started.

        Raises:
            StoppedError: the app was stopped before it had answered, or while a stream was open.
            ZtmError: as `running`.
        """
        running = await self._ready(self._slot(provider, app))
        await running.uses.serve(running.app.user_api, scope, receive, send)

    async def connect(self, provider: str | None, app: str, peer: Peer, upgrade: Upgrade) -> None:
        """Give a peer's stream to an app, until it is over. Only the owner's use starts a stopped app.

        Raises:
            NotFoundError: there is no such app, or it does not run and may not be started.
            StoppedError: it was stopped while the stream was open; whoever serves it cuts it.
        """
        slot = self._slot(provider, app)
        if slot.running is None and (peer.user != self._owner() or slot.state == "disabled"):
            raise NotFoundError(f"app {app} does not run here, and only user {self._owner()} may start it")
        running = await self._ready(slot)
        stream = upgrade.accept()
        served = serve_stream(
            self._network,
            stream,
            watched(running.app.peer_api, running.context.audit, peer, _ACTION[slot.is_builtin]),
            {PEER: peer},
            http_limits=_APP_HTTP,
            session_limits=_APP_SESSIONS,
        )
        await running.uses.run(served)


def _process(condition: Condition) -> ProcessState:
    return ProcessState(condition.state, condition.reason, condition.restarts, condition.confinement)


_APP_HTTP = HttpLimits(idle_seconds=0.0)
_ACTION = {True: "configure", False: "request"}
"""What a peer does by a request that changes something: of our own apps it is always their configuration."""
_APP_SESSIONS = SessionLimits(streams=256)
