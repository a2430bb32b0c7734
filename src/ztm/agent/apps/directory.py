"""All apps of one mesh as they are shown and managed: the built-in ones, installed ones, and packages in the mesh.

Nothing is ever installed because somebody uses its name: that takes an order with the package's digest and what its
owner grants it. Of v1's apps it is said plainly that they do not run here. Source: spec agent-api 8, app-framework 10.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from ztm.agent.apps.host import AppHost
from ztm.agent.apps.inspection import NOT_PYTHON, Inspected
from ztm.agent.apps.installation import Installations, check_consent
from ztm.agent.apps.installed import Installed
from ztm.agent.apps.names import AppName
from ztm.agent.apps.packages import Packages
from ztm.agent.files.content import Content
from ztm.agent.files.incoming import Incoming
from ztm.apps.base import AppFactory
from ztm.errors import ConflictError, ForbiddenError, NotFoundError, UnusableError, UsageError, ZtmError
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange, AppInfo, Consent, LogEntry

log = logging.getLogger("ztm.agent")

MakeFactory = Callable[[Installed], AppFactory]
"""What runs an installed app."""


class Apps:
    """What there is, and what may become of it."""

    def __init__(
        self,
        mesh: str,
        host: AppHost,
        packages: Packages,
        installations: Installations,
        store: AgentStore,
        owner: Callable[[], str],
        make: MakeFactory,
    ) -> None:
        self._mesh = mesh
        self._host = host
        self._packages = packages
        self._installations = installations
        self._store = store
        self._owner = owner
        self._make = make
        self._changing = asyncio.Lock()
        rows = store.apps(mesh)
        self._disabled = {AppName(row.provider, row.name, row.tag) for row in rows if row.state == "disabled"}
        for app in installations.names():
            self._take_up(app)

    def _take_up(self, app: AppName) -> None:
        found = self._installations.find(app)
        if found is not None:
            self._host.add(app, self._make(found))

    # ------------------------------------------------------------------ what there is

    def all(self) -> list[AppInfo]:
        """Installed and published apps, then the built-in ones."""
        others = {*self._installations.names(), *self._packages.published()}
        found = [self._info(app) for app in sorted(others) if not _is_builtin(self._host, app)]
        return [*found, *self._host.apps()]

    def published(self) -> list[AppName]:
        """Packages in the mesh."""
        return self._packages.published()

    def installed(self, provider: str, app: str) -> Installed | None:
        """An app by others that is installed here and can run; None for any other name."""
        try:
            return self._installations.find(AppName.parse(provider, app))
        except UsageError:
            return None

    def one(self, provider: str, app: str) -> AppInfo:
        """One app.

        Raises:
            NotFoundError: it is neither built in, nor installed, nor published.
        """
        name = AppName.parse(provider, app)
        if _is_builtin(self._host, name):
            return self._host.app(provider, app)
        if not self._installations.has(name) and name not in self._packages.published():
            raise NotFoundError(f"app not found: {name}")
        return self._info(name)

    def _info(self, app: AppName) -> AppInfo:
        found = self._installations.find(app)
        shown = AppInfo(app.provider, app.name, app.tag, is_disabled=app in self._disabled, runtime=self._runtime(app))
        if found is not None:
            record = self._installations.record(app)
            shown = replace(
                self._host.app(app.provider, app.app),
                version=found.manifest.version,
                title=found.manifest.title,
                permissions=found.manifest.permissions,
                digest=found.digest,
                previous=record.previous.version if record and record.previous else "",
            )
        is_downloaded, is_published = self._installations.has(app), app in self._packages.published()
        return replace(shown, is_downloaded=is_downloaded, is_published=is_published)

    def _runtime(self, app: AppName) -> str:
        """What runs it, of one that is not installed as ours are: v1's, unless it is known to be another."""
        folder = self._installations.folder(app)
        is_theirs = any((folder / name).is_file() for name in ("main.js", "main.ztm.js"))
        return "pipyjs" if is_theirs else self._packages.runtime(app)

    def check_runs(self, provider: str, app: str) -> None:
        """Return if the app is one that can be started here.

        Raises:
            NotFoundError: there is no such app, or it is only published.
            UnusableError: it is v1's.
        """
        if self._host.has(provider, app):
            return
        shown = self.one(provider, app)
        name = AppName(shown.provider, shown.name, shown.tag)
        if shown.runtime == "pipyjs":
            raise UnusableError(NOT_PYTHON.format(name))
        if shown.is_downloaded:
            raise UnusableError(f"what is installed of app {name} is damaged: install it again")
        raise NotFoundError(f"app {name} is not installed here, only published: 'ztm download app {name}' installs it")

    def log_entries(self, provider: str, app: str) -> list[LogEntry]:
        """An app's last log lines.

        Raises:
            NotFoundError: there is no such app, or it was never started since the agent was.
        """
        self.one(provider, app)
        entries = self._host.log_entries(provider, app) if self._host.has(provider, app) else None
        if entries is None:
            raise NotFoundError(f"app {provider}/{app} has no log: it was not started since the agent was")
        return entries

    # ------------------------------------------------------------------ changing

    async def change(self, provider: str, app: str, change: AppChange) -> None:
        """Do what a POST asks, in v1's order: install what is consented to, then disable, run and publish.

        Raises:
            NotFoundError: there is no such app, or nothing of it is published that could be taken back.
            ConflictError: there is nothing to pack, or nothing to go back to.
            ForbiddenError: only another user may publish it, or its owner did not consent to it.
            UnusableError: it cannot run here.
            ZtmError: it could not be fetched, stored or started.
        """
        name = AppName.parse(provider, app)
        if _is_builtin(self._host, name):
            if change.is_published is not None or change.consent is not None or change.is_rolled_back:
                raise ConflictError(f"No files to pack: app {app} is built in, and is neither installed nor published")
            await self._host.change(provider, app, change)
            return
        await self._bring(name, change)
        if self._host.has(provider, app):
            await self._host.change(provider, app, change)
        elif change.is_running is True:
            self.check_runs(provider, app)
        if change.is_disabled is not None:
            self._disable(name, change.is_disabled and change.is_running is not True)
        if change.is_published is True:
            await self._publish(name)
        elif change.is_published is False:
            await self._packages.unpublish(name)

    async def _bring(self, app: AppName, change: AppChange) -> None:
        """Install or roll back, where that is asked for.

        Raises:
            ForbiddenError: it would have to be installed, and its owner was not asked.
        """
        if change.consent is not None:
            package = await self._packages.fetch(app)
            await self.install(package, await self._packages.inspect(package, app), change.consent)
        elif change.is_rolled_back:
            await self.rollback(app)
        elif not self._installations.has(app) and change.is_published is None:
            package = await self._packages.fetch(app)
            await self._packages.inspect(package, app)
            raise ForbiddenError(
                f"app {app} is not installed here, and is not installed unasked: 'ztm download app {app}' shows what "
                "it asks for"
            )

    async def _publish(self, app: AppName) -> None:
        self._packages.check_own(app, "publish")
        if not self._installations.has(app):
            raise ConflictError(f"No files to pack: app {app} is not installed here")
        found = self._installations.find(app)
        async with self._changing:
            await self._packages.publish(app, found.folder if found is not None else self._installations.folder(app))

    def _disable(self, app: AppName, is_disabled: bool) -> None:
        if not self._host.has(app.provider, app.app):
            state = "disabled" if is_disabled else "stopped"
            self._store.save_app_state(self._mesh, app.provider, app.name, app.tag, self._owner(), state)
        (self._disabled.add if is_disabled else self._disabled.discard)(app)

    async def remove(self, provider: str, app: str) -> None:
        """Remove an installed app; a built-in one is only stopped, as v1 does.

        Raises:
            NotFoundError: it is neither.
            StorageError: the disk does not let it go.
        """
        name = AppName.parse(provider, app)
        if _is_builtin(self._host, name):
            await self._host.stop(provider, app)
            return
        async with self._changing:
            await self._host.drop(name)
            await asyncio.to_thread(self._installations.remove, name)

    # ------------------------------------------------------------------ packages

    async def install(self, package: Content, found: Inspected, consent: Consent) -> AppInfo:
        """Install what was inspected, in place of another version; an app that ran runs again, by the new one.

        Raises:
            ConflictError: it is not the package that was consented to.
            ForbiddenError: it asks for more than was granted.
            UnusableError: it could not run here.
            StorageError: the disk does not take it; what was installed is as before.
            ZtmError: the new version does not start; it is installed nevertheless.
        """
        app = found.app
        if found.digest != consent.digest:
            raise ConflictError(
                f"the package of app {app} is another one by now than was consented to: look at it again"
            )
        if found.problems:
            raise UnusableError(f"app {app} cannot run here: {'; '.join(found.problems)}")
        now = self._packages.now().isoformat(timespec="seconds")
        check_consent(found, consent.permissions, self._installations.record(app))
        async with self._changing:
            await asyncio.to_thread(self._installations.prepare, package, found)
            was_running = await self._halt(app)
            try:
                await asyncio.to_thread(self._installations.put, found, consent.permissions, now)
            finally:
                self._take_up(app)
            granted = ", ".join(found.manifest.permissions) or "nothing"
            log.info("installed app %s %s, digest %s, granted: %s", app, found.manifest.version, found.digest, granted)
            await self._go_on(app, was_running)
        return self.one(app.provider, app.app)

    async def rollback(self, app: AppName) -> AppInfo:
        """Go back to the version before; an app that ran runs again, by that one.

        Raises:
            NotFoundError: it is not installed.
            ConflictError: there is no other version.
            ZtmError: that version does not start, or the disk does not take the change.
        """
        async with self._changing:
            was_running = await self._halt(app)
            try:
                await asyncio.to_thread(self._installations.rollback, app)
            finally:
                self._take_up(app)
            await self._go_on(app, was_running)
        return self.one(app.provider, app.app)

    async def _halt(self, app: AppName) -> bool:
        """Stop an app for a while, without remembering that; whether it ran."""
        if not self._host.has(app.provider, app.app):
            return False
        was_running = self._host.app(app.provider, app.app).is_running
        await self._host.drop(app)
        return was_running

    async def _go_on(self, app: AppName, was_running: bool) -> None:
        if was_running:
            try:
                await self._host.start(app.provider, app.app)
            except ZtmError as error:
                error.message = f"app {app} is installed and does not start: {error.message}"
                raise

    async def inspect(self, package: Content, wanted: AppName | None = None) -> Inspected:
        """What a package is, proven.

        Raises:
            ZtmError: it is nothing to install here.
        """
        return await self._packages.inspect(package, wanted)

    async def inspect_published(self, app: AppName) -> Inspected:
        """What a package in the mesh is, proven.

        Raises:
            NotFoundError: nobody has published it.
            ZtmError: it cannot be fetched, or is nothing to install here.
        """
        return await self._packages.inspect(await self._packages.fetch(app), app)

    def new_permissions(self, found: Inspected) -> tuple[str, ...]:
        """What a package asks for beyond what is granted to the version that is here."""
        record = self._installations.record(found.app)
        granted = record.present.permissions if record is not None else ()
        return tuple(permission for permission in found.manifest.permissions if permission not in granted)

    def incoming(self) -> AbstractContextManager[Incoming]:
        """A package on its way in; see `Packages.incoming`."""
        return self._packages.incoming()

    async def signed(self, package: Content, tag: str = "") -> tuple[int, AsyncIterator[bytes]]:
        """The size and the pieces of the same package, signed by the own user.

        Raises:
            ZtmError: it is no package, or the own permit cannot be used.
        """
        return await self._packages.signed(package, tag)


def _is_builtin(host: AppHost, app: AppName) -> bool:
    return host.has(app.provider, app.app) and host.app(app.provider, app.app).is_builtin
