"""One endpoint of a test, as its user and its peers meet it; and two of them with an app on both."""

import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ztm.apps.base import Place
from ztm.apps.command import Call, EndpointRef
from ztm.model import Peer
from ztm.net.scope import PEER, ASGIApp
from ztm.rest import inprocess
from ztm.wire.console import Window
from ztm_app.app import App
from ztm_app.replies import Reply, body_of, fields_of, reply_of
from ztm_app.runtime import Runtime
from ztm_app.streams import Stream
from ztm_app.testing.memory import MemoryHost, MemoryMesh, open_stream

IDS = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str


class TestEndpoint:
    """An endpoint on which the app runs."""

    __test__ = False

    def __init__(self, mesh: MemoryMesh, host: MemoryHost, app: App) -> None:
        self._mesh = mesh
        self.host = host
        self.app = app
        self.runtime = Runtime(app, host, logging.getLogger("app"))
        host.runtime = self.runtime

    @property
    def id(self) -> str:
        """Its id."""
        return self.host.place.id

    @property
    def name(self) -> str:
        """Its name: ``a`` or ``b``."""
        return self.host.place.name

    @property
    def neighbours(self) -> dict[str, ASGIApp]:
        """What other apps answer to `App.ask`, by ``provider/name``; put ASGI applications in."""
        return self._mesh.neighbours

    async def request(self, method: str, path: str, body: object = None) -> Reply:
        """What the app answers the local user, whatever the status is. What a handler raises is raised here."""
        answer = await inprocess.ask(
            self.runtime.user_api, method, path, body_of(body), extensions={PEER: None}, headers=fields_of(body)
        )
        return reply_of(answer, path, any_status=True)

    async def get(self, path: str) -> Reply:
        """The same, by GET."""
        return await self.request("GET", path)

    async def post(self, path: str, body: object = None) -> Reply:
        """The same, by POST; `body` as JSON if it is neither bytes nor text."""
        return await self.request("POST", path, body)

    async def connect(self, path: str) -> Stream:
        """A stream to a CONNECT route for the local user.

        Raises:
            ZtmError: it was refused.
        """
        return Stream(await open_stream(self._mesh, self.runtime.user_api, path, None), self._mesh.network)

    async def as_peer(self, user: str, method: str, path: str, body: object = None) -> Reply:
        """What the app answers another endpoint of `user`."""
        peer = Peer(user, IDS[0], "127.0.0.1", 1)
        answer = await self.host.answer(peer, method, path, body_of(body), fields_of(body))
        return reply_of(answer, path, any_status=True)

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        """What the app answers another app of its endpoint."""
        answer = await inprocess.ask(
            self.runtime.self_api, method, path, body_of(body), extensions={PEER: None}, headers=fields_of(body)
        )
        return reply_of(answer, path, any_status=True)

    async def run(self, *words: str, typed: bytes = b"") -> Ran:
        """Run one of the app's commands, as ``ztm NAME`` with these words and `typed` on its standard input."""
        here = EndpointRef(self.id, self.name)
        call = Call(program=f"ztm {self.host.name}", words=words, directory="/", endpoint=here, environment={})
        console = _Console(call, typed)
        status = await self.runtime.command(console)
        return Ran(status, bytes(console.out).decode(), bytes(console.err).decode())


class _Console:
    """A caller in memory. See `ztm.apps.command.Console`."""

    window: Window | None = None

    def __init__(self, call: Call, typed: bytes) -> None:
        self.call = call
        self.out, self.err = bytearray(), bytearray()
        self._typed = typed

    def on_window(self, changed: Callable[[Window], None]) -> None: ...

    def on_interrupt(self, interrupted: Callable[[], None]) -> None: ...

    async def read(self) -> bytes:
        data, self._typed = self._typed, b""
        return data

    async def write(self, data: bytes) -> None:
        self.out += data

    async def complain(self, data: bytes) -> None:
        self.err += data

    async def pass_keys(self, raw: bool) -> None: ...


@contextlib.asynccontextmanager
async def two_endpoints(
    app: App | Callable[[], App],
    *,
    users: tuple[str, str] = ("alice", "alice"),
    permissions: Sequence[str] | None = None,
    name: str = "app",
) -> AsyncIterator[tuple[TestEndpoint, TestEndpoint]]:
    """Run an app on two endpoints, ``a`` and ``b``, that belong to `users`.

    One `App` runs on both, and its module's variables are then shared; give a function that makes one to have two.
    `permissions` are those of the manifest; without, all are granted.

    Raises:
        ConflictError: the app does not start.
    """
    mesh = MemoryMesh()
    granted = None if permissions is None else frozenset(permissions)
    with tempfile.TemporaryDirectory(prefix="ztm-app-") as directory:
        made: list[TestEndpoint] = []
        try:
            for id_, place, user in zip(IDS, "ab", users, strict=True):
                own = Path(directory) / place
                own.mkdir(mode=0o700)
                host = MemoryHost(mesh, Place(id_, place), user, name, own, granted)
                made.append(TestEndpoint(mesh, host, app if isinstance(app, App) else app()))
                await made[-1].runtime.start()
            yield made[0], made[1]
        finally:
            for one in made:
                await one.runtime.stop()
            await mesh.close()
