"""A small mesh for one app: real sockets and HTTP/2 sessions between contexts, without hub and agent."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

from ztm.apps.audit import Audit, Trail
from ztm.apps.base import App, AppFiles, Place
from ztm.errors import ForbiddenError, NotFoundError, StorageError, UnreachableError
from ztm.model import Address, Endpoint, FileInfo, Peer
from ztm.net.asgi import PEER, UPGRADE, ASGIApp, HttpLimits, Upgrade, serve_stream
from ztm.net.base import Accept, Exchange, Headers, Listener, Network, Session, SessionLimits, Stream, TlsConfig
from ztm.net.choice import implementation
from ztm.net.http1 import Answer, request_http1
from ztm.rest import inprocess
from ztm.wire.records import User

LOOPBACK = "127.0.0.1"
OWN_IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(10)]

DEADLINE = 15.0
"""Seconds after which a test that waits for what never comes fails."""


def _give_up() -> None:
    for task in asyncio.all_tasks():
        task.cancel("the test took too long")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nothing listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class WatchedNetwork(implementation()):
    """The real network, which also says when a port was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()

    async def listen(
        self, address: Address, accept: Accept, tls: TlsConfig | None = None, *, handshakes: int = 256
    ) -> Listener:
        listener = await super().listen(address, accept, tls, handshakes=handshakes)
        self.opened.set()
        return listener


class MemoryAudit:
    """Keeps what was audited."""

    def __init__(self) -> None:
        self.begun: list[Trail] = []
        self.trails: list[Trail] = []

    def begin(self, trail: Trail) -> None:
        self.begun.append(trail)

    def end(self, trail: Trail) -> None:
        self.trails.append(trail)


class MeshFiles:
    """One app's files; what is shared is seen by all at once."""

    def __init__(self, mesh: "SmallMesh[Any]", user: str, local: dict[str, bytes]) -> None:
        self.local = local
        self.is_full = False
        self._mesh = mesh
        self._user = user

    def read_local(self, path: str) -> bytes | None:
        return self.local.get(path)

    def write_local(self, path: str, data: bytes) -> None:
        if self.is_full:
            raise StorageError("the disk is full")
        self.local[path] = data

    def erase_local(self, path: str) -> bool:
        return self.local.pop(path, None) is not None

    def list_local(self) -> list[str]:
        return sorted(self.local)

    def share(self, path: str, data: bytes) -> None:
        self._mesh.publish(f"/shared/{self._user}/{path}", data)

    def unshare(self, path: str) -> None:
        self._mesh.shared.pop(f"/shared/{self._user}/{path}", None)
        self._mesh.changed()

    def shared(self) -> Mapping[str, FileInfo]:
        return {path: FileInfo(sha256(data).hexdigest(), len(data), 0) for path, data in self._mesh.shared.items()}

    def known(self) -> Mapping[str, FileInfo]:
        return self.shared()

    async def read(self, path: str) -> bytes | None:
        return self._mesh.shared.get(path)

    async def write(self, path: str, data: bytes) -> None:
        self._check(path)
        self._mesh.publish(path, data)

    async def erase(self, path: str) -> bool:
        self._check(path)
        was_there = self._mesh.shared.pop(path, None) is not None
        self._mesh.changed()
        return was_there

    def _check(self, path: str) -> None:
        if path.split("/")[2] != self._user:
            raise ForbiddenError(f"{path} is another user's")

    def on_change(self, changed: Callable[[], None]) -> None:
        self._mesh.watchers.append(changed)


