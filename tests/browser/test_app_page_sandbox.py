"""The page of an app by others in a real browser: it works below its own prefix, and reaches nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, SECONDS, showing

from ztm.agent.api.login import LoginRoutes
from ztm.agent.apps.installed import Installed
from ztm.agent.apps.pages import AppPages
from ztm.agent.config import AgentConfig
from ztm.agent.local.pages import Pages
from ztm.agent.local.passes import AppPlace, pass_of
from ztm.agent.local.port import LocalPort
from ztm.apps.manifest import Manifest
from ztm.model import Address
from ztm.net.aio import AioNetwork
from ztm.net.asgi import PEER, HttpLimits, Receive, Scope, Send, serve_stream
from ztm.net.base import SessionLimits, Stream
from ztm.rest.message import Request, Response
from ztm.rest.router import Router

pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
ANY = Address("127.0.0.1", 0)
MOUNT = "/api/meshes/{mesh}/apps/{provider}/{app}"

PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="style.css">
<body><script src="app.js"></script><script type="module" src="module.js"></script>"""
SCRIPT = """
const found = {};
const attempt = async (name, act) => {
  try { found[name] = await act(); } catch (error) { found[name] = "failed: " + error.name; }
};
const text = async (url, options) => (await fetch(url, options)).text();
const heardByParent = () => new Promise((resolve) => {
  if (parent === self) resolve("no parent");
  addEventListener("message", (event) => resolve(event.data));
  parent.postMessage("hello", "*");
});
const live = () => new Promise((resolve) => {
  const socket = new WebSocket(new URL("api/live", location).href.replace("http", "ws"));
  socket.onmessage = (event) => { resolve(event.data); socket.close(); };
  socket.onerror = () => resolve("failed");
});
addEventListener("load", async () => {
  found.origin = self.origin;
  found.module = self.isModule === true;
  found.style = getComputedStyle(document.body).getPropertyValue("color");
  await attempt("cookie", () => document.cookie);
  await attempt("storage", () => String(localStorage.length));
  await attempt("own", () => text("api/x"));
  await attempt("post", () => text("api/x", {method: "POST", headers: {"x-own": "1"}, body: "{}"}));
  await attempt("live", live);
  await attempt("version", () => text("/api/version"));
  await attempt("with cookie", () => text("/api/version", {credentials: "include"}));
  await attempt("blind", async () => (await fetch("/api/version", {mode: "no-cors"})).type);
  await attempt("login", () => text("/api/login"));
  await attempt("link", () => text("/api/login/links", {method: "POST"}));
  await attempt("other app", () => text("/api/meshes/m/apps/eve/other/api/x"));
  await attempt("other pass", () => text(location.pathname.replace("chat", "other") + "api/x"));
  await attempt("elsewhere", () => text(new URLSearchParams(location.search).get("elsewhere") || "http://127.0.0.1:9/"));
  await attempt("parent", () => parent === self ? "none" : parent.document.title);
  await attempt("worker", () => navigator.serviceWorker.register("app.js").then(() => "registered"));
  found.heard = await heardByParent();
  await text("api/findings", {method: "POST", body: JSON.stringify(found)});
});
"""
FRAMING = """
let heard = "nothing";
addEventListener("message", (event) => {
  heard = event.data;
  event.source.postMessage("from " + event.origin, "*");
});
addEventListener("load", () => setTimeout(() => fetch("/findings", {method: "POST", body: heard}), 1000));
"""


