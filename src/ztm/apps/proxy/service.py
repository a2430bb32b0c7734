"""The proxy of one endpoint: its configuration, kept on disk and published, its listening port, its exit.

A change is validated, its port is bound, it is saved, and only then acknowledged; what it replaces ends after that.
A port that cannot be had stays listed with its reason and is tried again (weakness P10). It knows nothing of HTTP.

Source: spec apps-network 2.6 and 7 rule 6.
"""

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import UNSET

from ztm.apps.base import AppContext
from ztm.apps.proxy.entry.door import Door
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.exit import Exit
from ztm.apps.proxy.forms import (
    ConfigBody,
    ConfigShown,
    ExitShown,
    OfferForm,
    offered,
    read_config,
    shown,
    write_config,
)
from ztm.apps.proxy.groups import Groups
from ztm.apps.proxy.here import OwnExit
from ztm.apps.proxy.hosts import Host
from ztm.apps.proxy.interception.intercept import Interceptor
from ztm.apps.proxy.interception.origins import Origins
from ztm.apps.proxy.model import Config
from ztm.apps.proxy.offers import Offer, share_path
from ztm.apps.proxy.route import Route
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.ports import Close, Ports
from ztm.errors import StorageError
from ztm.model import Address, Peer

CONFIG = "config.json"
LOG_SECONDS = 2.0
"""For requests that wait to be logged when the app stops."""
STOPS = "the proxy app stops"


class Proxy:
    """The proxy of this endpoint."""

    def __init__(self, context: AppContext, limits: StreamLimits, door_limits: DoorLimits) -> None:
        self._context = context
        self._limits = limits
        self._door_limits = door_limits
        self.config = Config()
        self._groups = Groups(context, self._members_changed)
        self.exit = Exit(context, limits, self._groups.members)
        self.route = Route(context, limits, self._serves, OwnExit(context, self.exit).ask)
        self._ports = Ports(self._open)
        self._doors: dict[Address, Door] = {}
        self._changing = asyncio.Lock()
        self._is_running = False
        self._is_retrying = False

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
            await self._bind(config)
            await self._apply(config, apply)
        self._context.files.on_change(self._files_changed)
        try:
            self._publish(config)
        except StorageError as error:
            self._context.log.error("%s", error)

    async def drain(self) -> None:
        """Listen no more, and return when what clients have asked for is done."""
        self._is_running = False
        async with self._changing:
            await self._ports.close(self._ports.addresses)
        await asyncio.gather(*(door.traffic.emptied() for door in self._doors.values()))

    async def stop(self) -> None:
        """Stop listening, and cut all that is under way."""
        self._is_running = False
        async with self._changing:
            await self._ports.close(self._ports.addresses)
            for door in list(self._doors.values()):
                await door.close(STOPS)
            self._doors.clear()
            self.exit.close(STOPS)
            self.route.offers.stop()
            await self._groups.need(False)
            await self.exit.book.emptied(LOG_SECONDS)

    # ------------------------------------------------------------------ changes

    async def change(self, body: ConfigBody) -> None:
        """Be what `body` says from now on, and cut what that no longer allows.

        Raises:
            UsageError: it is malformed; nothing changed.
            CertificateError: certificates were asked for, and the authority that is stored is damaged.
            StorageError: it could not be saved, and nothing changed; or it could not be published, which is said.
        """
        async with self._changing:
            config = body.record(self.config)
            apply = self._prepared(config)
            added = await self._bind(config)
            try:
                self._context.files.write_local(CONFIG, write_config(config))
            except StorageError:
                await self._unbind(added, "the change could not be saved")
                raise
            await self._apply(config, apply)
            self._context.log.info(
                "the proxy listens on %s and serves %d targets", config.listen, len(config.targets.entries)
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

    def _interceptor(self, config: Config) -> Interceptor | None:
        origins = Origins(config.origin_ca)
        if config.origin_ca:
            origins.check()
        if not config.generate_cert:
            return None
        from ztm.apps.proxy.interception.mint import Mint  # an exit that opens no TLS need not load it

        return Interceptor(Mint(self._context), origins)

    async def _bind(self, config: Config) -> list[Address]:
        added = await self._ports.open([config.listen] if config.listen else [])
        for one in self._ports.shown(added):
            if one.error is not UNSET:
                self.exit.faults.note(one.error)
        return added

    async def _unbind(self, addresses: list[Address], reason: str) -> None:
        await self._ports.close(addresses)
        for address in addresses:
            door = self._doors.pop(address, None)
            if door is not None:
                await door.close(reason)

    async def _apply(self, config: Config, apply: Callable[[], None]) -> None:
        self.config = config
        apply()
        self.exit.change(config)
        await self._groups.need(any(rule.groups for rule in config.rules))
        self.route.trust(config.from_users)
        for door in self._doors.values():
            door.allow(config.credentials)
            door.renew()
        await self._unbind([one for one in self._ports.addresses if one != config.listen], "no longer listening")
        self._retry_later()
        self._tell()

    def _serves(self, host: Host) -> bool:
        return self.config.serves(host)

    def _members_changed(self) -> None:
        self.exit.judge_again()

    def _files_changed(self) -> None:
        if self._is_running:
            self.route.refresh()

    # ------------------------------------------------------------------ the port

    async def _open(self, address: Address) -> Close:
        context = self._context
        peer = Peer(context.user, context.place.id)
        door = Door(
            context.network,
            self.route,
            context.log,
            self._door_limits,
            self.config.credentials,
            audit=context.audit,
            peer=peer,
        )
        listener = await context.network.listen(address, door.accept)
        self._doors[address] = door
        return listener.close

    def _retry_later(self) -> None:
        if not self._is_retrying and self._ports.failed:
            self._is_retrying = True
            self._context.spawn(self._retry())

    async def _retry(self) -> None:
        """Try a port that could not be had until it is open."""
        try:
            is_done = False
            while not is_done and self._is_running:
                await asyncio.sleep(self._limits.retry_seconds)
                async with self._changing:
                    is_done = await self._ports.retry()
            if is_done:
                self._tell()
        finally:
            self._is_retrying = False

    def _tell(self) -> None:
        """Tell how the port is doing."""
        for one in self._ports.shown(self._ports.addresses):
            failed = one.error is not UNSET
            self._context.tell("proxy", "listen", "failed" if failed else "open", one.error if failed else "")  # type: ignore[arg-type]

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
        made.listening = self._ports.shown(self._ports.addresses)
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
