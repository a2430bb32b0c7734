"""The small mesh with the port app on every endpoint, and what its tests ask of it."""

import json
import socket
from collections.abc import Callable
from typing import Any

from app_mesh import LOOPBACK, MeshContext, SmallMesh, ask, free_port

from ztm.apps.port.api import PortApp
from ztm.apps.streams.limits import StreamLimits
from ztm.errors import BrokenStreamError
from ztm.model import Address, Peer
from ztm.net.base import Stream


class PortMesh(SmallMesh[PortApp]):
    """Endpoints with ports."""

    def __init__(self) -> None:
        super().__init__(PortApp)


def limited(limits: StreamLimits) -> Callable[[MeshContext], PortApp]:
    """Makes the app with other numbers than usual."""

    def make(context: MeshContext) -> PortApp:
        return PortApp(context, limits)

    return make


async def user(app: PortApp, method: str, path: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    status, _, answer = await ask(app.user_api, method, path, content)
    return status, json.loads(answer) if answer else None


async def peer(app: PortApp, who: Peer | None, method: str, path: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    status, _, answer = await ask(app.peer_api, method, path, content, peer=who)
    return status, json.loads(answer) if answer else None


async def configure(
    app: PortApp, ep: str, ports: list[dict[str, Any]] | None = None, acl: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Give an endpoint these ports and this access list; how its ports stand then."""
    config = {"ports": ports or [], "acl": acl or []}
    status, shown = await user(app, "POST", f"/api/endpoints/{ep}/config", config)
    assert status == 201, shown
    found: list[dict[str, Any]] = shown
    return found


def port(via: str, target: Address, protocol: str = "tcp", **more: Any) -> tuple[dict[str, Any], Address]:
    """A port to `target` that is free here, and where it will listen."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    address = Address(LOOPBACK, free_port(kind))
    return {"protocol": protocol, "listen": str(address), "via": via, "target": str(target), **more}, address


async def ports(app: PortApp, ep: str) -> list[dict[str, Any]]:
    """How the ports of an endpoint stand."""
    status, shown = await user(app, "GET", f"/api/endpoints/{ep}/ports")
    assert status == 200, shown
    found: list[dict[str, Any]] = shown
    return found


async def is_reset(stream: Stream) -> bool:
    try:
        return bool(await stream.read()) and False
    except BrokenStreamError:
        return True
