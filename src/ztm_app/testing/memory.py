"""A mesh in memory: who is in it, which files it has, and a `Host` for each endpoint."""

import asyncio
import contextlib
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from ztm.apps.base import MAX_FILE, Place
from ztm.core.access import check_path
from ztm.errors import ForbiddenError, NotFoundError, TooLargeError, UsageError, ZtmError, from_status
from ztm.model import Address, Endpoint, Peer
from ztm.net.aio import AioNetwork
from ztm.net.base import Headers, Network, Stream
from ztm.net.http1 import Answer
from ztm.net.reply import INTERNAL, error_body
from ztm.net.scope import PEER, UPGRADE, ASGIApp, Message, Scope, Upgrade, check_target
from ztm.rest import inprocess
from ztm.rest.client import error_of
from ztm.wire.processes import FileRecord
from ztm.wire.records import User
from ztm_app.host import Port, Taken
from ztm_app.runtime import Runtime

MESH = "test"


class MemoryMesh:
    """What the endpoints of a test share."""

    def __init__(self) -> None:
        self.network = AioNetwork()
        self.hosts: dict[str, MemoryHost] = {}
        self.files: dict[str, bytes] = {}
        """What is in the mesh, by app path."""
        self.neighbours: dict[str, ASGIApp] = {}
        """What other apps answer to `App.ask`, by ``provider/name``."""
        self.tasks: set[asyncio.Task[None]] = set()

    def owner_of(self, endpoint: str) -> "MemoryHost":
        """The host of an endpoint.

        Raises:
            NotFoundError: there is none.
        """
        if endpoint not in self.hosts:
            raise NotFoundError(f"endpoint {endpoint} not found")
        return self.hosts[endpoint]

    async def close(self) -> None:
        """End the streams that are left."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class MemoryHost:
    """See `ztm_app.host.Host`. `permissions` are those of the manifest; None grants all."""

    def __init__(
        self, mesh: MemoryMesh, place: Place, owner: str, name: str, directory: Path, permissions: frozenset[str] | None
    ) -> None:
        self.name = name
        self.provider = owner
        self.mesh = MESH
        self.place = place
        self.owner = owner
        self.network: Network = mesh.network
        self.directory = directory
        self.runtime: Runtime | None = None
        self._mesh = mesh
        self._permissions = permissions
        self._local: dict[str, bytes] = {}
        mesh.hosts[place.id] = self

    def _check(self, permission: str, what: str) -> None:
        if self._permissions is not None and permission not in self._permissions:
            raise ForbiddenError(f"app {self.name} may not {what}: its manifest does not ask for {permission!r}")

    def peer(self) -> Peer:
        """This endpoint as others see it."""
        return Peer(self.owner, self.place.id, "127.0.0.1", 1)

    # ------------------------------------------------------------------ the mesh

    async def request(self, endpoint: str, method: str, target: str, body: bytes, headers: Headers) -> Answer:
        """See `Host`."""
        self._check("mesh.connect", f"open streams to other endpoints ({method} {target})")
        return await self._mesh.owner_of(endpoint).answer(self.peer(), method, target, body, headers)

    async def answer(self, peer: Peer, method: str, target: str, body: bytes, headers: Headers = ()) -> Answer:
        """What the app here answers a peer."""
        try:
            return await inprocess.ask(self._peer_api(), method, target, body, extensions={PEER: peer}, headers=headers)
        except ZtmError as error:
            return Answer(error.status, [], error_body(error.status, str(error)))
        except Exception:
            if self.runtime is not None:
                self.runtime.log.exception("%s %s failed", method, target)
            return Answer(500, [], error_body(500, INTERNAL))

    def _peer_api(self) -> ASGIApp:
        if self.runtime is None:
            raise NotFoundError(f"app {self.name} does not run on endpoint {self.place.name}")
        return self.runtime.peer_api

    async def connect(self, endpoint: str, target: str) -> Stream:
        """See `Host`."""
        self._check("mesh.connect", f"open streams to other endpoints (CONNECT {target})")
        host = self._mesh.owner_of(endpoint)
        return await open_stream(self._mesh, host._peer_api(), target, self.peer())

    async def endpoints(self, word: str) -> Sequence[Endpoint]:
        """See `Host`."""
        self._check("mesh.connect", "see the endpoints of the mesh")
        every = [Endpoint(one.place.id, one.place.name, one.owner, online=True) for one in self._mesh.hosts.values()]
        return [one for one in every if not word or word in (one.id, one.name)]

    async def users(self) -> Sequence[User]:
        """See `Host`."""
        self._check("mesh.connect", "see the users of the mesh")
        owners = [one.owner for one in self._mesh.hosts.values()]
        return [User(name, owners.count(name)) for name in dict.fromkeys(owners)]

    async def ask(self, app: str, method: str, target: str, body: bytes, headers: Headers) -> Answer:
        """See `Host`."""
        self._check(f"app:{app}", f"ask the app {app}")
        if app not in self._mesh.neighbours:
            raise NotFoundError(f"there is no app {app}")
        neighbour = self._mesh.neighbours[app]
        return await inprocess.ask(neighbour, method, target, body, extensions={PEER: None}, headers=headers)

    async def listen(self, address: Address, taken: Taken) -> Port:
        """See `Host`."""
        self._check("listen", f"listen on {address}")
        runtime = self.runtime

        async def accept(stream: Stream) -> None:
            if runtime is not None:
                await runtime.here(_owned(taken, stream))

        return await self.network.listen(address, accept)

    # ------------------------------------------------------------------ files

    async def read(self, path: str) -> bytes | None:
        """See `Host`."""
        return self._room(path, "read").get(path)

    async def write(self, path: str, data: bytes) -> None:
        """See `Host`."""
        room = self._room(path, "write")
        self._check_own(path)
        if len(data) > MAX_FILE:
            raise TooLargeError(f"{path}: {len(data)} bytes; {MAX_FILE} are allowed")
        room[path] = data

    async def erase(self, path: str) -> bool:
        """See `Host`."""
        room = self._room(path, "erase")
        self._check_own(path)
        return room.pop(path, None) is not None

    async def files(self) -> Mapping[str, FileRecord]:
        """See `Host`."""
        found = {path: FileRecord(path, len(data)) for path, data in {**self._local, **self._mesh.files}.items()}
        return {path: file for path, file in found.items() if self._may_see(path)}

    def _may_see(self, path: str) -> bool:
        try:
            self._room(path, "see")
        except ZtmError:
            return False
        return True

    def _room(self, path: str, verb: str) -> dict[str, bytes]:
        check_path(path)
        what = f"{verb} {path}"
        if path.startswith("/local/"):
            self._check("files.local", what)
            return self._local
        if path.startswith(f"/users/{self.owner}/"):
            self._check("files.user", what)
        elif path.startswith("/shared/"):
            self._check("files.shared", what)
        else:
            raise UsageError(f"an app has no files at {path}: use /local, /users/{self.owner} or /shared")
        return self._mesh.files

    def _check_own(self, path: str) -> None:
        if path.startswith("/shared/") and path.split("/")[2] != self.owner:
            raise ForbiddenError(f"{path} belongs to another user")


async def _owned(taken: Taken, stream: Stream) -> None:
    await taken(stream)


async def open_stream(mesh: MemoryMesh, app: ASGIApp, target: str, peer: Peer | None) -> Stream:
    """A stream to a CONNECT route of `app`, which has accepted it.

    Raises:
        ZtmError: it refused.
    """
    ours, theirs = socket.socketpair()
    near, far = await mesh.network.adopt(ours), await mesh.network.adopt(theirs)
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def accepted(headers: Headers) -> None:
        answered.set_result(Answer(200, list(headers), b""))

    task = asyncio.get_running_loop().create_task(_serve(app, target, peer, Upgrade(far, accepted), answered))
    mesh.tasks.add(task)
    task.add_done_callback(mesh.tasks.discard)
    answer = await answered
    if answer.status != 200:
        near.abort("refused")
        raise error_of(answer, f"CONNECT {target}")
    return near


async def _serve(
    app: ASGIApp, target: str, peer: Peer | None, upgrade: Upgrade, answered: "asyncio.Future[Answer]"
) -> None:
    status, parts = 500, [b""]

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    async def receive() -> Message:
        await upgrade.stream.ended()
        return {"type": "http.disconnect"}

    try:
        await app(_scope(target, peer, upgrade), receive, send)
    except ZtmError as error:
        status, parts = error.status, [str(error).encode()]
    except Exception as error:
        upgrade.stream.abort("the handler failed")
        if not answered.done():
            answered.set_exception(from_status(500, f"the handler failed: {error!r}"))
        raise
    finally:
        if not answered.done():
            answered.set_result(Answer(status, [], b"".join(parts)))
        with contextlib.suppress(ZtmError):
            upgrade.stream.end()


def _scope(target: str, peer: Peer | None, upgrade: Upgrade) -> Scope:
    raw_path, _, query = check_target(target).partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "2",
        "method": "CONNECT",
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
        "extensions": {PEER: peer, UPGRADE: upgrade},
    }
