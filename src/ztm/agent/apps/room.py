"""What one mesh has of apps: the host that runs them, the list of what there is, and what each is given.

It knows how the parts fit together, and does nothing of their work.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ztm.agent.apps import context
from ztm.agent.apps import packages as packaging
from ztm.agent.apps.context import MeshContext
from ztm.agent.apps.directory import Apps
from ztm.agent.apps.host import AppHost
from ztm.agent.apps.installation import Installations
from ztm.agent.apps.installed import Installed
from ztm.agent.apps.installer import Installer
from ztm.agent.apps.names import AppName
from ztm.agent.apps.packages import Packages
from ztm.agent.config import AgentConfig
from ztm.apps.base import App, AppContext, AppFactory, Neighbourly
from ztm.errors import NotFoundError
from ztm.net.asgi import PEER
from ztm.net.base import Headers
from ztm.net.http1 import Answer
from ztm.rest.inprocess import ask
from ztm.store.agent import AgentStore
from ztm.store.files import secure_directory


class RoomMesh(context.Meshlike, packaging.Meshlike, Protocol):
    """What the parts need of their mesh."""


class AppRoom:
    """The apps of one mesh."""

    def __init__(
        self,
        mesh: RoomMesh,
        directory: Path,
        config: AgentConfig,
        store: AgentStore,
        factories: Mapping[str, AppFactory],
    ) -> None:
        self._mesh = mesh
        self._directory = directory
        self._config = config
        self._store = store
        self.host = AppHost(mesh.name, lambda: mesh.user, store, mesh.network, factories, self._context)
        packages, installations = Packages(directory / "apps", mesh), Installations(directory / "apps")
        installer = Installer(self.host, packages, installations, self._process_app)
        self.apps = Apps(mesh.name, self.host, packages, installations, installer, store, lambda: mesh.user)

    def _context(self, provider: str, app: str, logger: "logging.LoggerAdapter[logging.Logger]") -> MeshContext:
        return MeshContext(self._mesh, self._store, self, provider, app, logger)

    def _process_app(self, installed: Installed) -> AppFactory:
        """What runs an installed app; imported when the first one is made, since many agents have none."""

        def make(context: AppContext) -> App:
            from ztm.agent.apps.process.app import process_app

            return process_app(installed, is_confined=not self._config.unconfined_apps)(context)

        return make

    async def ask(
        self, asker: AppName, provider: str, app: str, method: str, target: str, body: bytes, headers: Headers
    ) -> Answer:
        """Ask an app of this endpoint on behalf of another one.

        Raises:
            NotFoundError: there is none, or it answers no other app.
            UnreachableError: it is disabled, does not start, or waits for `asker` while it starts or stops.
        """

        async def answered(running: object) -> Answer:
            if not isinstance(running, Neighbourly):
                raise NotFoundError(f"app {provider}/{app} answers no other app")
            return await ask(running.self_api, method, target, body, extensions={PEER: None}, headers=headers)

        return await self.host.use(provider, app, answered, asker=asker)

    def directory_of(self, provider: str, app: str) -> Path:
        """An app's own directory, made if need be.

        Raises:
            StorageError: it cannot be made.
        """
        directory = self._directory / "appdata" / provider / app
        secure_directory(directory)
        return directory