class Machine:
    """The local port with the page of an app by others, `chat`, and another app."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network = AioNetwork()
        router = Router(local=True)
        router.add("GET", "/api/version", self._version)
        router.mount(MOUNT, self._app)
        self.pages = AppPages()
        self.reached: list[tuple[str, str]] = []
        self.found: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        """What the page of `chat` says that it found."""
        config = AgentConfig(data=directory, listen=ANY, pointers=directory / "pointers")
        self.port = LocalPort(config, self.network, router)
        LoginRoutes(self.port).mount(router)  # type: ignore[arg-type]

    async def _version(self, _request: Request) -> Response:
        self.reached.append(("agent", "version"))
        return Response(200, "the agent's version")

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = AppPlace(*(scope["path_params"][name] for name in ("mesh", "provider", "app")))
        await self.pages.serve(place, self._installed(place.app), self._reached(place.app), scope, receive, send)

    def _reached(self, name: str):  # type: ignore[no-untyped-def]
        async def reach(scope: Scope, receive: Receive, send: Send) -> None:
            self.reached.append((name, scope["path"]))
            if scope["path"] == "/api/findings":
                self.found.set_result(json.loads(await Request(scope, receive).body()))
            if scope["type"] == "websocket":
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.send", "text": "live"})
                while (await receive())["type"] != "websocket.disconnect":
                    pass
                return
            await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"evil=1; Path=/")]})
            await send({"type": "http.response.body", "body": f"{name} {scope.get('method')}".encode()})

        return reach

    def _installed(self, name: str) -> Installed:
        folder = self.directory / name
        gui = folder / "gui"
        gui.mkdir(parents=True, exist_ok=True)
        files = {"index.html": PAGE, "app.js": SCRIPT, "module.js": "self.isModule = true;"}
        for path, content in {**files, "style.css": "body { color: rgb(1, 2, 3); }"}.items():
            (gui / path).write_text(content)
        manifest = Manifest(name=name, version="1", entry="a:b")
        return Installed(provider="eve", tag="", folder=folder, manifest=manifest, digest="1")

    async def open(self) -> None:
        (self.directory / "gui").mkdir()
        (self.directory / "data").mkdir()
        await self.port.open()

    def link(self, query: str = "") -> str:
        return f"{self.port.page}/api/login/links/{self.port.login.link()}{query}"

    def frame(self, source: str, directory: Path) -> None:
        """Make the page at / one that has `source` in a frame."""
        directory.mkdir(exist_ok=True)
        (directory / "framing.js").write_text(FRAMING)
        (directory / "index.html").write_text(_framing(source))


def _framing(source: str) -> str:
    return f'<!doctype html><script src="framing.js"></script><iframe src="{source}"></iframe>'


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path)
    await made.open()
    yield made
    await made.port.end_websockets()
    await made.port.close()


REFUSED = ("version", "with cookie", "login", "link", "other app", "other pass", "elsewhere")


def check_contained(found: dict[str, object], machine: Machine) -> None:
    """The page works, and got nowhere else."""
    assert found["origin"] == "null"
    assert (found["own"], found["post"], found["live"]) == ("chat GET", "chat POST", "live")
    assert (found["module"], found["style"]) == (True, "rgb(1, 2, 3)")
    assert found["cookie"] == found["storage"] == "failed: SecurityError"
    assert {name: found[name] for name in REFUSED} == dict.fromkeys(REFUSED, "failed: TypeError")
    assert str(found["blind"]).startswith("failed")
    assert str(found["worker"]).startswith("failed")
    assert {name for name, _ in machine.reached} == {"chat"}


async def test_a_link_opens_an_apps_page_which_works_and_gets_nowhere_else(machine: Machine, tmp_path: Path) -> None:
    async with showing(machine.link("?mesh=m&app=eve%2Fchat"), tmp_path / "profile"):
        found = await asyncio.wait_for(machine.found, SECONDS)
    check_contained(found, machine)


async def test_the_agents_own_page_may_have_it_in_a_frame(machine: Machine, tmp_path: Path) -> None:
    machine.frame("/api/meshes/m/apps/eve/chat/", tmp_path / "page")
    machine.port._pages = Pages(tmp_path / "page")
    machine.port._guard._pages = machine.port._pages  # type: ignore[union-attr]
    async with showing(machine.link(), tmp_path / "profile"):
        found = await asyncio.wait_for(machine.found, SECONDS)
    assert found["heard"] == "from null"
    assert found["parent"] == "failed: SecurityError"
    check_contained(found, machine)


async def test_a_stolen_pass_shows_nothing_in_a_page_of_another_site(machine: Machine, tmp_path: Path) -> None:
    login = machine.port.login
    session = login.session([f"{login.cookie}={login.enter_by_token(machine.port.token)}"])
    assert session is not None
    place = AppPlace("m", "eve", "chat")
    stolen = f"{machine.port.page}{place.path}/~{pass_of(session, place)}/"
    directory = tmp_path / "evil"
    machine.frame(stolen, directory)
    pages = Pages(directory)
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            heard.set_result(await Request(scope, receive).body())
        await pages(scope, receive, send)

    async def accept(stream: Stream) -> None:
        await serve_stream(
            machine.network, stream, site, {PEER: None}, http_limits=HttpLimits(), session_limits=SessionLimits()
        )

    listener = await machine.network.listen(ANY, accept)
    try:
        async with showing(f"http://127.0.0.1:{listener.address.port}/", tmp_path / "profile"):
            assert await asyncio.wait_for(heard, SECONDS) == b"nothing"
    finally:
        await listener.close()
    assert machine.reached == []
