"""One joined mesh: its link to a hub, its apps and its files, and what can be asked of it.

It keeps connecting for as long as it is enabled. What it says of its state is what is true: see `state.py`.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ztm import pki
from ztm.agent.answers import Answers
from ztm.agent.apps.room import AppRoom
from ztm.agent.audit.log import AuditLog
from ztm.agent.config import AgentConfig
from ztm.agent.credentials import credentials, renewed
from ztm.agent.dial import LinkSelf
from ztm.agent.events.bus import Bus, Event
from ztm.agent.files.fetch import Downloads
from ztm.agent.files.sync import FileSync
from ztm.agent.hublink import HubLink
from ztm.agent.hubs import Hubs
from ztm.agent.keeper import Keeper
from ztm.agent.standing import Standing
from ztm.agent.state import Health, State
from ztm.apps.base import AppFactory
from ztm.errors import CertificateError, ConflictError, ForbiddenError, UnreachableError, ZtmError
from ztm.logs import about
from ztm.model import Address, Endpoint, HubInfo
from ztm.net.asgi import ASGIApp
from ztm.net.base import Exchange, Network, TlsConfig
from ztm.store.agent import AgentStore, MeshRow
from ztm.wire import codec, paths
from ztm.wire.records import LogEntry

log = logging.getLogger("ztm.agent")


@lru_cache(maxsize=16)  # apps ask with every connection, and parsing costs as much as the rest of it
def _user_of(certificate: str) -> str:
    if certificate:
        with contextlib.suppress(CertificateError):
            return pki.identity_of(certificate).user
    return ""


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
        health = Health(State.OFFLINE if row.offline else State.CONNECTING)
        self.standing = Standing(row.name, row.endpoint_id, self.events, network, health)
        """How it is doing, and how it was."""
        self._directory = config.data / "meshes" / row.name
        self.files = FileSync(self._directory / "fs", self.now_ms)
        self.downloads = Downloads(self, limit=config.file_bytes)
        self.audit = AuditLog(
            self._directory,
            network,
            row.endpoint_id,
            row.endpoint_name,
            limits=config.audit,
            tell=lambda: self.events.publish(Event(type="audit", mesh=row.name)),
        )
        room = AppRoom(self, self._directory, config, store, factories)
        self.host, self.apps = room.host, room.apps
        self._own = LinkSelf(row.endpoint_id, row.endpoint_name, row.labels, TlsConfig(ca="", certificate="", key=""))
        self._hubs = Hubs(row, store, network, self.standing.log)
        self._keeper = Keeper(network, self._hubs.chooser, self._dial, self._work, self.standing.turn)
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self.is_stopping = False
        """No app stream is taken any more."""
        self._has_started_apps = False

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
        return _user_of(self.row.certificate)

    @property
    def health(self) -> Health:
        """How the mesh is doing now."""
        return self.standing.health

    @property
    def hub_id(self) -> str:
        """The attached hub, or nothing."""
        return self._keeper.link.status.id if self._keeper.link is not None else ""

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return int(self.network.wall() * 1000)

    def log_entries(self) -> list[LogEntry]:
        """The last log lines."""
        return self.standing.log_entries()

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
            self.standing.log.info("a heartbeat failed: %s", error)

    def learn_hub(self, hub: HubInfo) -> None:
        """Remember a hub of this mesh."""
        self._hubs.learn({hub.id: hub})

    # ------------------------------------------------------------------ living

    def start(self) -> None:
        """Begin to connect, unless the mesh is disabled."""
        self.standing.open()
        if self._main is None and not self.row.offline:
            with about(mesh=self.name, endpoint=self.endpoint_id):
                self._main = asyncio.ensure_future(self._keeper.run())

    async def drain(self) -> None:
        """Leave the hub as a place for new streams, and return when those under way have ended. May be cancelled."""
        self.is_stopping = True
        await asyncio.gather(self.host.drain(), self._keeper.drain())

    async def close(self, why: str = "the agent stopped") -> None:
        """Stop the apps and leave the hub; `why` is what the audit log says of what is cut off by it."""
        self.audit.stop(why)
        await self.host.close()
        self.audit.close()
        await self.downloads.close()
        tasks = [task for task in (self._main, *self._tasks) if task is not None]
        self._main = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._hubs.close()
        self.standing.close()

    async def _dial(self, address: Address) -> HubLink:
        """A link to the hub at `address`, with credentials checked anew.

        Raises:
            ZtmError: there is none to be had now; see `HubLink.open` and `credentials`.
        """
        self._own.tls = self.tls()
        link = await self._open(address)
        said = link.status
        if said.id:
            self.learn_hub(HubInfo(said.id, said.ports or (address,), said.zone, said.version))
        return link

    async def _work(self, link: HubLink) -> None:
        """All that goes on while connected, besides the link itself."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.files.run(link))
            tasks.create_task(self._start_apps())
            tasks.create_task(self._hubs.survey(link))
            tasks.create_task(self._renew_regularly(link))

    async def _start_apps(self) -> None:
        if not self._has_started_apps:
            self._has_started_apps = True
            await self.host.start_wanted()

    # ------------------------------------------------------------------ credentials

    async def _renew_regularly(self, link: HubLink) -> None:
        while True:
            pause = self._config.heartbeat * 4
            try:
                if await self.renew_if_due(link):
                    pause = max(pause, self._tenth())
            except ForbiddenError as error:  # the permit ends: nothing is gained by asking again soon
                self.standing.log.info("the certificate is not renewed: %s", error)
                pause = max(pause, self._tenth())
            except ZtmError as error:
                self.standing.log.warning("the certificate is not renewed: %s", error)
            await asyncio.sleep(pause)

    def _tenth(self) -> float:
        """A tenth of the certificate's life in seconds: it may be made for fewer days than we like to have left."""
        identity = pki.identity_of(self.row.certificate)
        return (identity.not_after - identity.not_before).total_seconds() / 10

    async def renew_if_due(self, link: HubLink) -> bool:
        """Have the own certificate signed anew when few days are left; whether the hub was asked for that.

        Source: spec mesh-protocol 9.3.

        Raises:
            ForbiddenError: the hub will not sign it.
            ZtmError: the hub did not sign it, or signed something else.
        """
        wall = self.network.wall()
        certificate = await renewed(self.row, self._own.tls, link, wall, self._config.renew_below)
        if certificate is None:
            return False
        if certificate == self.row.certificate:
            return True
        row = replace(self.row, certificate=certificate)
        self._store.save_mesh(row)
        self.row = row
        self._own.tls = credentials(row, self._store.identity_key(), wall, groups=self._config.key_exchange)
        self.standing.log.info("renewed the certificate of user %s", self.user)
        return True

    # ------------------------------------------------------------------ asking

    def link(self) -> HubLink:
        """The link to the attached hub, for a question: one that has stopped answering would only be waited for.

        Raises:
            UnreachableError: there is none now; the message says why.
        """
        link = self._keeper.link
        if link is None or not link.is_open or self.health.state is State.UNREACHABLE:
            why = f": {self.health.reason}" if self.health.reason else ""
            raise UnreachableError(f"mesh {self.name} is not connected ({self.health.state}{why})")
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
        return self._hubs.known

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
        key, wall = self._store.identity_key(), self.network.wall()
        return credentials(self.row, key, wall, self._own.tls, groups=self._config.key_exchange)

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
        return await self._link_to(endpoint, link) if len(self._hubs.known) > 1 else link

    async def _usable_link(self) -> HubLink:
        """The link to the attached hub; while there is none that answers, the next one is waited for a little.

        Raises:
            UnreachableError: there still is none.
        """
        link = self._keeper.link
        if link is not None and link.is_open and not link.is_suspect:
            return link
        await self.standing.settled(self._config.link_wait)
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
        return await self._hubs.link_to(endpoint, attached, self._open)

    async def _open(self, address: Address) -> HubLink:
        return await HubLink.open(self.network, self._config, address, self._own, self._requests)

    def _requests(self, link: HubLink, is_control: bool) -> ASGIApp:
        return Answers(self, link, is_control=is_control).router()

    def remove_files(self) -> None:
        """Delete this mesh's directory, after `close`."""
        shutil.rmtree(self._directory, ignore_errors=True)
