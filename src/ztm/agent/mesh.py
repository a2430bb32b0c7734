"""One joined mesh: its link to a hub, its apps and its files, and what can be asked of it.

It keeps connecting for as long as it is enabled. What it says of its state is what is true: see `state.py`.
"""

import asyncio
import contextlib
import logging
import shutil
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ztm import pki
from ztm.agent.answers import Answers
from ztm.agent.apps.context import MeshContext
from ztm.agent.apps.directory import Apps
from ztm.agent.apps.host import AppHost
from ztm.agent.apps.packages import Packages
from ztm.agent.config import AgentConfig
from ztm.agent.credentials import credentials, renewed
from ztm.agent.dial import LinkSelf
from ztm.agent.events.bus import Bus, Event
from ztm.agent.events.logtap import LogTap
from ztm.agent.files.fetch import Downloads
from ztm.agent.files.sync import FileSync
from ztm.agent.hublink import HubLink
from ztm.agent.keeper import Keeper
from ztm.agent.state import Health, State
from ztm.apps.base import AppFactory
from ztm.core.hubs import HubChooser
from ztm.core.routing import route
from ztm.errors import CertificateError, ConflictError, UnreachableError, ZtmError
from ztm.logs import LogRing, about, iso_now
from ztm.model import Address, Endpoint, HubInfo
from ztm.net.asgi import ASGIApp
from ztm.net.base import Exchange, Network, TlsConfig
from ztm.store.agent import AgentStore, MeshRow
from ztm.wire import codec, paths
from ztm.wire.records import LogEntry

log = logging.getLogger("ztm.agent")

ERRORS_KEPT = 100
"""Distinct errors since the last success that are shown."""


