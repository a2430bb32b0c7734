"""The apps of one mesh: which there are, which run, and streams handed to them.

Only built-in apps so far. An app that was running when the agent stopped runs again after it starts; one that
was stopped starts again when its owner uses it, and a disabled one does not.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ztm.apps.base import App, AppContext, AppFactory, Draining, Measured
from ztm.apps.catalog import PROVIDER
from ztm.errors import NotFoundError, UnreachableError, ZtmError
from ztm.logs import LogRing
from ztm.model import Peer
from ztm.net.asgi import PEER, ASGIApp, serve_stream
from ztm.net.base import Network, SessionLimits
from ztm.net.scope import HttpLimits, Upgrade
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange, AppInfo, LogEntry

log = logging.getLogger("ztm.agent")


@dataclass(slots=True)
class _Slot:
    state: str
    """``running``, ``stopped``, ``disabled`` or empty: what is wanted, as on disk."""
    app: App | None = None
    context: "StoppableContext | None" = None
    ring: LogRing | None = None


class StoppableContext(AppContext, Protocol):
    """A context that its maker can end."""

    async def close(self) -> None:
        """Stop all that the app spawned."""


ContextFactory = Callable[[str, str, logging.LoggerAdapter[logging.Logger]], StoppableContext]


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
        self._factories = factories
        self._contexts = contexts
        wanted = {(row.provider, row.name): row.state for row in store.apps(mesh)}
        self._slots = {name: _Slot(wanted.get((PROVIDER, name), "")) for name in factories}

    # ------------------------------------------------------------------ what there is

    def apps(self) -> list[AppInfo]:
        """All apps."""
        return [self._info(name, slot) for name, slot in self._slots.items()]

    def has(self, provider: str, name: str) -> bool:
        """Whether that is a built-in app."""
        return provider == PROVIDER and name in self._slots

    def app(self, provider: str, name: str) -> AppInfo:
        """One app.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._info(name, self._slot(provider, name))

    def _info(self, name: str, slot: _Slot) -> AppInfo:
        return AppInfo(
            PROVIDER, name, is_builtin=True, is_disabled=slot.state == "disabled", is_running=slot.app is not None
        )

    def _slot(self, provider: str | None, name: str) -> _Slot:
        slot = self._slots.get(name) if provider in (None, PROVIDER) else None
        if slot is None:
            raise NotFoundError(f"app not found: {provider + '/' if provider else ''}{name}")
        return slot

    def log_entries(self, provider: str, name: str) -> list[LogEntry] | None:
        """An app's last log lines; None if it was never started."""
        ring = self._slot(provider, name).ring
        return ring.entries() if ring is not None else None

    def figures(self) -> dict[str, Mapping[str, float]]:
        """What the running apps count, by app."""
        found: dict[str, Mapping[str, float]] = {}
        for name, slot in self._slots.items():
            app: object = slot.app
            if isinstance(app, Measured):
                found[name] = app.figures()
        return found

    # ------------------------------------------------------------------ starting and stopping

    async def start_wanted(self) -> None:
        """Start the apps that were running before; one that fails is logged and does not stop the others."""
        for name, slot in self._slots.items():
            if slot.state == "running":
                try:
                    await self._start(name, slot)
                except ZtmError as error:
                    log.error("app %s of mesh %s does not start: %s", name, self._mesh, error)

    async def start(self, provider: str, name: str) -> None:
        """Start an app, whatever its state was, and remember it."""
        await self._start(name, self._slot(provider, name))

    async def _start(self, name: str, slot: _Slot) -> None:
        if slot.app is not None:
            return
        logger = self._logger(name)
        if slot.ring is None:
            slot.ring = LogRing(100)
            logger.addHandler(slot.ring)
        context = self._contexts(PROVIDER, name, logging.LoggerAdapter(logger, self._ids(name)))
        app = self._factories[name](context)
        slot.app, slot.context = app, context
        try:
            await app.start()
        except BaseException:
            slot.app = slot.context = None
            await context.close()
            raise
        self._remember(name, slot, "running")

    def _ids(self, name: str) -> dict[str, dict[str, str]]:
        return {"ids": {"mesh": self._mesh, "app": f"{PROVIDER}/{name}"}}

    def _logger(self, name: str) -> logging.Logger:
        return logging.getLogger(f"ztm.app.{self._mesh.replace('.', '_')}.{name}")

    async def stop(self, provider: str, name: str, state: str = "stopped") -> None:
        """Stop an app with all its streams, and remember it as `state`."""
        slot = self._slot(provider, name)
        await self._stop(slot)
        self._remember(name, slot, state)

    async def _stop(self, slot: _Slot) -> None:
        app, context = slot.app, slot.context
        slot.app = slot.context = None
        if app is not None:
            await app.stop()
        if context is not None:
            await context.close()

    async def drain(self) -> None:
        """Have the apps take no new clients, and return when they are done with those they have."""
        apps: list[object] = [slot.app for slot in self._slots.values()]
        await asyncio.gather(*(app.drain() for app in apps if isinstance(app, Draining)))

    async def close(self) -> None:
        """Stop all apps; those that ran will run again."""
        for name, slot in self._slots.items():
            await self._stop(slot)
            if slot.ring is not None:
                self._logger(name).removeHandler(slot.ring)

    def _remember(self, name: str, slot: _Slot, state: str) -> None:
        if slot.state != state:
            self._store.save_app_state(self._mesh, PROVIDER, name, "", self._owner(), state)
            slot.state = state

    async def change(self, provider: str, name: str, change: AppChange) -> None:
        """Do what a POST asks, disabling first, as v1 does (spec agent-api 8)."""
        slot = self._slot(provider, name)
        if change.is_disabled is True:
            await self.stop(provider, name, "disabled")
        elif change.is_disabled is False and slot.state == "disabled":
            self._remember(name, slot, "stopped")
        if change.is_running is True:
            await self.start(provider, name)
        elif change.is_running is False and slot.state != "disabled":
            await self.stop(provider, name)

    # ------------------------------------------------------------------ reaching

    async def user_api(self, provider: str, name: str) -> ASGIApp:
        """What serves the local user; a stopped app is started.

        Raises:
            ZtmError: as `running`.
        """
        return (await self.running(provider, name)).user_api

    async def running(self, provider: str, name: str) -> App:
        """An app for its owner's use; a stopped one is started.

        Raises:
            NotFoundError: there is no such app.
            UnreachableError: it is disabled.
        """
        return await self._ready(name, self._slot(provider, name))

    async def _ready(self, name: str, slot: _Slot) -> App:
        if slot.app is None:
            if slot.state == "disabled":
                raise UnreachableError(f"Cannot start the app: {name} is disabled")
            await self._start(name, slot)
        if slot.app is None:
            raise UnreachableError(f"Cannot start the app: {name}")
        return slot.app

    async def connect(self, provider: str | None, name: str, peer: Peer, upgrade: Upgrade) -> None:
        """Give a peer's stream to an app, until it is over. Only the owner's use starts a stopped app.

        Raises:
            NotFoundError: there is no such app, or it does not run and may not be started.
        """
        slot = self._slot(provider, name)
        if slot.app is None and (peer.user != self._owner() or slot.state == "disabled"):
            raise NotFoundError(f"app {name} does not run here, and only user {self._owner()} may start it")
        app = await self._ready(name, slot)
        await serve_stream(
            self._network,
            upgrade.accept(),
            app.peer_api,
            {PEER: peer},
            http_limits=_APP_HTTP,
            session_limits=_APP_SESSIONS,
        )


_APP_HTTP = HttpLimits(idle_seconds=0.0)
_APP_SESSIONS = SessionLimits(streams=256)
