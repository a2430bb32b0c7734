"""A running agent: its identity, the meshes it joined, and its local API."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from ztm import pki
from ztm.agent.api.application import agent_api
from ztm.agent.api.views import AgentSettings, MeshSettings
from ztm.agent.config import AgentConfig
from ztm.agent.events.bus import Bus, Event
from ztm.agent.events.watch import EndpointWatch
from ztm.agent.local.login import Login
from ztm.agent.local.port import LocalPort
from ztm.agent.mesh import Mesh
from ztm.agent.notices import notices
from ztm.apps.base import AppFactory
from ztm.errors import CertificateError, NotFoundError, UsageError
from ztm.model import ROOT, Address, check_name
from ztm.net.base import Network
from ztm.store.agent import AgentStore, MeshRow
from ztm.store.files import secure_directory

if TYPE_CHECKING:
    from ztm.rest.metrics import MetricsPort

log = logging.getLogger("ztm.agent")

MAX_MESHES = 64


class Agent:
    """One agent process; `start`, then `close`."""

    def __init__(self, config: AgentConfig, network: Network, factories: Mapping[str, AppFactory]) -> None:
        self._config = config
        self.network = network
        secure_directory(config.data)
        self.store = AgentStore(config.data, config.signature)
        self._factories = factories
        self.events = Bus(network.wall)
        self._meshes: dict[str, Mesh] = {}
        self._watch = EndpointWatch(self.events, self.meshes)
        self._port = LocalPort(config, network, agent_api(self))
        self._notices: list[str] = []
        self._metrics: MetricsPort | None = None
        self._changing = asyncio.Lock()

    # ------------------------------------------------------------------ living

    async def start(self) -> None:
        """Open the local API and connect to all meshes joined before.

        Raises:
            UsageError: the local API would be open to others.
            ConflictError: the local port cannot be listened on.
            StorageError: the data directory cannot be used.
        """
        for row in self.store.meshes().values():
            self._meshes[row.name] = self._made(row)
        self._notices = notices(self._config, self.store.identity_key)
        for notice in self._notices:
            log.warning("%s", notice)
        await self._port.open()
        await self._open_metrics()
        for mesh in self._meshes.values():
            mesh.start()
        log.info("Agent started at %s, data in %s", self.address, self._config.data)

    async def _open_metrics(self) -> None:
        if self._config.metrics is None:
            return
        from ztm.agent.metrics import families, ills
        from ztm.rest.metrics import MetricsPort

        wanted = self._config.metrics
        self._metrics = MetricsPort(self.network, wanted, partial(families, self), partial(ills, self))
        await self._metrics.open()

    @property
    def address(self) -> Address:
        """Where the local API listens, once started."""
        return self._port.address

    @property
    def factories(self) -> Mapping[str, AppFactory]:
        """The built-in apps."""
        return self._factories

    @property
    def token(self) -> str:
        """This run's token."""
        return self._port.token

    @property
    def login(self) -> Login:
        """Which browsers are signed in."""
        return self._port.login

    @property
    def page(self) -> str:
        """The web page's URL on this machine."""
        return self._port.page

    @property
    def warnings(self) -> list[str]:
        """What its user should know about how it was set up."""
        return [*self._port.warnings, *self._notices]

    @property
    def config(self) -> AgentConfig:
        """What it was told."""
        return self._config

    def status(self) -> str:
        """How it is, in one line."""
        meshes = [f"mesh {mesh.name} {mesh.health.state}" for mesh in self.meshes()]
        return f"local API at {self.address}; {', '.join(meshes) or 'no mesh joined'}"

    async def drain(self) -> None:
        """Take nothing new, from this machine or from the mesh, and return when all streams have ended."""
        await self._port.close()
        await asyncio.gather(*(mesh.drain() for mesh in self._meshes.values()))

    async def close(self) -> None:
        """Leave all hubs and close the store."""
        await self._port.close()
        await self._port.end_websockets()
        if self._metrics is not None:
            await self._metrics.close()
        self.events.close()
        await self._watch.close()
        await asyncio.gather(*(mesh.close() for mesh in self._meshes.values()))
        self.store.close()

    def _made(self, row: MeshRow) -> Mesh:
        return Mesh(self._config, self.network, self.store, row, self._factories, self.events)

    # ------------------------------------------------------------------ identity

    def public_key(self) -> str:
        """The identity's public key, which a user sends to root."""
        return pki.public_key(self.store.identity_key())

    def replace_identity(self, private_pem: str) -> str:
        """Use another key from now on; its public key. Sessions go on, but permits of the old one are of no use.

        Raises:
            CertificateError: it is not a usable private key.
            StorageError: the disk does not take it.
        """
        self.store.replace_identity(private_pem)
        log.warning("the identity was replaced: users' permits that were made for the old one no longer fit")
        return self.public_key()

    # ------------------------------------------------------------------ meshes

    def meshes(self) -> list[Mesh]:
        """All joined meshes, by name."""
        return [self._meshes[name] for name in sorted(self._meshes)]

    def mesh(self, name: str) -> Mesh:
        """One joined mesh.

        Raises:
            NotFoundError: there is none of that name.
        """
        mesh = self._meshes.get(name)
        if mesh is None:
            raise NotFoundError(f"mesh {name!r} not found")
        return mesh

    async def join(self, name: str, settings: MeshSettings) -> Mesh:
        """Join a mesh, or change the settings of a joined one; on disk when this returns, and connecting.

        Raises:
            UsageError: the settings are malformed, or the permit is not usable here; nothing is changed then.
            StorageError: the disk does not take them; nothing is changed then.
        """
        check_name("mesh", name)
        async with self._changing:
            before = self._meshes.get(name)
            if before is None and len(self._meshes) >= MAX_MESHES:
                raise UsageError(f"this agent has joined {MAX_MESHES} meshes already; leave one first")
            row = self._settled(name, before.row if before else None, settings)
            self.store.save_mesh(row)
            if before is not None:
                await before.close("the mesh was joined anew")
            mesh = self._meshes[name] = self._made(row)
            mesh.start()
            return mesh

    def _settled(self, name: str, known: MeshRow | None, settings: MeshSettings) -> MeshRow:
        agent = settings.agent or AgentSettings()
        old = known or MeshRow(name, "", str(uuid.uuid4()), "", "")
        endpoint = agent.name if agent.name is not None else old.endpoint_name
        check_name("endpoint", endpoint)
        given = settings.bootstraps
        row = MeshRow(
            name=name,
            ca=settings.ca if settings.ca is not None else old.ca,
            endpoint_id=old.endpoint_id,
            endpoint_name=endpoint,
            certificate=agent.certificate if agent.certificate is not None else old.certificate,
            key=agent.privateKey or _key_that_stays(old, agent.certificate),
            labels=tuple(agent.labels) if agent.labels is not None else old.labels,
            offline=agent.offline if agent.offline is not None else old.offline,
            bootstraps=tuple(Address.parse(text) for text in given) if given is not None else old.bootstraps,
        )
        self._check(row, is_new=known is None)
        return row

    def _check(self, row: MeshRow, *, is_new: bool) -> None:
        """Fail closed: without a valid CA and permit nothing is stored that could connect."""
        if not row.bootstraps:
            raise UsageError("permit missing bootstraps: no hub address is given")
        if not row.ca:
            raise CertificateError("permit missing CA certificate")
        pki.check_ca(row.ca)
        if not row.certificate:
            if is_new or not row.offline:
                raise CertificateError("permit missing user certificate")
            return
        now = datetime.fromtimestamp(self.network.wall(), UTC)
        identity = pki.verify(row.certificate, row.ca, now, server=False)
        if identity.is_hub:
            raise CertificateError("this is a hub's certificate, not a user's permit")
        if identity.user == ROOT and row.key:
            if not pki.key_matches(row.key, row.certificate):
                raise CertificateError("the permit's private key does not match its certificate")
        elif not pki.key_matches(self.store.identity_key(), row.certificate):
            raise CertificateError(
                f"the permit of user {identity.user} was made for another identity: "
                "send the output of 'ztm identity' on this machine to root, and join with the new permit"
            )

    async def leave(self, name: str, *, keep_data: bool = False) -> None:
        """Leave a mesh and forget all about it, but for the files of the mesh where they are to be kept.

        Raises:
            NotFoundError: it was not joined.
            StorageError: the disk does not take it.
        """
        async with self._changing:
            mesh = self.mesh(name)
            self.store.delete_mesh(name)
            del self._meshes[name]
            await mesh.close("the mesh was left")
            if not keep_data:
                mesh.remove_files()
            log.info("left mesh %s", name)
            self.events.publish(Event(type="mesh", mesh=name, state="left"))


def _key_that_stays(old: MeshRow, certificate: str | None) -> str | None:
    """A key that came with an earlier permit, unless another permit makes it useless."""
    if old.key and certificate and certificate != old.certificate:
        with contextlib.suppress(CertificateError):
            return old.key if pki.key_matches(old.key, certificate) else None
        return None
    return old.key
