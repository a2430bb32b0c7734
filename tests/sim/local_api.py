"""The local API of simulated endpoints, whatever it answers."""

import json
from typing import Any

from ztm.net.http1 import Answer
from ztm.rest.client import call_stream
from ztm.testing.mesh import MESH, SimEndpoint, SimMesh

BASE = f"/api/meshes/{MESH}"


class Api:
    """The local API of one endpoint, whatever it answers."""

    def __init__(self, endpoint: SimEndpoint) -> None:
        self.endpoint = endpoint

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        agent = self.endpoint.agent
        assert agent is not None
        data = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        fields = [("authorization", f"Bearer {agent.token}"), ("host", "localhost")]
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        stream = await self.endpoint.network.dial(agent.address)
        try:
            target = path if path.startswith("/api") else BASE + path
            return await call_stream(stream, method, target, body=data, timeout=60.0, headers=tuple(fields))
        finally:
            stream.abort("answered")

    async def ok(self, method: str, path: str, body: object = None, status: int = 0) -> Any:
        """The JSON or text of a success."""
        answer = await self.ask(method, path, body)
        assert 200 <= answer.status < 300, answer
        assert not status or answer.status == status, answer
        text = answer.body.decode()
        return json.loads(text) if text[:1] in ("{", "[") else text

    async def refused(self, status: int, method: str, path: str, body: object = None) -> str:
        """The reason of a refusal with that status, in the form that all of them have."""
        answer = await self.ask(method, path, body)
        assert answer.status == status, answer
        said = json.loads(answer.body)
        assert set(said) == {"status", "message"}
        assert said["status"] == status
        assert said["message"]
        assert "Traceback" not in said["message"]
        return str(said["message"])


async def home_of(mesh: SimMesh, name: str = "home", user: str = "root") -> Api:
    """A new endpoint of that name, which is connected."""
    (endpoint,) = await mesh.join(name, user=user)
    return Api(endpoint)
