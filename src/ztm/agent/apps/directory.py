"""All apps of one mesh as they are shown and managed: the built-in ones, installed ones, and packages in the mesh.

Only built-in apps are run; of the others it is said plainly that they are not. Source: spec agent-api 8.
"""

from collections.abc import Callable

from ztm.agent.apps.host import AppHost
from ztm.agent.apps.packages import AppName, Packages
from ztm.errors import ConflictError, NotFoundError, UnreachableError
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange, AppInfo, LogEntry


class Apps:
    """What there is, and what may become of it."""

    def __init__(
        self, mesh: str, host: AppHost, packages: Packages, store: AgentStore, owner: Callable[[], str]
    ) -> None:
        self._mesh = mesh
        self._host = host
        self._packages = packages
        self._store = store
        self._owner = owner
        rows = store.apps(mesh)
        self._disabled = {AppName(row.provider, row.name, row.tag) for row in rows if row.state == "disabled"}

    # ------------------------------------------------------------------ what there is

    def all(self) -> list[AppInfo]:
        """Installed and published apps, then the built-in ones."""
        installed, published = set(self._packages.installed()), set(self._packages.published())
        others = [self._info(app, app in installed, app in published) for app in sorted(installed | published)]
        return [*(app for app in others if not self._host.has(app.provider, app.name)), *self._host.apps()]

    def published(self) -> list[AppName]:
        """Packages in the mesh."""
        return self._packages.published()

    def one(self, provider: str, app: str) -> AppInfo:
        """One app.

        Raises:
            NotFoundError: it is neither built in, nor installed, nor published.
        """
        if self._host.has(provider, app):
            return self._host.app(provider, app)
        name = AppName.parse(provider, app)
        is_installed, is_published = name in self._packages.installed(), name in self._packages.published()
        if not (is_installed or is_published):
            raise NotFoundError(f"app not found: {name}")
        return self._info(name, is_installed, is_published)

    def _info(self, app: AppName, is_installed: bool, is_published: bool) -> AppInfo:
        return AppInfo(
            app.provider,
            app.name,
            app.tag,
            is_downloaded=is_installed,
            is_published=is_published,
            is_disabled=app in self._disabled,
        )

    def check_runs(self, provider: str, app: str) -> None:
        """Return if the app is one that can be started here.

        Raises:
            NotFoundError: there is no such app.
            UnreachableError: it is not a built-in one.
        """
        if not self._host.has(provider, app):
            self.one(provider, app)
            raise UnreachableError(f"Cannot start the app: {provider}/{app} is not built in, and no other apps are run")

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
        """Do what a POST asks, in v1's order: install what is not here, then disable, run and publish.

        Raises:
            NotFoundError: there is no such app, or nothing of it is published that could be taken back.
            ConflictError: it cannot be run, or there is nothing to pack.
            ForbiddenError: only another user may publish it.
            ZtmError: it could not be fetched, stored or started.
        """
        if self._host.has(provider, app):
            if change.is_published is not None:
                raise ConflictError(f"No files to pack: app {app} is built in, and is neither published nor taken back")
            await self._host.change(provider, app, change)
        else:
            await self._change(AppName.parse(provider, app), change)

    async def _change(self, app: AppName, change: AppChange) -> None:
        is_withdrawn = change == AppChange(is_published=False)
        if app not in self._packages.installed() and not is_withdrawn and change.is_published is not True:
            await self._packages.install(app)
        if change.is_disabled is not None:
            self._disable(app, change.is_disabled)
        if change.is_running is True:
            raise ConflictError(f"app {app} cannot be started: this agent runs its built-in apps only")
        if change.is_published is True:
            await self._packages.publish(app)
        elif change.is_published is False:
            await self._packages.unpublish(app)

    def _disable(self, app: AppName, is_disabled: bool) -> None:
        state = "disabled" if is_disabled else "stopped"
        self._store.save_app_state(self._mesh, app.provider, app.name, app.tag, self._owner(), state)
        (self._disabled.add if is_disabled else self._disabled.discard)(app)

    async def remove(self, provider: str, app: str) -> None:
        """Remove an installed app; a built-in one is only stopped, as v1 does.

        Raises:
            NotFoundError: it is neither.
            StorageError: the disk does not let it go.
        """
        if self._host.has(provider, app):
            await self._host.stop(provider, app)
        else:
            await self._packages.remove(AppName.parse(provider, app))
