"""A mesh with a real hub in this process, and foreign peers in it: v1-like agents and sources."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

from v1_http import PATIENCE, Answer, Http2, Stream, Wire
from ztm.hub.config import HubConfig
from ztm.hub.hub import Hub
from ztm.model import Address
from ztm.net.choice import implementation
from ztm.pki import Authority, new_key, public_key
from ztm.store.hub import HubStore


@dataclass(frozen=True)
class Credential:
    """A user's certificate and key, as files."""

    user: str
    ca: Path
    certificate: Path
    key: Path

    @property
    def public(self) -> bytes:
        return public_key(self.key.read_text()).encode()

    def context(self, least: ssl.TLSVersion | None = None, most: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
        made.minimum_version = least or ssl.TLSVersion.TLSv1_2
        made.maximum_version = most or ssl.TLSVersion.MAXIMUM_SUPPORTED
        made.load_verify_locations(self.ca)
        made.load_cert_chain(self.certificate, self.key)
        return made


class ClockedNetwork(implementation()):
    """The real network, with clocks that can be moved."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = 0.0
        """Seconds by which both clocks are ahead of the machine's."""

    def now(self) -> float:
        return super().now() + self.shift

    def wall(self) -> float:
        return super().wall() + self.shift


@dataclass
class Mesh:
    """A hub with what is needed to meet it; made by `mesh`."""

    folder: Path
    authority: Authority
    network: ClockedNetwork
    options: dict[str, Any]
    stack: AsyncExitStack
    hub: Hub = field(init=False)
    _known: dict[str, Credential] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "hub"

    @property
    def port(self) -> int:
        return int(self.hub.address.rpartition(":")[2])

    async def start(self) -> None:
        config: dict[str, Any] = {"listen": Address("127.0.0.1", 0), "names": (Address("hub.example", 8888),)}
        self.hub = Hub(HubConfig(data=self.data, **(config | self.options)), self.network)
        await self.hub.start()

    async def restart(self) -> None:
        """End the hub, and start another on the same data."""
        await self.hub.close()
        await self.start()

    def credential(self, user: str, *, age: float = 3600.0) -> Credential:
        """What makes its holder `user`: the same each time."""
        if user not in self._known:
            self._known[user] = self.issue(user, new_key(), age=age)
        return self._known[user]

    def issue(self, user: str, key: str, *, age: float = 3600.0, days: int = 365) -> Credential:
        """Another certificate, begun `age` seconds ago, with any key."""
        begin = datetime.now(UTC) - timedelta(seconds=age)
        return self.keep(user, self.authority.sign_user(user, public_key(key), begin, days), key)

    def keep(self, user: str, certificate: str, key: str, ca: str = "") -> Credential:
        """Put credentials into files, as foreign programs want them."""
        folder = self.folder / str(uuid4())
        folder.mkdir()
        for name, text in (("ca", ca or self.authority.certificate), ("certificate", certificate), ("key", key)):
            (folder / name).write_text(text)
        return Credential(user, folder / "ca", folder / "certificate", folder / "key")

    async def is_refused(self, who: str | Credential) -> bool:
        """Whether the hub lets this user or certificate say nothing."""
        try:
            wire = await self.dial(who)
            await wire.probe("GET", "/api/status")
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            return True
        return False

    async def dial(self, who: str | Credential, **versions: ssl.TLSVersion) -> Wire:
        """A TLS connection without ALPN and without SNI, as v1 makes it."""
        credential = self.credential(who) if isinstance(who, str) else who
        return await self.dial_with(credential.context(**versions))

    async def dial_with(self, context: ssl.SSLContext, **options: Any) -> Wire:
        wire = Wire(
            *await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=context, **({"server_hostname": ""} | options), limit=1 << 20
            )
        )
        self.stack.push_async_callback(wire.close)
        return wire

    async def connect(self, who: str | Credential, **options: Any) -> Http2:
        """An HTTP/2 connection."""
        connection = Http2(await self.dial(who), "client", **options)
        self.stack.push_async_callback(connection.close)
        return connection

    async def agent(self, user: str, name: str = "ep", endpoint: str = "") -> "Agent":
        """A v1-like agent that is connected."""
        agent = Agent(self, user, name, endpoint or str(uuid4()))
        await agent.connect()
        return agent

    async def app(self, source: "Agent", target: str, app: str = "ztm/tunnel", early: bytes = b"") -> Stream:
        """An app stream as a v1 source opens it: on a TLS connection of its own."""
        connection = await self.connect(source.who)
        stream = connection.open("CONNECT", f"/api/endpoints/{target}/apps/{app}?src={source.id}")
        if early:
            stream.write(early)
        return stream


