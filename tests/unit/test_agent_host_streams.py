"""Stopping an app ends what is under way in it, at once and nothing else: streams, requests, WebSockets, commands."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from websocket_client import WebSocketClient
from ztm.agent.apps.host import AppHost
from ztm.agent.apps.uses import StoppedError
from ztm.apps.base import AppContext
from ztm.errors import BrokenStreamError
from ztm.model import Address, Peer
from ztm.net.asgi import UPGRADE, HttpLimits, Receive, Scope, Send, serve_stream
from ztm.net.base import Listener, SessionLimits, Stream
from ztm.net.choice import network as chosen_network
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange

PEER = Peer("root", "ep", "10.1.2.3", 777)
APPS = ("x", "y")


class Context:
    def __init__(self) -> None:
        self.log = logging.LoggerAdapter(logging.getLogger("test"), {})
        self.audit = self

    def begin(self, trail: object) -> None:
        """Nothing is kept."""

    def end(self, trail: object) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing was spawned."""


class Echo:
    """Echoes streams and WebSockets; ``GET /long`` begins an answer and never ends it, ``/mute`` never begins one."""

    def __init__(self, muted: asyncio.Event) -> None:
        self.cancelled: list[str] = []
        self.muted = muted

    async def start(self) -> None:
        """At once."""

    async def stop(self) -> None:
        """At once."""

    async def user_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            self.cancelled.append(scope["path"])
            raise

    peer_api = user_api

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})
        elif scope["method"] == "CONNECT":
            stream = scope["extensions"][UPGRADE].accept()
            while data := await stream.read():
                await stream.write(data)
        elif scope["path"] == "/mute":
            self.muted.set()
            await asyncio.Event().wait()
        else:
            is_long = scope["path"] == "/long"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"here", "more_body": is_long})
            if is_long:
                await asyncio.Event().wait()


