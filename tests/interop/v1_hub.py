"""A v1-like hub, played by the script: it speaks as v1 does and writes down whatever v1 would close a connection for.

Nothing here uses the code under test. Our agent speaks only HTTP/2 to a hub that shows no sign of being ours, so
HTTP/1.1 is not served. Source: spec mesh-protocol 3 to 8 and 11.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from uuid import uuid4

from v1_ca import V1Authority, key, public
from v1_strict import App, Begun, StrictHttp2

from v1_http import PATIENCE, PREFACE, Below, Stream

VERSION = {"ztm": {"edition": "Community", "tag": "v1.0.4"}}
NO_SESSION = b"No agent session established yet"


@dataclass
class Link:
    """One TLS connection of an agent, by the hub's book."""

    user: str
    remote: tuple[str, int]
    not_after: str
    """The end of its certificate."""
    http: StrictHttp2 = field(init=False)
    endpoint: str | None = None
    """Fixed by the request that made the session."""
    is_control: bool = False
    live_sids: set[str] = field(default_factory=set)
    sids: list[str] = field(default_factory=list)
    apps: int = 0
    """App CONNECTs that came on it."""


@dataclass(frozen=True)
class Asked:
    """One request to the hub."""

    link: Link
    method: str
    path: str
    query: dict[str, str]
    body: bytes = b""
    stream: Stream | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Session:
    """A tunnel with the nested HTTP/2 in it, of which the hub is the client."""

    link: Link
    tunnel: Stream
    http: StrictHttp2

    @property
    def is_ended_by_agent(self) -> bool:
        return self.tunnel.number in self.link.http.peer_ended

    @property
    def is_disconnected(self) -> bool:
        return self.link.http.closed.is_set()


@dataclass
class Endpoint:
    id: str
    name: str
    user: str
    remote: tuple[str, int]
    controls: list[Session] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    heartbeat: int = 0


