"""Putting apps by others in and out of use: install, go back a version, remove; what ran runs again afterwards.

One change at a time. Nothing is installed but the very package that its owner consented to, with no more than was
granted. Source: spec app-framework 10.3 and 10.4.
"""

import asyncio
import logging
from collections.abc import Callable

from ztm.agent.apps.consents import check_consent
from ztm.agent.apps.host import AppHost
from ztm.agent.apps.inspection import Inspected
from ztm.agent.apps.installation import Installations
from ztm.agent.apps.installed import Installed
from ztm.agent.apps.names import AppName
from ztm.agent.apps.packages import Packages
from ztm.agent.files.content import Content
from ztm.apps.base import AppFactory
from ztm.errors import ConflictError, UnusableError, ZtmError
from ztm.wire.records import Consent

log = logging.getLogger("ztm.agent")

MakeFactory = Callable[[Installed], AppFactory]
"""What runs an installed app."""


class Installer:
    """Changes what is installed, and tells the host."""

    def __init__(self, host: AppHost, packages: Packages, installations: Installations, make: MakeFactory) -> None:
        self._host = host
        self._packages = packages
        self._installations = installations
        self._make = make
        self._changing = asyncio.Lock()
        for app in installations.names():
            self._take_up(app)

    def _take_up(self, app: AppName) -> None:
        found = self._installations.find(app)
        if found is not None:
            self._host.add(app, self._make(found))

    async def remove(self, app: AppName) -> None:
        """Stop an installed app and remove all its files.

        Raises:
            NotFoundError: it is not installed.
            StorageError: the disk does not let it go.
        """
        async with self._changing:
            await self._host.drop(app)
            await asyncio.to_thread(self._installations.remove, app)

    async def install(self, package: Content, found: Inspected, consent: Consent) -> None:
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
        check_consent(found, consent.permissions, self._installations.record(app))
        async with self._changing:
            await asyncio.to_thread(self._installations.prepare, package, found)
            was_started = await self._halt(app)
            try:
                await self._put(found, consent)
            finally:
                self._take_up(app)
            await self._go_on(app, was_started)

    async def _put(self, found: Inspected, consent: Consent) -> None:
        now, manifest, what = self._packages.now(), found.manifest, "for development" if consent.is_development else ""
        await asyncio.to_thread(
            self._installations.put,
            found,
            consent.permissions,
            now.isoformat(timespec="seconds"),
            is_development=consent.is_development,
        )
        granted = ", ".join(manifest.permissions) or "nothing"
        named = f"{found.app} {manifest.version} {what}".rstrip()
        log.info("installed app %s, digest %s, granted: %s", named, found.digest, granted)

    async def rollback(self, app: AppName) -> None:
        """Go back to the version before; an app that ran runs again, by that one.

        Raises:
            NotFoundError: it is not installed.
            ConflictError: there is no other version.
            ZtmError: that version does not start, or the disk does not take the change.
        """
        async with self._changing:
            was_started = await self._halt(app)
            try:
                await asyncio.to_thread(self._installations.rollback, app)
            finally:
                self._take_up(app)
            await self._go_on(app, was_started)

    async def publish(self, app: AppName) -> None:
        """Give the mesh the app as it is installed here.

        Raises:
            ForbiddenError: it is another user's.
            ConflictError: it is not installed here.
            ZtmError: it cannot be stored, or the hub does not take it.
        """
        self._packages.check_own(app, "publish")
        if not self._installations.has(app):
            raise ConflictError(f"No files to pack: app {app} is not installed here")
        found = self._installations.find(app)
        async with self._changing:
            await self._packages.publish(app, found.folder if found is not None else self._installations.folder(app))

    async def _halt(self, app: AppName) -> bool:
        """Stop an app for a while, without remembering that; whether it was started, even if it failed since."""
        was_started = self._host.is_started(app.provider, app.app)
        await self._host.drop(app)
        return was_started

    async def _go_on(self, app: AppName, was_started: bool) -> None:
        if was_started:
            try:
                await self._host.start(app.provider, app.app)
            except ZtmError as error:
                error.message = f"app {app} is installed and does not start: {error.message}"
                raise