class Bench:
    """A host with two apps, served on a port: below ``/peer/APP`` to a peer, below ``/user/APP`` to the user."""

    def __init__(self, store: AgentStore) -> None:
        self.network = chosen_network()
        self.apps: list[Echo] = []
        factories = dict.fromkeys(APPS, self._app)
        self.host = AppHost(
            "m", lambda: "root", store, self.network, cast("Any", factories), cast("Any", lambda *_: Context())
        )
        self.refusals: list[str] = []
        self.muted = asyncio.Event()
        """Set when a request waits in ``/mute``."""
        self.listener: Listener | None = None
        self.streams: list[Stream] = []

    def _app(self, _context: AppContext) -> Echo:
        self.apps.append(Echo(self.muted))
        return self.apps[-1]

    async def open(self) -> None:
        self.listener = await self.network.listen(Address("127.0.0.1", 0), self._accept)

    async def _accept(self, stream: Stream) -> None:
        await serve_stream(
            self.network, stream, self, {}, http_limits=HttpLimits(), session_limits=SessionLimits(), own=True
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, side, app, rest = scope["path"].split("/", 3)
        try:
            if side == "peer":
                await self.host.connect("ztm", app, PEER, scope["extensions"][UPGRADE])
            else:
                below = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
                await self.host.serve_user("ztm", app, below, receive, send)
        except StoppedError as error:
            self.refusals.append(str(error))
            raise

    async def dial(self) -> Stream:
        assert self.listener is not None
        self.streams.append(await self.network.dial(self.listener.address))
        return self.streams[-1]

    async def said(self, text: str, until: bytes) -> Stream:
        """A stream on which `text` was sent, and `until` has come back."""
        stream = await self.dial()
        await stream.write(text.replace("\n", "\r\n").encode())
        seen = b""
        while until not in seen:
            more = await stream.read()
            assert more, seen
            seen += more
        return stream

    async def close(self) -> None:
        await self.host.close()
        for stream in self.streams:
            stream.abort()
        assert self.listener is not None
        await self.listener.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = AgentStore(tmp_path)
    made = Bench(store)
    await made.open()
    async with asyncio.timeout(10):
        yield made
        await made.close()
    store.close()


async def rest_of(stream: Stream) -> bytes:
    """All that still comes, until the end or the cut."""
    seen = b""
    try:
        while more := await stream.read():
            seen += more
    except BrokenStreamError:
        pass
    return seen


STOPS = {
    "stopped": lambda host: host.stop("ztm", "x"),
    "disabled": lambda host: host.change("ztm", "x", AppChange(is_disabled=True)),
    "dropped": lambda host: host.drop(next(name for name in host._slots if name.name == "x")),
    "with the agent": lambda host: host.close(),
}
CONNECT = "CONNECT /peer/{0}/ HTTP/1.1\nHost: x\n\nCONNECT /a HTTP/1.1\nHost: y\n\nhello"


@pytest.mark.parametrize("how", STOPS)
async def test_streams_of_peers_end_with_the_app(bench: Bench, how: str) -> None:
    stream = await bench.said(CONNECT.format("x"), b"hello")
    await STOPS[how](bench.host)
    assert await rest_of(stream) == b""
    assert bench.apps[0].cancelled == ["/a"]


async def test_other_apps_and_their_streams_go_on(bench: Bench) -> None:
    one, two = await bench.said(CONNECT.format("x"), b"hello"), await bench.said(CONNECT.format("y"), b"hello")
    await bench.host.stop("ztm", "x")
    assert await rest_of(one) == b""
    await two.write(b"still")
    assert await two.read() == b"still"


async def test_an_idle_session_of_a_peer_is_not_served_by_the_stopped_app(bench: Bench) -> None:
    """As a pool keeps one: the next request on it finds it cut, and a new one meets the app that runs by then."""
    text = "CONNECT /peer/x/ HTTP/1.1\nHost: x\n\nGET /a HTTP/1.1\nHost: y\n\n"
    stream = await bench.said(text, b"here")
    await bench.host.stop("ztm", "x")
    await bench.host.start("ztm", "x")
    assert await rest_of(stream) == b""
    await bench.said(text, b"here")


async def test_a_local_request_without_an_answer_yet_is_answered_503(bench: Bench) -> None:
    stream = await bench.dial()
    await stream.write(b"GET /user/x/mute HTTP/1.1\r\nHost: x\r\n\r\n")
    await bench.muted.wait()
    await bench.host.stop("ztm", "x")
    head = await stream.read()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert bench.refusals == ["app ztm/x was stopped"]


async def test_a_local_answer_that_has_begun_is_cut_and_does_not_look_whole(bench: Bench) -> None:
    stream = await bench.said("GET /user/x/long HTTP/1.1\nHost: x\n\n", b"here")
    await bench.host.stop("ztm", "x")
    assert b"0\r\n\r\n" not in await rest_of(stream)


async def test_a_local_stream_ends_with_the_app(bench: Bench) -> None:
    stream = await bench.said("CONNECT /user/x/a HTTP/1.1\nHost: x\n\nhello", b"hello")
    await bench.host.stop("ztm", "x")
    assert await rest_of(stream) == b""


async def test_a_websocket_is_closed_as_its_server_goes_away(bench: Bench) -> None:
    client = WebSocketClient(await bench.dial())
    assert await client.open("/user/x/a") == 101
    await client.send("hello")
    assert await client.receive() == "hello"
    await bench.host.stop("ztm", "x")
    assert await client.receive() == (1001, "app ztm/x was stopped")


async def test_a_use_that_stops_its_own_app_does_not_wait_for_itself(bench: Bench) -> None:
    async def stop(_app: object) -> str:
        await bench.host.stop("ztm", "x")
        return "stopped"

    assert await bench.host.use("ztm", "x", stop) == "stopped"
    assert not bench.host.app("ztm", "x").is_running


async def test_a_use_that_is_given_up_by_its_caller_is_cancelled_and_not_called_a_stop(bench: Bench) -> None:
    began = asyncio.Event()

    async def wait(_app: object) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(bench.host.use("ztm", "x", wait))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
