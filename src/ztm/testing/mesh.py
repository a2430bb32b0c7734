"""A whole mesh in one process on virtual time: real hubs and agents on a simulated network.

    async def test_a_tunnel_outlives_its_hub(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await b.open_outbound("tcp/echo", targets=[await b.echo_server()])
        await a.open_inbound("tcp/echo", listen=1080)
        await mesh.kill_hub()
        await mesh.start_hub()
        await mesh.connected()
        assert await a.echo(1080, b"hi") == b"hi"

Only the network and the clock are simulated; databases and keys are real files below `directory`.
"""

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ztm.agent.agent import Agent
from ztm.agent.config import AgentConfig
from ztm.agent.mesh import Mesh
from ztm.agent.state import State
from ztm.apps.builtin import BUILTIN
from ztm.errors import BrokenStreamError, UnreachableError
from ztm.hub.config import HubConfig
from ztm.hub.hub import Hub
from ztm.hub.root import issue
from ztm.model import ROOT, Address
from ztm.net.base import Listener, Stream
from ztm.rest.client import call_stream, check
from ztm.store.hub import HubStore
from ztm.testing.network import SimNetwork
from ztm.testing.world import SimWorld

MESH = "sim"
HUB = "10.0.0.1"
HUB_PORT = 8888


class SimEndpoint:
    """One agent on a host of its own, driven by its local API as the command line does it."""

    def __init__(self, mesh: "SimMesh", name: str, user: str, ip: str) -> None:
        self.name = name
        self.user = user
        self.ip = ip
        self.network: SimNetwork = mesh.world.host(ip)
        self.data = mesh.directory / name
        self.agent: Agent | None = None
        self._servers: list[Listener] = []

    async def start(self) -> None:
        """Start the agent; it takes up what it had before."""
        config = AgentConfig(data=self.data, listen=Address("127.0.0.1", 7777), pointers=self.data.parent / "pointers")
        self.agent = Agent(config, self.network, BUILTIN)
        await self.agent.start()

    async def kill(self) -> None:
        """End the agent as a power cut would; its files stay."""
        self.network.kill()
        agent, self.agent = self.agent, None
        if agent is not None:
            await agent.close()

    @property
    def mesh(self) -> Mesh:
        """What the agent knows of the mesh."""
        if self.agent is None:
            raise UnreachableError(f"agent {self.name} is not running")
        return self.agent.mesh(MESH)

    @property
    def id(self) -> str:
        """The endpoint's id."""
        return self.mesh.endpoint_id

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the local API; the answer's JSON, or None.

        Raises:
            ZtmError: what the answer's status stands for.
        """
        if self.agent is None:
            raise UnreachableError(f"agent {self.name} is not running")
        stream = await self.network.dial(self.agent.address)
        try:
            answer = await call_stream(
                stream,
                method,
                path,
                body=b"" if body is None else json.dumps(body).encode(),
                timeout=60.0,
                headers=(("authorization", f"Bearer {self.agent.token}"),),
            )
        finally:
            stream.abort("answered")
        check(answer, f"{method} {path}")
        return json.loads(answer.body) if answer.body.startswith((b"{", b"[")) else None

    async def tunnel(self, method: str, end: str, body: object = None, *, at: str = "") -> Any:
        """Ask the tunnel app about `end`, such as ``outbound/tcp/web``, here or at endpoint id `at`."""
        path = f"/api/meshes/{MESH}/apps/ztm/tunnel/api/endpoints/{at or self.id}/{end}"
        return await self.api(method, path, body)

    async def open_outbound(self, name: str, targets: list[Address], users: list[str] | None = None) -> None:
        """Offer a tunnel's exit."""
        body: dict[str, object] = {"targets": [{"host": target.host, "port": target.port} for target in targets]}
        if users is not None:
            body["users"] = users
        await self.tunnel("POST", f"outbound/{name}", body)

    async def open_inbound(self, name: str, listen: int, exits: list[str] | None = None) -> None:
        """Open a tunnel's entrance on a loopback port."""
        body = {"listens": [{"ip": "127.0.0.1", "port": listen}], "exits": exits or []}
        await self.tunnel("POST", f"inbound/{name}", body)

    async def echo_server(self, port: int = 9000) -> Address:
        """A server on this host that sends back what it gets; gives its address."""

        async def echo(stream: Stream) -> None:
            while data := await stream.read():
                await stream.write(data)

        listener = await self.network.listen(Address("127.0.0.1", port), echo)
        self._servers.append(listener)
        return listener.address

    async def client(self, port: int) -> Stream:
        """A connection to a loopback port of this host."""
        return await self.network.dial(Address("127.0.0.1", port))

    async def echo(self, port: int, data: bytes) -> bytes:
        """What comes back for `data` from a loopback port; cut or ended streams give what came."""
        stream = await self.client(port)
        came = b""
        with contextlib.suppress(BrokenStreamError):
            await stream.write(data)
            stream.end()
            while part := await stream.read():
                came += part
        return came


