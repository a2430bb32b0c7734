"""A small mesh of proxies, whose ways to destinations are asked for directly: no client protocol is in between."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app_mesh import LOOPBACK, OWN_IDS, Echo, MeshContext, SmallMesh, ask

from ztm.apps.proxy.api import ProxyApp
from ztm.apps.proxy.way import Passage
from ztm.apps.streams.limits import LIMITS, StreamLimits
from ztm.apps.streams.reach import Early
from ztm.errors import UnreachableError
from ztm.model import Peer
from ztm.net.asgi import ASGIApp, Upgrade
from ztm.net.joint import joint
from ztm.rest.message import Request, Response
from ztm.rest.router import Router

QUICK = replace(LIMITS, exit_wait=0.1, dial_seconds=1.0, retry_seconds=0.05)


class Source:
    """A client's bytes: those that are told, and then nothing."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)
        self.is_over = False

    async def read(self) -> bytes:
        if self._parts:
            return self._parts.pop(0)
        await asyncio.get_running_loop().create_future()
        raise AssertionError


class ProxyMesh(SmallMesh[ProxyApp]):
    """Names resolve as `names` says, and `nowhere` not at all."""

    def __init__(self, directory: Path | None = None, limits: StreamLimits = QUICK) -> None:
        super().__init__(lambda context: ProxyApp(context, limits), directory)
        self.names: dict[str, list[str]] = {}
        self.resolved: list[str] = []
        self.network.resolve = self._resolve  # type: ignore[method-assign]
        self.echoes: list[Echo] = []

    async def _resolve(self, host: str, *, timeout: float = 5.0) -> list[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise UnreachableError(f"cannot resolve {host}: the name does not resolve")
        return self.names[host]

    async def configure(self, name: str, **body: Any) -> dict[str, Any]:
        """Post a configuration of the endpoint; what is shown of it then."""
        status, _, answer = await self.ask(name, "POST", "config", body)
        assert status == 201, answer
        return json.loads(answer)

    async def ask(self, name: str, method: str, what: str, body: Any = None) -> tuple[int, Mapping[str, str], bytes]:
        """Ask as the local user of the endpoint itself."""
        context = self.context(name)
        data = json.dumps(body).encode() if body is not None else b""
        return await ask(
            self.apps[context.place.id].user_api, method, f"/api/endpoints/{context.place.id}/{what}", data
        )

    async def ask_as(self, name: str, method: str, path: str, user: str, body: Any = None) -> tuple[int, Any, bytes]:
        """Ask as a peer of that user."""
        data = json.dumps(body).encode() if body is not None else b""
        app = self.apps[self.context(name).place.id]
        upgrade = Upgrade(joint()[0], lambda _: None) if method == "CONNECT" else None
        return await ask(app.peer_api, method, path, data, Peer(user, OWN_IDS[9]), upgrade)

    async def reach(self, name: str, host: str, port: int, *early: bytes) -> Passage:
        """A way from the endpoint's clients to a destination."""
        route = self.apps[self.context(name).place.id].proxy.route
        return await route.open(host, port, Early(Source(*early), 1 << 16))

    async def echo(self, greeting: bytes = b"", mark: bytes = b"") -> int:
        """The port of a target on loopback."""
        made = Echo(self.network, greeting, mark)
        self.echoes.append(made)
        return (await made.open()).port

    async def audited(self, name: str, count: int) -> None:
        """Wait until so many sessions of the endpoint are over and audited."""
        while len(self.trails(name)) < count:
            await asyncio.sleep(0)

    def place(self, name: str) -> str:
        return self.context(name).place.id

    def trails(self, name: str) -> list[Any]:
        return self.context(name).trail.trails


@asynccontextmanager
async def proxies(directory: Path | None = None, limits: StreamLimits = QUICK) -> AsyncIterator[ProxyMesh]:
    mesh = ProxyMesh(directory, limits)
    try:
        yield mesh
    finally:
        for echo in mesh.echoes:
            await echo.close()
        await mesh.close()


def groups_app(groups: list[dict[str, Any]]) -> ASGIApp:
    """The users app, as far as rules ask it; the list may be changed."""
    router = Router()

    async def answer(request: Request) -> Response:
        return Response(body=groups)

    router.add("GET", "/api/groups", answer)
    return router


__all__ = ["LOOPBACK", "MeshContext", "ProxyMesh", "Source", "groups_app", "proxies"]
