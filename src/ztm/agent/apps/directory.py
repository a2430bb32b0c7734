"""All apps of one mesh as they are shown and managed: the built-in ones, installed ones, and packages in the mesh.

Nothing is ever installed because somebody uses its name: that takes an order with the package's digest and what its
owner grants it. Of v1's apps it is said plainly that they do not run here. Source: spec agent-api 8, app-framework 10.
"""

from collections.abc import Callable
from dataclasses import replace

from ztm.agent.apps.host import AppHost
from ztm.agent.apps.inspection import NOT_PYTHON, Inspected
from ztm.agent.apps.installation import Installations
from ztm.agent.apps.installed import Installed
from ztm.agent.apps.installer import Installer
from ztm.agent.apps.names import AppName
from ztm.agent.apps.packages import Packages
from ztm.errors import ConflictError, ForbiddenError, NotFoundError, UnusableError, UsageError
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange, AppInfo, LogEntry


class Apps:
    """What there is, and what may become of it."""

    def __init__(
        self,
        mesh: str,
        host: AppHost,
        packages: Packages,
        installations: Installations,
        installer: Installer,
        store: AgentStore,
        owner: Callable[[], str],
    ) -> None:
        self._mesh = mesh
        self._host = host
        self.packages = packages
        """Those in the mesh, and those that somebody brings."""
        self.installer = installer
        """What puts them in and out of use."""
        self._installations = installations
        self._store = store
        self._owner = owner
        rows = store.apps(mesh)
        self._disabled = {AppName(row.provider, row.name, row.tag) for row in rows if row.state == "disabled"}

    # ------------------------------------------------------------------ what there is

    def all(self) -> list[AppInfo]:
        """Installed and published apps, then the built-in ones."""
        others = {*self._installations.names(), *self.packages.published()}
        found = [self._info(app) for app in sorted(others) if not _is_builtin(self._host, app)]
        return [*found, *self._host.apps()]

    def published(self) -> list[AppName]:
        """Packages in the mesh."""
        return self.packages.published()

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
        if not self._installations.has(name) and name not in self.packages.published():
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
                is_development=record is not None and record.present.development,
            )
        is_downloaded, is_published = self._installations.has(app), app in self.packages.published()
        return replace(shown, is_downloaded=is_downloaded, is_published=is_published)

    def _runtime(self, app: AppName) -> str:
        """What runs it, of one that is not installed as ours are: v1's, unless it is known to be another."""
        folder = self._installations.folder(app)
        is_theirs = any((folder / name).is_file() for name in ("main.js", "main.ztm.js"))
        return "pipyjs" if is_theirs else self.packages.runtime(app)

    def new_permissions(self, found: Inspected) -> tuple[str, ...]:
        """What a package asks for beyond what is granted to the version that is here."""
        record = self._installations.record(found.app)
        lasting = record.lasting if record is not None else None
        granted = lasting.permissions if lasting is not None else ()
        return tuple(permission for permission in found.manifest.permissions if permission not in granted)

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
            await self.installer.publish(name)
        elif change.is_published is False:
            await self.packages.unpublish(name)

    async def _bring(self, app: AppName, change: AppChange) -> None:
        """Install or roll back, where that is asked for.

        Raises:
            ForbiddenError: it would have to be installed, and its owner was not asked.
        """
        if change.consent is not None:
            package = await self.packages.fetch(app)
            await self.installer.install(package, await self.packages.inspect(package, app), change.consent)
        elif change.is_rolled_back:
            await self.installer.rollback(app)
        elif not self._installations.has(app) and change.is_published is None:
            await self.packages.inspect_published(app)
            raise ForbiddenError(
                f"app {app} is not installed here, and is not installed unasked: 'ztm download app {app}' shows what "
                "it asks for"
            )

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
        else:
            await self.installer.remove(name)


def _is_builtin(host: AppHost, app: AppName) -> bool:
    return host.has(app.provider, app.app) and host.app(app.provider, app.app).is_builtin
