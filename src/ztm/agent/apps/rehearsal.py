"""An app by others in its real, confined process on two endpoints in memory: what `ztm app check` looks at.

Nothing of it is known to a mesh or an agent, and nothing stays when it is over.
"""

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztm.agent.apps.installed import Installed
from ztm.agent.apps.process.app import ProcessApp
from ztm.agent.apps.process.limits import LIMITS
from ztm.apps.audit import Audit, Trail
from ztm.apps.base import AppFiles, Place
from ztm.errors import ForbiddenError, NotFoundError, UnreachableError
from ztm.model import Endpoint, FileInfo, Peer
from ztm.net.aio import AioNetwork, adopt
from ztm.net.asgi import PEER, HttpLimits, serve_stream
from ztm.net.base import Exchange, Headers, Network, Session, SessionLimits
from ztm.net.http1 import Answer
from ztm.rest.client import call_stream
from ztm.wire.records import User

USER = "alice"
"""Whom both endpoints belong to."""
IDS = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b")
ANSWER = 20.0
"""Seconds for the app on the other endpoint to answer."""


class _NoAudit(Audit):
    def begin(self, trail: Trail) -> None:
        """Nothing is kept."""

    def end(self, trail: Trail) -> None:
        """Nothing is kept."""


class _Files(AppFiles):
    """Files in memory; those of the mesh are the same on both endpoints."""

    def __init__(self, mesh: dict[str, bytes]) -> None:
        self._mesh = mesh
        self._local: dict[str, bytes] = {}

    def read_local(self, path: str) -> bytes | None:
        return self._local.get(path)

    def write_local(self, path: str, data: bytes) -> None:
        self._local[path] = data

    def erase_local(self, path: str) -> bool:
        return self._local.pop(path, None) is not None

    def list_local(self) -> list[str]:
        return sorted(self._local)

    def share(self, path: str, data: bytes) -> None:
        self._mesh[f"/shared/{USER}/{path}"] = data

    def unshare(self, path: str) -> None:
        self._mesh.pop(f"/shared/{USER}/{path}", None)

    def known(self) -> Mapping[str, FileInfo]:
        return {path: FileInfo(hashlib.sha256(data).hexdigest(), len(data), 0) for path, data in self._mesh.items()}

    def shared(self) -> Mapping[str, FileInfo]:
        return {path: file for path, file in self.known().items() if path.startswith("/shared/")}

    async def read(self, path: str) -> bytes | None:
        return self._mesh.get(path)

    async def write(self, path: str, data: bytes) -> None:
        if not path.startswith((f"/shared/{USER}/", f"/users/{USER}/")):
            raise ForbiddenError(f"{path} is not the own user's")
        self._mesh[path] = data

    async def erase(self, path: str) -> bool:
        return self._mesh.pop(path, None) is not None

    def on_change(self, changed: Callable[[], None]) -> None:
        """Whoever asks again sees it."""


@dataclass(slots=True)
class _Mesh:
    """What the two endpoints share."""

    directory: Path
    network: Network
    log: "logging.LoggerAdapter[logging.Logger]"
    files: dict[str, bytes] = field(default_factory=dict)
    endpoints: dict[str, "_Context"] = field(default_factory=dict)
    apps: dict[str, ProcessApp] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)


class _Context:
    """See `ztm.apps.base.AppContext`."""

    mesh = "check"

    def __init__(self, mesh: _Mesh, place: Place) -> None:
        self.place = place
        self.user = USER
        self.network = mesh.network
        self.files: AppFiles = _Files(mesh.files)
        self.log = mesh.log
        self.audit: Audit = _NoAudit()
        self._mesh = mesh
        self._tasks: set[asyncio.Task[None]] = set()

    async def endpoints(self, *, id: str = "", name: str = "") -> list[Endpoint]:  # noqa: A002
        places = [one.place for one in self._mesh.endpoints.values()]
        wanted = [one for one in places if not (id or name) or id == one.id or name == one.name]
        return [Endpoint(one.id, one.name, USER, online=True) for one in wanted]

    async def users(self) -> list[User]:
        return [User(USER, len(self._mesh.endpoints))]

    def directory(self) -> Path:
        own = self._mesh.directory / self.place.name
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        return own

    async def connect(self, endpoint: str) -> Exchange:
        """A stream to the app on the other endpoint, on a session of its own."""
        app = self._mesh.apps.get(endpoint)
        if app is None:
            raise UnreachableError(f"the app does not run on endpoint {endpoint}")
        ours, theirs = [await adopt(one) for one in _pair()]
        peer = {PEER: Peer(USER, self.place.id, "127.0.0.1", 1)}

        async def answer(exchange: Exchange) -> None:
            exchange.respond(200)
            http, session = HttpLimits(), SessionLimits()
            await serve_stream(self.network, exchange, app.peer_api, peer, http_limits=http, session_limits=session)

        served = self.network.session(theirs, "server", answer=answer)
        asking = self.network.session(ours, "client")
        self._mesh.sessions += [served, asking]
        return asking.open([(":method", "CONNECT"), (":scheme", "http"), (":path", "/app")])

    async def request(
        self, endpoint: str, method: str, target: str, body: bytes = b"", headers: Headers = ()
    ) -> Answer:
        exchange = await self.connect(endpoint)
        try:
            await exchange.response()
            return await call_stream(exchange, method, target, body=body, timeout=ANSWER, headers=headers)
        finally:
            exchange.abort("answered")

    async def ask(
        self,
        app: str,
        method: str,  # noqa: ARG002
        target: str,  # noqa: ARG002
        body: bytes = b"",  # noqa: ARG002
        headers: Headers = (),  # noqa: ARG002
    ) -> Answer:
        raise NotFoundError(f"there is no app {app} here: only the app itself is checked")

    def tell(self, kind: str, name: str, state: str, reason: str = "") -> None:
        """Nobody follows."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what was spawned."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for one in pair:
        one.setblocking(False)
    return pair


@contextlib.asynccontextmanager
async def rehearsed(
    installed: Installed, directory: Path, log: logging.Logger, *, is_confined: bool = True
) -> AsyncIterator[tuple[ProcessApp, ProcessApp]]:
    """The app on two endpoints, ``a`` and ``b``, of one user; its files are below `directory`, its output in `log`.

    Raises:
        UnreachableError: it does not start; the message says why.
    """
    mesh = _Mesh(directory, AioNetwork(), logging.LoggerAdapter(log, {}))
    try:
        for id_, name in zip(IDS, "ab", strict=True):
            context = mesh.endpoints[id_] = _Context(mesh, Place(id_, name))
            app = ProcessApp(installed, context, LIMITS, is_confined=is_confined)
            await app.start()
            mesh.apps[id_] = app
        first, second = mesh.apps.values()
        yield first, second
    finally:
        for app in mesh.apps.values():
            await app.stop()
        for session in mesh.sessions:
            session.close("the check is over")
        for context in mesh.endpoints.values():
            await context.close()
