"""A v1-like hub with agents of ours in this process, and what drives them."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from v1_ca import authority, key, public
from v1_hub import Session, V1Hub

from v1_http import PATIENCE
from ztm.agent.agent import Agent
from ztm.agent.api.views import AgentSettings, MeshSettings
from ztm.agent.config import AgentConfig
from ztm.agent.mesh import Mesh
from ztm.agent.state import Health, State
from ztm.apps.builtin import BUILTIN
from ztm.model import Address
from ztm.net.choice import network as chosen_network
from ztm.rest.client import call_stream

LOOPBACK = "127.0.0.1"


@dataclass
class Party:
    """An agent of ours that joined."""

    agent: Agent
    mesh: Mesh

    @property
    def id(self) -> str:
        return self.mesh.endpoint_id

    async def state(self, wanted: State) -> Health:
        """Wait for a state."""
        async with asyncio.timeout(PATIENCE):
            while self.mesh.health.state is not wanted:
                await self.mesh.standing.turned()
        return self.mesh.health

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the local API, as the command line does; the answer's JSON."""
        stream = await self.agent.network.dial(self.agent.address)
        fields = [("host", str(self.agent.address)), ("authorization", f"Bearer {self.agent.token}")]
        sent = b"" if body is None else json.dumps(body).encode()
        answer = await call_stream(stream, method, path, body=sent, headers=fields, timeout=PATIENCE)
        stream.abort()
        assert answer.status < 300, answer
        return json.loads(answer.body or b"null")

    async def tunnel(self, method: str, end: str, key: str, body: object = None) -> Any:
        path = f"/api/meshes/{self.mesh.name}/apps/ztm/tunnel/api/endpoints/{self.id}/{end}/{key}"
        return await self.ask(method, path, body)

    async def outbound(self, key: str, *targets: int, **more: Any) -> None:
        """Open an outbound to ports of this machine."""
        body = {"targets": [{"host": LOOPBACK, "port": port} for port in targets], **more}
        await self.tunnel("POST", "outbound", key, body)

    async def inbound(self, key: str, *exits: str) -> int:
        """Open an inbound; the port where it listens."""
        port = free_port(socket.SOCK_STREAM if key.startswith("tcp/") else socket.SOCK_DGRAM)
        await self.tunnel("POST", "inbound", key, {"listens": [{"ip": LOOPBACK, "port": port}], "exits": exits})
        return port


@dataclass
class V1Mesh:
    """Made by `v1_mesh`."""

    folder: Path
    hub: V1Hub
    stack: AsyncExitStack
    is_rsa: bool = False
    """Whether root's key is one as v1 makes it; every reading of such a key takes its time."""
    agents: list[Agent] = field(default_factory=list)

    async def agent(self, **config: Any) -> Agent:
        """An agent that has joined nothing."""
        data = self.folder / f"agent{len(self.agents)}"
        listen = Address(LOOPBACK, 0)
        agent = Agent(
            AgentConfig(data=data, listen=listen, pointers=self.folder / "pointers", **config),
            chosen_network(),
            BUILTIN,
        )
        self.agents.append(agent)
        await agent.start()
        self.stack.push_async_callback(agent.close)
        return agent

    def settings(self, agent: Agent, user: str, name: str, days: int) -> MeshSettings:
        """What a v1 permit says: root's comes with a key, others are for the identity."""
        own_key = key("root", is_rsa=self.is_rsa) if user == "root" else None
        certificate = self.hub.ca.sign(user, public(own_key) if own_key else agent.public_key(), days)
        own = AgentSettings(name=name, certificate=certificate, privateKey=own_key)
        return MeshSettings(ca=self.hub.ca.certificate, agent=own, bootstraps=[self.hub.address])

    async def join(self, name: str = "home", user: str = "root", days: int = 365, **config: Any) -> Party:
        """An agent that is joining."""
        agent = await self.agent(**config)
        return Party(agent, await agent.join("m", self.settings(agent, user, name, days)))

    async def joined(self, name: str = "home", user: str = "root", **config: Any) -> Party:
        """An agent that is connected."""
        party = await self.join(name, user, **config)
        await party.state(State.CONNECTED)
        return party

    async def passive_ended(self) -> Session:
        """A passive session that the hub has ended again, and the agent too."""
        session = await self.hub.passive()
        await session.http.ask("GET", "/api/ping")
        session.tunnel.end()
        await self.hub.until(lambda: session.is_disconnected)
        return session


@asynccontextmanager
async def v1_mesh(folder: Path, *, script: Callable[[V1Hub], None] = lambda _hub: None) -> AsyncIterator[V1Mesh]:
    """A mesh with a v1-like hub; at the end, the agents must have done nothing that v1 would not survive."""
    hub = V1Hub(authority(), folder)
    script(hub)
    await hub.open()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hub.close)
        yield V1Mesh(folder, hub, stack)
        assert not hub.violations, hub.violations


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOOPBACK, 0))
        return int(sock.getsockname()[1])