class MeshContext:
    """See `apps.base.AppContext`."""

    def __init__(self, mesh: "SmallMesh[Any]", place: Place, user: str, local: dict[str, bytes]) -> None:
        self.mesh = "test"
        self.place = place
        self.user = user
        self.network: Network = mesh.network
        self.disk = MeshFiles(mesh, user, local)
        self.files: AppFiles = self.disk
        self.log = logging.LoggerAdapter(logging.getLogger("test.app"), {})
        self.trail = MemoryAudit()
        self.audit: Audit = self.trail
        self.tasks: set[asyncio.Task[None]] = set()
        self.told: list[tuple[str, str, str, str]] = []
        self._mesh = mesh

    async def endpoints(self, *, id: str = "", name: str = "") -> list[Endpoint]:  # noqa: A002
        return [Endpoint(one.place.id, one.place.name, one.user, online=True) for one in self._mesh.contexts.values()]

    async def users(self) -> list[User]:
        count = Counter(one.user for one in self._mesh.contexts.values())
        return [User(name, number) for name, number in count.items()]

    def directory(self) -> Path:
        return self._mesh.directory(self.place.name)

    async def ask(self, app: str, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> Answer:
        if app not in self._mesh.neighbours:
            raise NotFoundError(f"there is no app {app}")
        neighbour = self._mesh.neighbours[app]
        return await inprocess.ask(neighbour, method, target, body, extensions={PEER: None}, headers=headers)

    async def connect(self, endpoint: str) -> Exchange:
        return await self._mesh.connect(self, endpoint)

    async def request(
        self, endpoint: str, method: str, target: str, body: bytes = b"", headers: Headers = ()
    ) -> Answer:
        exchange = await self.connect(endpoint)
        await exchange.response()
        try:
            return await request_http1(exchange, method, target, body=body, headers=headers)
        finally:
            exchange.abort()

    def tell(self, kind: str, name: str, state: str, reason: str = "") -> None:
        self.told.append((kind, name, state, reason))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stop(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


A = TypeVar("A", bound=App)


class SmallMesh(Generic[A]):
    """Endpoints that reach each other directly, each pair over one HTTP/2 session on loopback.

    `factory` makes the app of an endpoint from its context, unless `join` is given another one.
    """

    def __init__(self, factory: Callable[[MeshContext], A], directory: Path | None = None) -> None:
        self.factory = factory
        self.neighbours: dict[str, ASGIApp] = {}
        """What other apps answer to `AppContext.ask`, by name."""
        self._directory = directory
        self.network = WatchedNetwork()
        self.shared: dict[str, bytes] = {}
        self.watchers: list[Callable[[], None]] = []
        self.contexts: dict[str, MeshContext] = {}
        self.apps: dict[str, A] = {}
        self.asked: list[str] = []
        """Endpoint ids that a stream was opened to, in order."""
        self.before_answer: Callable[[Exchange], Awaitable[None]] | None = None
        """Runs at the accepting side before it answers 200."""
        self.refusing: dict[str, int] = {}
        """Status with which the way to an endpoint refuses."""
        self.local: dict[str, dict[str, bytes]] = {}
        self._sessions: dict[tuple[str, str], Session] = {}
        self._listeners: list[Listener] = []
        self._deadline = asyncio.get_running_loop().call_later(DEADLINE, _give_up)

    async def join(self, name: str, user: str = "alice", factory: Callable[[MeshContext], A] | None = None) -> A:
        place = Place(OWN_IDS[len(self.contexts)], name)
        context = MeshContext(self, place, user, self.local.setdefault(name, {}))
        self.contexts[place.id] = context
        return await self._start(context, factory)

    async def _start(self, context: MeshContext, factory: Callable[[MeshContext], A] | None) -> A:
        app = (factory or self.factory)(context)
        await app.start()
        self.apps[context.place.id] = app
        return app

    async def restart(self, name: str, factory: Callable[[MeshContext], A] | None = None) -> A:
        old = self.context(name)
        await self.apps.pop(old.place.id).stop()
        await old.stop()
        context = MeshContext(self, old.place, old.user, old.disk.local)
        self.contexts[old.place.id] = context
        return await self._start(context, factory)

    def directory(self, name: str) -> Path:
        if self._directory is None:
            raise StorageError("this test gave the mesh no directory")
        directory = self._directory / name
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def context(self, name: str) -> MeshContext:
        return next(one for one in self.contexts.values() if one.place.name == name)

    def publish(self, path: str, data: bytes) -> None:
        self.shared[path] = data
        self.changed()

    def changed(self) -> None:
        for changed in self.watchers:
            changed()

    async def connect(self, source: MeshContext, target: str) -> Exchange:
        self.asked.append(target)
        if target not in self.apps:
            raise UnreachableError(f"no hub leads to {target}")
        key = (source.place.id, target)
        if key not in self._sessions:
            self._sessions[key] = await self._session(source, target)
        return self._sessions[key].open([(":method", "CONNECT"), (":scheme", "http"), (":path", "/app")])

    async def _session(self, source: MeshContext, target: str) -> Session:
        peer = Peer(source.user, source.place.id, LOOPBACK, 1)

        async def answer(exchange: Exchange) -> None:
            if target in self.refusing:
                exchange.respond(self.refusing[target], end=True)
                return
            if self.before_answer is not None:
                await self.before_answer(exchange)
            exchange.respond(200)
            await serve_stream(
                self.network,
                exchange,
                self.apps[target].peer_api,
                {PEER: peer},
                http_limits=HttpLimits(),
                session_limits=SessionLimits(),
            )

        async def accept(stream: Stream) -> None:
            await self.network.session(stream, "server", answer=answer).closed()

        listener = await self.network.listen(Address(LOOPBACK, free_port()), accept)
        self._listeners.append(listener)
        return self.network.session(await self.network.dial(listener.address), "client")

    async def close(self) -> None:
        self._deadline.cancel()
        for app in self.apps.values():
            await app.stop()
        for context in self.contexts.values():
            await context.stop()
        for session in self._sessions.values():
            session.close("the test is over")
        for listener in self._listeners:
            await listener.close()
        for _ in range(5):
            await asyncio.sleep(0)


class Echo:
    """A TCP target: sends `greeting` at once, then all that comes back with `mark` before each piece, then the end."""

    def __init__(self, network: Network, greeting: bytes = b"", mark: bytes = b"") -> None:
        self.network = network
        self.greeting = greeting
        self.mark = mark
        self.connections = 0
        self._listener: Listener | None = None

    async def open(self) -> Address:
        self._listener = await self.network.listen(Address(LOOPBACK, free_port()), self._accept)
        return self._listener.address

    async def _accept(self, stream: Stream) -> None:
        self.connections += 1
        if self.greeting:
            await stream.write(self.greeting)
        while data := await stream.read():
            await stream.write(self.mark + data)
        await stream.write(b"<end>")
        stream.end()
        await stream.ended()

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()


async def read_exactly(stream: Stream, size: int) -> bytes:
    """`size` bytes, or what came until the end."""
    got = b""
    while len(got) < size:
        data = await stream.read()
        if not data:
            break
        got += data
    return got


async def read_all(stream: Stream) -> bytes:
    """All until the end."""
    return await read_exactly(stream, 1 << 62)


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes = b"",
    peer: Peer | None = None,
    upgrade: Upgrade | None = None,
    gone: asyncio.Event | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request straight to an ASGI application; its caller leaves when `gone` is set."""
    raw, _, query = path.partition("?")
    scope = {
        "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": query.encode(),
        "root_path": "", "headers": [], "extensions": {PEER: peer, UPGRADE: upgrade}, "http_version": "1.1",
    }  # fmt: skip
    answer: dict[str, Any] = {"body": b""}

    untold, leaving = [body], gone or asyncio.Event()

    async def receive() -> dict[str, Any]:
        if untold:
            return {"type": "http.request", "body": untold.pop(), "more_body": False}
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
            answer["headers"] = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer["body"] += message.get("body", b"")

    await app(scope, receive, send)
    return answer["status"], answer["headers"], answer["body"]