class V1Hub:
    """`open`, then `close`; what it does besides is scripted by its public fields."""

    def __init__(self, ca: V1Authority, folder: Path) -> None:
        self.id = str(uuid4())
        self.ca = ca
        self.name = f"hub/{self.id}"
        """The common name of its certificate."""
        self.trusts = ca.certificate
        """The CA of those it lets in."""
        self.most = ssl.TLSVersion.TLSv1_3
        self.tickets = 2
        self.acks = True
        """Whether PINGs are answered."""
        self.refusal: tuple[int, bytes] | None = None
        """The answer to every CONNECT of a control session."""
        self.shuts_out: str | None = None
        """``"end"`` or ``"reset"``: closes every connection right after the handshake, as for the evicted."""
        self.gates: dict[str, asyncio.Event] = {}
        """What is answered only once the event is set: ``control``, ``passive``, ``app`` or a path."""
        self.answers: dict[tuple[str, str], tuple[int, bytes]] = {}
        """Canned answers by method and path, before all else."""
        self.exits: dict[str, App] = {}
        """Scripted endpoints, which get the app streams to them."""
        self.violations: list[str] = []
        self.links: list[Link] = []
        self.dialled: list[float] = []
        """When each TLS connection came, by the loop's clock."""
        self.asked: list[Asked] = []
        self.endpoints: dict[str, Endpoint] = {}
        self.sessions: dict[str, Session] = {}
        """Passive ones by sid."""
        self.files: dict[str, dict[str, Any]] = {}
        self.more_ports: list[str] = []
        """Further addresses under which it lists itself."""
        self.port = 0
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._pulse = asyncio.Event()

    # ------------------------------------------------------------------ life

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._context(), limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in self.links:
            await link.http.close()
        for endpoint in self.endpoints.values():
            for session in endpoint.controls:
                await session.http.close()
        for session in self.sessions.values():
            await session.http.close()
        self._pulse = asyncio.Event()

    async def drop(self) -> None:
        """Cut every TLS connection; new ones are taken."""
        for link in self.links:
            await link.http.close()

    def _context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.verify_mode = ssl.CERT_REQUIRED
        made.maximum_version = self.most
        made.num_tickets = self.tickets
        made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
        made.load_verify_locations(cadata=self.trusts)
        own, chain = key("hub"), self._folder / "hub.pem"
        chain.write_text(own + self.ca.sign(self.name, public(own)))
        made.load_cert_chain(chain)
        return made

    def note(self) -> None:
        """Something happened: whoever waits looks again."""
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    async def until(self, happened: Callable[[], Any]) -> None:
        """Wait until `happened` is true, looking after every frame and event."""
        async with asyncio.timeout(PATIENCE):
            while not happened():
                await self._pulse.wait()

    def requests(self, method: str, path: str) -> list[Asked]:
        """The requests so far whose path is `path`, or begins with it where it ends in a slash."""
        return [
            one
            for one in self.asked
            if one.method == method and (one.path.startswith(path) if path.endswith("/") else one.path == path)
        ]

    async def until_asked(self, method: str, path: str, times: int = 1) -> Asked:
        await self.until(lambda: len(self.requests(method, path)) >= times)
        return self.requests(method, path)[times - 1]

    # ------------------------------------------------------------------ connections

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        self.dialled.append(asyncio.get_running_loop().time())
        self.note()
        if tls.session_reused:
            self.violations.append("TLS resumption was tried")
        if self.shuts_out is not None:
            if self.shuts_out == "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        wire = Begun(reader, writer)
        try:
            wire.first = await reader.readexactly(len(PREFACE))
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            return
        if wire.first != PREFACE:
            self.violations.append(f"not HTTP/2: {wire.first!r}")
        shown: Any = tls.getpeercert()
        subject = dict(pair for rdn in shown["subject"] for pair in rdn)
        link = Link(subject["commonName"], writer.get_extra_info("peername"), shown["notAfter"])

        async def answer(stream: Stream) -> None:
            await self._answer(link, stream)

        link.http = StrictHttp2(wire, "server", self, answer, acks=self.acks)
        self.links.append(link)

    async def _answer(self, link: Link, stream: Stream) -> None:
        method = stream.request[":method"]
        path, _, text = stream.request[":path"].partition("?")
        query = dict(parse_qsl(text, keep_blank_values=True))
        body = b"" if method == "CONNECT" else await stream.rest()
        asked = Asked(link, method, path, query, body, stream)
        self.asked.append(asked)
        self.note()
        canned = self.answers.get((method, path))
        if canned is not None:
            stream.say(*canned)
        elif method == "CONNECT":
            await self._connect(asked, stream)
        else:
            await self._pass(path)
            await self._reply(asked, stream)

    async def _pass(self, what: str) -> None:
        if what in self.gates:
            await self.gates[what].wait()

    # ------------------------------------------------------------------ sessions

    async def _connect(self, asked: Asked, stream: Stream) -> None:
        _, _, kind, endpoint, *rest = asked.path.split("/")
        assert kind == "endpoints", asked.path
        if rest:
            await self._relay(asked, stream, endpoint, "/".join(rest[1:]))
        elif "sid" in asked.query:
            await self._take_passive(asked, stream, endpoint, asked.query["sid"])
        else:
            await self._take_control(asked, stream, endpoint)

    async def _take_control(self, asked: Asked, stream: Stream, endpoint_id: str) -> None:
        link = asked.link
        await self._pass("control")
        if self.refusal is not None:
            stream.say(*self.refusal, "text/plain")
            return
        if link.sids:
            self.violations.append("a control session on a connection that had a passive one")
        link.endpoint, link.is_control = endpoint_id, True
        endpoint = self.endpoints.setdefault(
            endpoint_id, Endpoint(endpoint_id, asked.query["name"], link.user, link.remote)
        )
        stream.respond(200)
        session = Session(link, stream, StrictHttp2(stream, "client", self))
        endpoint.controls.append(session)
        self.note()
        await session.http.closed.wait()
        endpoint.controls.remove(session)
        stream.end()
        self.note()

    async def _take_passive(self, asked: Asked, stream: Stream, endpoint: str, sid: str) -> None:
        link = asked.link
        if link.live_sids or link.is_control or link.endpoint not in (None, endpoint):
            self.violations.append("a second session on one TLS connection")
        link.endpoint = endpoint
        link.live_sids.add(sid)
        link.sids.append(sid)
        await self._pass("passive")
        stream.respond(200)
        session = self.sessions[sid] = Session(link, stream, StrictHttp2(stream, "client", self))
        self.note()
        await session.http.closed.wait()
        stream.end()
        link.live_sids.discard(sid)
        self.note()

    def control(self, endpoint: str = "") -> Session:
        """The control session added last, of `endpoint` or of the only one."""
        found = self.endpoints[endpoint] if endpoint else next(iter(self.endpoints.values()))
        return found.controls[-1]

    async def passive(self, endpoint: str = "") -> Session:
        """Have a passive session opened."""
        sid = str(uuid4())
        answer = await self.control(endpoint).http.ask("GET", f"/api/sessions/{sid}")
        assert answer.status == 200, answer
        if sid not in self.sessions:
            self.violations.append("a session was answered for before it was there")
        return self.sessions[sid]

    def client(self, below: Below) -> StrictHttp2:
        """One more HTTP/2 connection, inside any stream."""
        return StrictHttp2(below, "client", self)

    # ------------------------------------------------------------------ app streams

    async def _relay(self, asked: Asked, stream: Stream, target: str, app: str) -> None:
        """v1's way: a passive session per stream, a 200 before the target decides, its CONNECT at the first byte."""
        link = asked.link
        link.apps += 1
        await self._pass("app")
        if target in self.exits:
            stream.respond(200)
            await self.exits[target](stream)
            return
        if target not in self.endpoints or not self.endpoints[target].controls:
            stream.say(404, b"Endpoint not found", "text/plain")
            return
        session = await self.passive(target)
        stream.respond(200)
        first = await stream.read()
        ip, port = link.remote
        who = f"src={asked.query['src']}&ip={ip}&port={port}&username={quote(link.user)}"
        inner = session.http.open("CONNECT", f"/api/apps/{app}?{who}")
        with contextlib.suppress(EOFError):
            if (await inner.head()).status == 200:
                inner.write(first)
                await asyncio.gather(pump(stream, inner), pump(inner, stream))
        stream.end()
        session.tunnel.end()

    # ------------------------------------------------------------------ the rest of its API

    async def _reply(self, asked: Asked, stream: Stream) -> None:
        match asked.method, asked.path.split("/")[2:]:
            case "GET", ["zones"]:
                _json(stream, ["default"])
            case "GET", ["zones", "default", "hubs"]:
                _json(stream, {self.id: {"ports": [self.address, *self.more_ports], "version": VERSION}})
            case "GET", ["status"]:
                _json(stream, self._status())
            case "POST", ["status" | "filesystem" | "acl"] if asked.link.endpoint is None:
                stream.say(404, NO_SESSION, "text/plain")
            case "POST", ["status"]:
                found = self.endpoints[asked.link.endpoint or ""]
                found.status, found.heartbeat = asked.json, int(time.time() * 1000)
                stream.say(201)
            case "POST", ["sign", name] if asked.link.user in ("root", unquote(name)):
                stream.say(201, self.ca.sign(unquote(name), asked.body.decode()).encode(), "text/plain")
            case "POST", ["filesystem"]:
                self.store(asked.json)
                stream.say(201)
            case "GET", ["filesystem"]:
                _json(stream, await self._listing(asked.query))
            case "GET", ["endpoints"]:
                _json(stream, [self._endpoint(one) for one in self.endpoints.values()])
            case "GET", ["endpoints", endpoint] if endpoint in self.endpoints:
                _json(stream, self._endpoint(self.endpoints[endpoint]))
            case _:
                stream.say(404)

    def _status(self) -> dict[str, Any]:
        capacity = {"agents": 100, "sessions": 1000}
        load = {"agents": len(self.endpoints), "sessions": 0}
        told = {"id": self.id, "since": 1, "zone": "default", "ports": [self.address], "peers": []}
        return {**told, "capacity": capacity, "load": load, "version": VERSION}

    def _endpoint(self, one: Endpoint) -> dict[str, Any]:
        ip, port = one.remote
        stats = {"controlSessions": len(one.controls), "passiveSessions": 0}
        told = {"id": one.id, "name": one.name, "username": one.user, "ip": ip, "port": port, "stats": stats}
        agent, hubs = one.status.get("agent"), one.status.get("hubs", [])
        return {**told, "agent": agent, "hubs": hubs, "heartbeat": one.heartbeat, "ping": None, "online": True}

    def store(self, offered: dict[str, dict[str, Any]]) -> None:
        """Merge file metadata; the greatest time wins."""
        for path, told in offered.items():
            if path not in self.files or self.files[path]["T"] < told["T"]:
                newest = max((one["+"] for one in self.files.values()), default=0)
                self.files[path] = {**told, "+": max(int(time.time() * 1000), newest + 1)}
        self.note()

    async def _listing(self, query: dict[str, str]) -> dict[str, Any]:
        if "since" not in query:
            return {path: one for path, one in self.files.items() if one["$"] >= 0}
        since = float(query["since"])
        while True:
            found = {path: one for path, one in self.files.items() if one["+"] > since}
            if found or "wait" not in query:
                return found
            await self._pulse.wait()


async def pump(source: Stream, sink: Stream) -> None:
    """Pass bytes and their end on; like v1, without any regard to how much waits."""
    while data := await source.read():
        sink.write(data)
    sink.end()


def _json(stream: Stream, value: object) -> None:
    stream.say(200, json.dumps(value).encode(), "application/json")
