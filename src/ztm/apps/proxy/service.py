"""The proxy of one endpoint: its configuration, kept on disk and published, and what is done as it says.

A change is validated, its port is bound, it is saved, and only then acknowledged; what it replaces ends after that.
It opens no port itself, and knows nothing of HTTP.

Source: spec apps-network 2.6 and 7 rule 6.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from ztm.apps.base import AppContext
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.exit import Exit
from ztm.apps.proxy.forms import ConfigBody, ConfigShown, ExitShown, OfferForm
from ztm.apps.proxy.groups import Groups
from ztm.apps.proxy.here import OwnExit
from ztm.apps.proxy.hosts import Host
from ztm.apps.proxy.listening import Listening
from ztm.apps.proxy.model import Config
from ztm.apps.proxy.offers import Offer, share_path
from ztm.apps.proxy.route import Route
from ztm.apps.proxy.stored import read_config, write_config
from ztm.apps.proxy.views import offered, shown
from ztm.apps.revision import Revision
from ztm.apps.streams.limits import StreamLimits
from ztm.errors import StorageError

if TYPE_CHECKING:
    from ztm.apps.proxy.interception.intercept import Interceptor

CONFIG = "config.json"
LOG_SECONDS = 2.0
"""For requests that wait to be logged when the app stops."""
STOPS = "the proxy app stops"


class Proxy:
    """The proxy of this endpoint."""

    def __init__(self, context: AppContext, limits: StreamLimits, door_limits: DoorLimits) -> None:
        self._context = context
        self.config = Config()
        self._groups = Groups(context, self._members_changed)
        self.exit = Exit(context, limits, self._groups.members)
        self.route = Route(context, limits, self._serves, OwnExit(context, self.exit).ask)
        self._listening = Listening(context, self.route, door_limits, limits.retry_seconds, self.exit.faults.note)
        self._changing = asyncio.Lock()
        self._revision = Revision()
        self._is_running = False

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Take up what is stored.

        Raises:
            StorageError: it cannot be read; nothing was started.
        """
        data = self._context.files.read_local(CONFIG)
        config = read_config(data) if data else Config()
        self._is_running = True
        async with self._changing:
            apply = self._prepared(config)
            await self._listening.bind(config)
            await self._apply(config, apply)
        self._context.files.on_change(self._files_changed)
        try:
            self._publish(config)
        except StorageError as error:
            self._context.log.error("%s", error)

    async def drain(self) -> None:
        """Listen no more, and return when what clients have asked for is done."""
        self._is_running = False
        await self._listening.drain()

    async def stop(self) -> None:
        """Stop listening, and cut all that is under way."""
        self._is_running = False
        async with self._changing:
            await self._listening.stop(STOPS)
            self.exit.close(STOPS)
            self.route.offers.stop()
            await self._groups.need(False)
            await self.exit.book.emptied(LOG_SECONDS)

    # ------------------------------------------------------------------ changes

    async def change(self, body: ConfigBody) -> None:
        """Be what `body` says from now on, and cut what that no longer allows.

        Raises:
            UsageError: it is malformed; nothing changed.
            ConflictError: it was made from another state than the present one; nothing changed.
            CertificateError: certificates were asked for, and the authority that is stored is damaged.
            StorageError: it could not be saved, and nothing changed; or it could not be published, which is said.
        """
        async with self._changing:
            self._revision.check(body.revision)
            config = body.record(self.config)
            apply = self._prepared(config)
            added = await self._listening.bind(config)
            try:
                self._context.files.write_local(CONFIG, write_config(config))
            except StorageError:
                await self._listening.unbind(added, "the change could not be saved")
                raise
            self._revision.advance()
            await self._apply(config, apply)
            self._context.log.info(
                "the proxy is to listen %s, and is an exit for %d targets",
                f"on {config.listen}" if config.listen else "nowhere",
                len(config.targets.entries),
            )
            self._publish(config)

    def _prepared(self, config: Config) -> Callable[[], None]:
        """Make all that may fail; what is returned puts it in place, and does not."""
        interceptor = self._interceptor(config)
        self.exit.book.check(config.log, config.origin_ca)

        def apply() -> None:
            self.exit.interceptor = interceptor
            self.exit.book.change(config.log, config.origin_ca)

        return apply

    def _interceptor(self, config: Config) -> "Interceptor | None":
        if not (config.origin_ca or config.generate_cert):
            return None  # an exit that opens no TLS need not load what does
        from ztm.apps.proxy.interception.origins import Origins

        origins = Origins(config.origin_ca)
        if config.origin_ca:
            origins.check()
        if not config.generate_cert:
            return None
        from ztm.apps.proxy.interception.intercept import Interceptor
        from ztm.apps.proxy.interception.mint import Mint

        return Interceptor(Mint(self._context), origins)

    async def _apply(self, config: Config, apply: Callable[[], None]) -> None:
        self.config = config
        apply()
        self.exit.change(config)
        self._listening.admit(config.credentials)
        await self._groups.need(any(rule.groups for rule in config.rules))
        self.route.trust(config.from_users)
        await self._listening.keep(config)

    def _serves(self, host: Host) -> bool:
        return self.config.serves(host)

    def _members_changed(self) -> None:
        self.exit.judge_again()

    def _files_changed(self) -> None:
        if self._is_running:
            self.route.refresh()

    # ------------------------------------------------------------------ in the mesh

    def _publish(self, config: Config) -> None:
        """Tell the mesh what this exit serves, or that there is none any more."""
        path = share_path(self._context.place.id)
        try:
            if config.targets:
                self._context.files.share(path, msgspec.json.encode(offered(config)))
            else:
                self._context.files.unshare(path)
        except StorageError as error:
            raise StorageError(f"the proxy's configuration is saved, but cannot be published: {error}") from error

    # ------------------------------------------------------------------ shown

    def shown(self) -> ConfigShown:
        """All of it, for its owner."""
        made = shown(self.config)
        made.revision = str(self._revision)
        made.listening = self._listening.shown()
        made.traffic = self.exit.traffic.shown()
        made.lastError = self.exit.faults.last or UNSET
        return made

    def offered(self) -> OfferForm:
        """What every peer may ask for: targets and exclusions, and nothing else."""
        return OfferForm(list(self.config.targets.entries), list(self.config.exclusions.entries))

    def exits(self) -> list[ExitShown]:
        """The exits that this endpoint's clients are led through."""
        config, context = self.config, self._context
        own = Offer(context.user, context.place.id, config.targets, config.exclusions, config.users)
        return self.route.shown(own if config.targets else None)