class SimMesh:
    """One hub and any number of agents; `close` ends them all."""

    def __init__(self, directory: Path, world: SimWorld | None = None) -> None:
        self.directory = directory
        self.world = world or SimWorld()
        self.hub: Hub | None = None
        self.endpoints: list[SimEndpoint] = []
        self._root = json.loads(issue(directory / "hub", (Address(HUB, HUB_PORT),), self.date()))

    def date(self) -> datetime:
        """The simulated wall clock."""
        return datetime.fromtimestamp(self.world.wall(), UTC)

    async def start_hub(self) -> Hub:
        """Start the hub on its data."""
        config = HubConfig(
            data=self.directory / "hub", listen=Address("0.0.0.0", HUB_PORT), names=(Address(HUB, HUB_PORT),)
        )
        self.hub = Hub(config, self.world.host(HUB))
        await self.hub.start()
        return self.hub

    async def kill_hub(self) -> None:
        """End the hub as a power cut would; its files stay."""
        self.world.host(HUB).kill()
        hub, self.hub = self.hub, None
        if hub is not None:
            await hub.close()

    async def join(self, *names: str, user: str = ROOT) -> list[SimEndpoint]:
        """Start an agent for each name, have it join as `user`, and wait until all are connected."""
        if self.hub is None:
            await self.start_hub()
        joined = []
        for name in names:
            endpoint = SimEndpoint(self, name, user, f"10.0.1.{len(self.endpoints) + 1}")
            self.endpoints.append(endpoint)
            await endpoint.start()
            await endpoint.api("POST", f"/api/meshes/{MESH}", self._settings(endpoint))
            joined.append(endpoint)
        await self.connected(*joined)
        return joined

    def _settings(self, endpoint: SimEndpoint) -> dict[str, object]:
        permit = self._root if endpoint.user == ROOT else self._permit(endpoint)
        return {**permit, "agent": {**permit["agent"], "name": endpoint.name}}

    def _permit(self, endpoint: SimEndpoint) -> dict[str, Any]:
        """A user's permit, signed as the hub would for root."""
        if endpoint.agent is None:
            raise UnreachableError(f"agent {endpoint.name} is not running")
        authority = self.hub.state.authority if self.hub is not None else HubStore(self.directory / "hub").authority()
        if authority is None:
            raise UnreachableError("the hub has no CA")
        certificate = authority.sign_user(endpoint.user, endpoint.agent.public_key(), self.date())
        return {"ca": self._root["ca"], "agent": {"certificate": certificate}, "bootstraps": self._root["bootstraps"]}

    async def connected(self, *endpoints: SimEndpoint, within: float = 60.0) -> float:
        """Wait until these (or all) endpoints are connected; the virtual seconds that it took.

        Raises:
            TimeoutError: they are not, `within` virtual seconds.
        """
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.timeout(within):
            for endpoint in endpoints or self.endpoints:
                while endpoint.agent is not None and endpoint.mesh.health.state is not State.CONNECTED:
                    await endpoint.mesh.standing.turned()
        return loop.time() - begin

    async def close(self) -> None:
        """End everything."""
        for endpoint in self.endpoints:
            if endpoint.agent is not None:
                await endpoint.agent.close()
        if self.hub is not None:
            await self.hub.close()
