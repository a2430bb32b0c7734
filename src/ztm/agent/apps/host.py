"""The apps of one mesh that can run here: starting and stopping them, and handing them requests and streams.

An app that was running when the agent stopped runs again after it starts; one that was stopped starts again when its
owner uses it, and a disabled one does not. What is under way in an app ends with it. Which apps there are is told
from outside, as is how one is made. Source: spec app-framework 5.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from ztm.agent.apps.names import AppName
from ztm.agent.apps.questions import Questions
from ztm.agent.apps.serving import serve_peer
from ztm.agent.apps.slot import ContextFactory, Running, Slot
from ztm.apps.base import App, AppFactory, Draining, Measured
from ztm.apps.callers import is_owner
from ztm.apps.catalog import PROVIDER
from ztm.errors import NotFoundError, UsageError, ZtmError
from ztm.model import Peer
from ztm.net.base import Network
from ztm.net.scope import Receive, Scope, Send, Upgrade
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange, AppInfo, LogEntry

log = logging.getLogger("ztm.agent")

T = TypeVar("T")


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
        self._slots: dict[AppName, Slot] = {}
        self._questions = Questions()
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
        self._slots[name] = Slot(self._mesh, name, factory, self._contexts, state, self._save)

    def _save(self, name: AppName, state: str) -> None:
        self._store.save_app_state(self._mesh, name.provider, name.name, name.tag, self._owner(), state)

    async def drop(self, name: AppName) -> None:
        """Stop an app, if there is such a one, and know it no longer; what was wanted of it is kept."""
        slot = self._slots.pop(name, None)
        if slot is not None:
            await slot.end(f"app {name} is just being replaced or removed")

    def apps(self) -> list[AppInfo]:
        """The built-in apps."""
        return [slot.info() for slot in self._slots.values() if slot.is_builtin]

    def has(self, provider: str, app: str) -> bool:
        """Whether that can run here."""
        return self._find(provider, app) is not None

    def app(self, provider: str, app: str) -> AppInfo:
        """One app, as far as it is known here.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._slot(provider, app).info()

    def is_started(self, provider: str, app: str) -> bool:
        """Whether there is such an app that was started and not stopped since, even if its process has failed."""
        slot = self._find(provider, app)
        return slot is not None and slot.running is not None

    def _find(self, provider: str | None, app: str) -> Slot | None:
        try:
            return self._slots.get(AppName.parse(provider or PROVIDER, app))
        except UsageError:
            return None

    def _slot(self, provider: str | None, app: str) -> Slot:
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
        await self._all("start", {slot.name: slot.start() for slot in self._slots.values() if slot.state == "running"})

    async def _all(self, what: str, changes: Mapping[AppName, Awaitable[object]]) -> None:
        """Do the same with several apps; none is left out because another one fails, in whatever way."""
        outcomes = await asyncio.gather(*changes.values(), return_exceptions=True)
        for name, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Exception):
                details = None if isinstance(outcome, ZtmError) else outcome
                log.error("app %s of mesh %s does not %s: %s", name, self._mesh, what, outcome, exc_info=details)

    async def start(self, provider: str, app: str) -> None:
        """Start an app, whatever its state was, and remember it; where it fails, its state is as before.

        Raises:
            NotFoundError: there is no such app.
            ZtmError: it does not start, or is stopped meanwhile.
        """
        await self._slot(provider, app).start()

    async def stop(self, provider: str, app: str, state: str = "stopped") -> None:
        """Stop an app with all that is under way in it, and remember it as `state`; done even if the caller leaves.

        Raises:
            NotFoundError: there is no such app.
            StorageError: the disk does not take what is wanted of it; it is stopped nevertheless.
        """
        await self._slot(provider, app).stop(state)

    async def drain(self) -> None:
        """Have the apps take no new clients, and return when they are done with those they have."""
        apps: list[object] = [slot.running.app for slot in self._slots.values() if slot.running is not None]
        await asyncio.gather(*(app.drain() for app in apps if isinstance(app, Draining)))

    async def close(self) -> None:
        """Stop all apps with all that is under way in them, for good; those that ran will run again."""
        why = "the agent is leaving the mesh, or is stopping"
        await self._all("stop", {slot.name: slot.end(f"app {slot.name}: {why}") for slot in self._slots.values()})

    async def change(self, provider: str, app: str, change: AppChange) -> None:
        """Do what a POST asks, disabling first, as v1 does (spec agent-api 8).

        Raises:
            NotFoundError: there is no such app.
            ZtmError: it does not start, or the disk does not take the change.
        """
        slot = self._slot(provider, app)
        if change.is_disabled is True:
            await slot.stop("disabled")
        elif change.is_disabled is False and slot.state == "disabled":
            slot.remember("stopped")
        if change.is_running is True:
            await slot.start()
        elif change.is_running is False and slot.state != "disabled":
            await slot.stop("stopped")

    # ------------------------------------------------------------------ reaching

    async def running(self, provider: str, app: str) -> App:
        """An app for its owner's use; a stopped one is started.

        Raises:
            NotFoundError: there is no such app.
            UnreachableError: it is disabled.
            ZtmError: it does not start.
        """
        return (await self._slot(provider, app).ready()).app

    async def use(
        self, provider: str, app: str, use: Callable[[App], Awaitable[T]], *, asker: AppName | None = None
    ) -> T:
        """What `use` makes of an app for its owner; it is cut off when the app stops. A stopped app is started.

        `asker` is the app of this endpoint that waits for it.

        Raises:
            StoppedError: the app was stopped meanwhile.
            UnreachableError: it is disabled; or it is started or stopped just now, and `asker` is what it waits for.
            ZtmError: as `running`.
        """
        slot = self._slot(provider, app)

        async def used(running: Running) -> T:
            return await use(running.app)

        with self._asking(asker, slot):
            running = await slot.ready()
            return await running.uses.run(used(running))

    def _asking(self, asker: AppName | None, slot: Slot) -> AbstractContextManager[None]:
        if asker is None:
            return nullcontext()
        return self._questions.asking(asker, slot.name, is_changing=slot.is_changing)

    async def serve_user(self, provider: str, app: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Have an app answer the local user; a stopped one is started.

        Raises:
            StoppedError: the app was stopped before it had answered, or while a stream was open.
            ZtmError: as `running`.
        """
        running = await self._slot(provider, app).ready()
        await running.uses.serve(running.app.user_api, scope, receive, send)

    async def connect(self, provider: str | None, app: str, peer: Peer, upgrade: Upgrade) -> None:
        """Give a peer's stream to an app, until it is over. Only the owner's use starts a stopped app.

        Raises:
            NotFoundError: there is no such app, or it does not run and may not be started.
            StoppedError: it was stopped while the stream was open; whoever serves it cuts it.
        """
        slot = self._slot(provider, app)
        if slot.running is None and (not is_owner(self._owner(), peer) or slot.state == "disabled"):
            raise NotFoundError(f"app {app} does not run here, and only user {self._owner()} may start it")
        await serve_peer(self._network, await slot.ready(), peer, upgrade, is_ours=slot.is_builtin)