@asynccontextmanager
async def mesh(
    folder: Path, *, authority: Authority | None = None, shift: float = 0.0, **options: Any
) -> AsyncIterator[Mesh]:
    """A mesh with a running hub; everything that was connected to it is closed at the end."""
    ca = authority or Authority.create(datetime.now(UTC) - timedelta(days=2))
    store = HubStore(folder / "hub")
    if store.authority() is None:
        store.save_authority(ca)
    store.close()
    async with AsyncExitStack() as stack:
        made = Mesh(folder, ca, ClockedNetwork(), options, stack)
        made.network.shift = shift
        await made.start()
        try:
            yield made
            await stack.aclose()
        finally:
            await made.hub.close()


class Agent:
    """A v1-like agent: one control connection, passive sessions when the hub asks for them."""

    def __init__(self, mesh: Mesh, user: str | Credential, name: str, endpoint: str) -> None:
        self.mesh = mesh
        self.who: str | Credential = user
        self.name = name
        self.id = endpoint
        self.outer: Http2
        self.control: Stream
        self.nested: Http2
        self.asked: list[tuple[str, str, str]] = []
        """Session (``control`` or ``passive``), method and path of every request from the hub."""
        self.pinged = asyncio.Event()
        self.is_mute = False
        """Whether requests get no answer."""
        self.ping_status = 200
        self.says_id = endpoint
        self.offers_passive = True
        self.passives: list[Http2] = []
        self.passive_came = asyncio.Event()
        self.files: dict[str, bytes] = {}
        self.app: Callable[[Stream], Awaitable[None]] = echo
        self.heartbeat: Answer

    async def connect(self) -> Self:
        """Control CONNECT, and the first heartbeat in the same flight."""
        self.outer = await self.mesh.connect(self.who)
        with self.outer.one_flight():
            self.control = self.open()
            beat = self.outer.request("POST", "/api/status", json.dumps(self.status()).encode())
        head = await self.control.head()
        if head.status != 200:
            raise PermissionError(f"{head.status} {(await self.control.rest()).decode()}")
        self.nested = self._nested(self.control, "control")
        self.heartbeat = await beat.answer()
        return self

    def open(self) -> Stream:
        return self.outer.open("CONNECT", f"/api/endpoints/{self.id}?name={quote(self.name)}")

    def status(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "hubs": [],
            "agent": {"version": {"ztm": {"edition": "Py", "tag": "v0"}}, "labels": ["site:x"]},
        }

    def _nested(self, below: Stream, where: str) -> Http2:
        async def answer(stream: Stream) -> None:
            await self._answer(stream, where)

        nested = Http2(below, "server", answer)
        self.mesh.stack.push_async_callback(nested.close)
        return nested

    async def _answer(self, stream: Stream, where: str) -> None:
        method, target = stream.request[":method"], stream.request[":path"]
        path = target.partition("?")[0]
        self.asked.append((where, method, target))
        if path == "/api/ping":
            self.pinged.set()
        if self.is_mute:
            return
        if path == "/api/ping":
            said = {"id": self.says_id, "name": self.name, "time": int(time.time() * 1000)}
            stream.say(self.ping_status, json.dumps(said).encode(), "application/json")
        elif path.startswith("/api/sessions/") and where == "control" and self.offers_passive:
            await self._offer(path.rpartition("/")[2])
            stream.say(200)
        elif method == "CONNECT" and path.startswith("/api/apps/"):
            await self.app(stream)
        elif path.startswith("/api/file-data/") and (found := self.files.get(path.rpartition("/")[2])) is not None:
            stream.say(200, found, "application/octet-stream")
        elif path == "/api/log":
            stream.say(200, b"[]", "application/json")
        else:
            stream.say(404)

    async def _offer(self, sid: str) -> None:
        outer = await self.mesh.connect(self.who)
        tunnel = outer.open("CONNECT", f"/api/endpoints/{self.id}?sid={sid}")
        assert (await tunnel.head()).status == 200
        self.passives.append(self._nested(tunnel, "passive"))
        self.passive_came.set()

    def connects(self) -> list[tuple[str, str]]:
        """Session and path of the app streams so far."""
        return [(where, path) for where, method, path in self.asked if method == "CONNECT"]


async def echo(stream: Stream) -> None:
    """Takes every app stream and says what it is told, to the end."""
    stream.respond(200)
    while data := await stream.read():
        stream.write(data)
    stream.end()


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so; `happened` makes a round trip to the hub, so this does not spin."""
    async with asyncio.timeout(PATIENCE):
        while not await happened():
            pass