class Mesh:
    """One joined mesh; `start`, then `close`."""

    def __init__(
        self,
        config: AgentConfig,
        network: Network,
        store: AgentStore,
        row: MeshRow,
        factories: Mapping[str, AppFactory],
        events: Bus | None = None,
    ) -> None:
        self.name = row.name
        self.events = events or Bus(network.wall)
        """Where this mesh tells how it is doing."""
        self.row = row
        self.network = network
        self._config = config
        self._store = store
        self._logger = logging.getLogger(f"ztm.agent.mesh.{row.name.replace('.', '_')}")
        self._log = logging.LoggerAdapter(self._logger, {"ids": {"mesh": row.name, "endpoint": row.endpoint_id}})
        self._ring = LogRing(ERRORS_KEPT)
        self._logger.addHandler(self._ring)
        self._tap = LogTap(self.events, row.name)
        self._directory = config.data / "meshes" / row.name
        self.files = FileSync(self._directory / "fs", self.now_ms)
        self.downloads = Downloads(self, limit=config.file_bytes)
        self.host = AppHost(row.name, lambda: self.user, store, network, factories, self._context)
        packages = Packages(self._directory / "apps", self)
        self.apps = Apps(row.name, self.host, packages, store, lambda: self.user)
        self._health = Health(State.OFFLINE if row.offline else State.CONNECTING)
        self.errors: deque[tuple[str, str, int]] = deque(maxlen=ERRORS_KEPT)
        """Time (ISO 8601) of the last, message and count of each kind of failure since the last success."""
        self.connects = 0
        """How often it became connected."""
        self._own = LinkSelf(row.endpoint_id, row.endpoint_name, row.labels, TlsConfig(ca="", certificate="", key=""))
        self._chooser = HubChooser(row.bootstraps)
        self._hubs: dict[str, HubInfo] = dict(store.hubs(row.name))
        self._keeper = Keeper(network, self._chooser, self._dial, self._work, self._turn)
        self._others: dict[str, HubLink] = {}
        """Links to hubs that other endpoints are at, by hub id."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self.is_stopping = False
        """No app stream is taken any more."""
        self._has_started_apps = False
        self._turned = asyncio.Event()
        """Set, and replaced, at each change of health."""

    # ------------------------------------------------------------------ facts

    @property
    def endpoint_id(self) -> str:
        """The own endpoint's id."""
        return self.row.endpoint_id

    @property
    def endpoint_name(self) -> str:
        """The own endpoint's name."""
        return self.row.endpoint_name

    @property
    def user(self) -> str:
        """The user named in the certificate; empty when there is none."""
        if not self.row.certificate:
            return ""
        with contextlib.suppress(CertificateError):
            return pki.identity_of(self.row.certificate).user
        return ""

    @property
    def health(self) -> Health:
        """How the mesh is doing now."""
        return self._health

    @property
    def hub_id(self) -> str:
        """The attached hub, or nothing."""
        return self._keeper.link.status.id if self._keeper.link is not None else ""

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return int(self.network.wall() * 1000)

    def log_entries(self) -> list[LogEntry]:
        """The last log lines."""
        return self._ring.entries()

    def labels(self) -> tuple[str, ...]:
        """The endpoint's labels."""
        return self.row.labels

    # ------------------------------------------------------------------ changing

    def relabel(self, labels: Sequence[str]) -> None:
        """Replace the endpoint's labels, on disk; the mesh sees them at once.

        Raises:
            StorageError: the disk does not take it.
        """
        row = replace(self.row, labels=tuple(dict.fromkeys(labels)))
        self._store.save_mesh(row)
        self.row = row
        self._own.labels = row.labels
        if self._keeper.link is not None:
            self._spawn(self._beat(self._keeper.link))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _beat(self, link: HubLink) -> None:
        try:
            await link.beat()
        except ZtmError as error:
            self._log.info("a heartbeat failed: %s", error)

    def learn_hub(self, hub: HubInfo) -> None:
        """Remember a hub of this mesh."""
        self._learn({hub.id: hub})

    def _learn(self, hubs: Mapping[str, HubInfo]) -> None:
        self._hubs.update(hubs)
        known = dict.fromkeys(self.row.bootstraps)
        for hub in self._hubs.values():
            known.update(dict.fromkeys(hub.ports))
        self._chooser.replace(known)
        try:
            self._store.save_hubs(self.name, hubs, datetime.fromtimestamp(self.network.wall(), UTC))
        except ZtmError as error:
            self._log.warning("hubs are not remembered: %s", error)

    # ------------------------------------------------------------------ living

    def start(self) -> None:
        """Begin to connect, unless the mesh is disabled."""
        self._tap.attach()
        self.events.publish(Event(type="mesh", mesh=self.name, state=str(self.health.state)))
        if self._main is None and not self.row.offline:
            with about(mesh=self.name, endpoint=self.endpoint_id):
                self._main = asyncio.ensure_future(self._keeper.run())

    async def drain(self) -> None:
        """Leave the hub as a place for new streams, and return when those under way have ended. May be cancelled."""
        self.is_stopping = True
        await asyncio.gather(self.host.drain(), self._keeper.drain())

    async def close(self) -> None:
        """Stop the apps and leave the hub."""
        await self.host.close()
        await self.downloads.close()
        tasks = [task for task in (self._main, *self._tasks) if task is not None]
        self._main = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._logger.removeHandler(self._ring)
        self._tap.detach()

    def _turn(self, health: Health) -> None:
        if health.reason:
            self._note(health.reason)
        if health == self._health:
            return
        if health.state is State.CONNECTED:
            self.connects += 1
            self.errors.clear()
        level = logging.INFO if health.state is State.CONNECTED else logging.WARNING
        self._log.log(level, "mesh %s: %s%s", self.name, health.state, f": {health.reason}" if health.reason else "")
        self._health = health
        self.events.publish(Event(type="mesh", mesh=self.name, state=str(health.state), reason=health.reason))
        self._turned.set()
        self._turned = asyncio.Event()

    def _note(self, reason: str) -> None:
        known = next((error for error in self.errors if error[1] == reason), None)
        if known is not None:
            self.errors.remove(known)
        self.errors.append((iso_now(self.network.wall()), reason, known[2] + 1 if known else 1))

    async def turned(self) -> None:
        """Wait for the next change of health."""
        await self._turned.wait()

    async def settled(self, timeout: float) -> Health:
        """The health once it is neither `connecting` nor unknown, or what it is after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._health.state in (State.CONNECTING, State.UNREACHABLE):
                    await self._turned.wait()
        return self._health

    async def _dial(self, address: Address) -> HubLink:
        """A link to the hub at `address`, with credentials checked anew.

        Raises:
            ZtmError: there is none to be had now; see `HubLink.open` and `credentials`.
        """
        self._own.tls = self.tls()
        link = await HubLink.open(self.network, self._config, address, self._own, self._requests)
        said = link.status
        if said.id:
            self.learn_hub(HubInfo(said.id, said.ports or (address,), said.zone, said.version))
        return link

    async def _work(self, link: HubLink) -> None:
        """All that goes on while connected, besides the link itself."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.files.run(link))
            tasks.create_task(self._start_apps())
            tasks.create_task(self._survey(link))
            tasks.create_task(self._renew_regularly(link))

    async def _start_apps(self) -> None:
        if not self._has_started_apps:
            self._has_started_apps = True
            await self.host.start_wanted()

    async def _survey(self, link: HubLink) -> None:
        """Learn the mesh's hubs. Source: spec mesh-protocol 9.1."""
        try:
            for zone in codec.decode_zones(await link.ask("GET", paths.ZONES)):
                body = await link.ask("GET", paths.fill(paths.ZONE_HUBS, zone=zone))
                self._learn(codec.decode_zone_hubs(body, zone))
        except ZtmError as error:
            self._log.info("the hub did not tell its zones: %s", error)

    # ------------------------------------------------------------------ credentials

    async def _renew_regularly(self, link: HubLink) -> None:
        while True:
            pause = self._config.heartbeat * 4
            try:
                if await self.renew_if_due(link):
                    # An authority may make all its certificates for fewer days than we like to have left.
                    identity = pki.identity_of(self.row.certificate)
                    pause = max(pause, (identity.not_after - identity.not_before).total_seconds() / 10)
            except ZtmError as error:
                self._log.warning("the certificate is not renewed: %s", error)
            await asyncio.sleep(pause)

    async def renew_if_due(self, link: HubLink) -> bool:
        """Have the own certificate signed anew when few days are left. Source: spec mesh-protocol 9.3.

        Raises:
            ZtmError: the hub did not sign it, or signed something else.
        """
        wall = self.network.wall()
        certificate = await renewed(self.row, self._own.tls, link, wall, self._config.renew_below)
        if certificate is None:
            return False
        row = replace(self.row, certificate=certificate)
        self._store.save_mesh(row)
        self.row = row
        self._own.tls = credentials(row, self._store.identity_key(), wall)
        self._log.info("renewed the certificate of user %s", self.user)
        return True

    # ------------------------------------------------------------------ asking

    def link(self) -> HubLink:
        """The link to the attached hub, for a question: one that has stopped answering would only be waited for.

        Raises:
            UnreachableError: there is none now; the message says why.
        """
        link = self._keeper.link
        if link is None or not link.is_open or self._health.state is State.UNREACHABLE:
            why = f": {self._health.reason}" if self._health.reason else ""
            raise UnreachableError(f"mesh {self.name} is not connected ({self._health.state}{why})")
        return link

    async def endpoints(self, **query: str | int) -> list[Endpoint]:
        """Endpoints as the hub lists them.

        Raises:
            UnreachableError: no hub is connected.
        """
        given = {name: value for name, value in query.items() if value != ""}
        return codec.decode_endpoints(await self.link().ask("GET", paths.fill(paths.ENDPOINTS, given)))

    def hubs(self) -> Mapping[str, HubInfo]:
        """The hubs of this mesh as far as they are known."""
        return self._hubs

    async def attach(self, address: Address) -> None:
        """Leave the attached hub for the one at `address`; streams that are open go on by the old one.

        Raises:
            ConflictError: the mesh is disabled.
            ZtmError: that hub cannot be reached, or does not accept this endpoint; nothing has changed then.
        """
        if self._main is None or self.row.offline:
            raise ConflictError(f"mesh {self.name} is disabled; enable it first")
        await self._keeper.switch(address)

    def tls(self) -> TlsConfig:
        """What this endpoint shows to hubs.

        Raises:
            CertificateError: the permit cannot be used.
        """
        return credentials(self.row, self._store.identity_key(), self.network.wall(), self._own.tls)

    async def connect_app(self, endpoint: str, provider: str, app: str) -> Exchange:
        """Open a stream to an app on another endpoint; no question is asked when its hub is the attached one.

        Raises:
            UnreachableError: no hub leads there.
        """
        link = await self.link_for(endpoint)
        path = paths.fill(paths.ENDPOINT_APP, {"src": self.endpoint_id}, ep=endpoint, provider=provider, app=app)
        return link.open_stream(path)

    async def link_for(self, endpoint: str) -> HubLink:
        """A link to a hub where the endpoint is; no question is asked while only one hub is known.

        Raises:
            UnreachableError: no hub leads there.
        """
        link = await self._usable_link()
        return await self._link_to(endpoint, link) if len(self._hubs) > 1 else link

    async def _usable_link(self) -> HubLink:
        """The link to the attached hub; while there is none that answers, the next one is waited for a little.

        Raises:
            UnreachableError: there still is none.
        """
        link = self._keeper.link
        if link is not None and link.is_open and not link.is_suspect:
            return link
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.link_wait):
                while self._health.state in (State.CONNECTING, State.UNREACHABLE):
                    await self._turned.wait()
        link = self._keeper.link
        return link if link is not None and link.is_open else self.link()

    async def _link_to(self, endpoint: str, attached: HubLink) -> HubLink:
        """A link to a hub where the endpoint is. Source: spec mesh-protocol 9.5."""
        body = await attached.ask("GET", paths.fill(paths.ENDPOINT, ep=endpoint))
        return await self.link_to(codec.decode_endpoint(body), attached)

    async def link_to(self, endpoint: Endpoint, attached: HubLink) -> HubLink:
        """A link to a hub where the endpoint is, as the `attached` hub lists it.

        Raises:
            UnreachableError: there is none to be had now.
        """
        way = route(endpoint, attached.status.id, self._hubs)
        if way.is_attached:
            return attached
        known = self._others.get(way.hub)
        if known is not None and known.is_open:
            return known
        for address in way.addresses:
            with contextlib.suppress(ZtmError):
                link = await HubLink.open(self.network, self._config, address, self._own, self._requests)
                self._others[way.hub] = link
                self._spawn(_hold(link))
                return link
        raise UnreachableError(f"hub {way.hub}, where endpoint {endpoint.id} is, cannot be reached")

    def _requests(self, link: HubLink, is_control: bool) -> ASGIApp:
        return Answers(self, link, is_control=is_control).router()

    def _context(self, provider: str, app: str, logger: "logging.LoggerAdapter[logging.Logger]") -> MeshContext:
        return MeshContext(self, self._store, provider, app, logger)

    def remove_files(self) -> None:
        """Delete this mesh's directory, after `close`."""
        shutil.rmtree(self._directory, ignore_errors=True)


async def _hold(link: HubLink) -> None:
    """Keep a link to a hub that is not the attached one."""
    try:
        await link.run()
    finally:
        link.close("the agent leaves")
