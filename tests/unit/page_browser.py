"""Browsers at the guard of the local port, before the pages of apps by others; everything in memory."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ztm.agent.apps.installed import Installed
from ztm.agent.apps.pages import AppPages
from ztm.agent.local.guard import CALLER, Guard
from ztm.agent.local.login import CSRF_HEADER, BrowserSession, Login
from ztm.agent.local.origins import Origins
from ztm.agent.local.passes import PASS, AppPlace
from ztm.agent.local.token import Credentials
from ztm.apps.manifest import Manifest
from ztm.model import Address
from ztm.net.asgi import ASGIApp, Message, Receive, Scope, Send

HERE = Address("127.0.0.1", 7777)
HOST = "127.0.0.1:7777"
OWN = f"http://{HOST}"
CHAT = "/api/meshes/m/apps/eve/chat"
OTHER = "/api/meshes/m/apps/eve/other"
FILES = {
    "index.html": "<title>chat</title>",
    "app.js": "1",
    "sub/index.html": "sub",
    "big.bin": "x" * 200_000,
    ".secret": "hidden",
    "api/notes.txt": "never served",
}


def installed(folder: Path, name: str, digest: str = "1") -> Installed:
    """An installed app with the files of a page."""
    for path, content in FILES.items():
        file = folder / "gui" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    manifest = Manifest(name=name, version="1", entry="a:b")
    return Installed(provider="eve", tag="", folder=folder, manifest=manifest, digest=digest)


class Machine:
    """A guard before an API where two apps by others are mounted; everything else answers with what it should not."""

    def __init__(self, directory: Path) -> None:
        (directory / "data").mkdir()
        self.directory = directory
        self.now = 0.0
        self.credentials = Credentials.issue(directory / "data", directory / "pointers", HERE)
        self.login = Login(self.credentials.token, HERE.port, lambda: self.now)
        self.guard = Guard(
            self._api, self._no_page, self.credentials, self.login, Origins(HERE, ("tauri://localhost",))
        )
        self.pages = AppPages()
        self.apps = {name: installed(directory / name, name) for name in ("chat", "other")}
        self.app: ASGIApp = self._app
        self.seen: list[Scope] = []
        """What apps were asked."""
        self.beyond: list[Scope] = []
        """What reached the agent's own API."""
        self.answer_fields: list[tuple[bytes, bytes]] = []

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = scope["raw_path"].decode().split("/")
        if parts[:6] != ["", "api", "meshes", "m", "apps", "eve"] or parts[6] not in self.apps:
            self.beyond.append(scope)
            await self._say(send, b"the agent's own")
            return
        place = AppPlace("m", "eve", parts[6])
        prefix, below = "/".join(parts[:7]), "/" + "/".join(parts[7:])
        inner = {**scope, "root_path": prefix, "raw_path": below.encode(), "path": unquote(below)}
        await self.pages.serve(place, self.apps[parts[6]], self.app, inner, receive, send)

    async def _no_page(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await self._say(send, b"the agent's page")

    async def _app(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.seen.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "headers": self.answer_fields})
            await asyncio.Event().wait()
        await self._say(send, b"the app's own")

    async def _say(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.answer_fields})
        await send({"type": "http.response.body", "body": body})

    def sign_in(self) -> tuple[str, BrowserSession]:
        """The cookie of a browser, and its session."""
        cookie = f"{self.login.cookie}={self.login.enter_by_token(self.credentials.token)}"
        session = self.login.session([cookie])
        assert session is not None
        return cookie, session

    async def ask(
        self, path: str, method: str = "GET", kind: str = "http", sent: list[Message] | None = None, **fields: str
    ) -> "Got":
        """One request, or a WebSocket until the app has done with it; header fields with ``_`` for ``-``."""
        sent = [] if sent is None else sent

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        path, _, query = path.partition("?")
        headers = {"host": HOST} | {name.replace("_", "-"): value for name, value in fields.items()}
        scope = {
            "type": kind, "method": method, "path": unquote(path), "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode(), "extensions": {},
            "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value],
        }  # fmt: skip
        if kind == "websocket":
            del scope["method"]
        await self.guard(scope, receive, send)
        return Got(sent)

    async def page(self, cookie: str, path: str = CHAT) -> str:
        """The URL that the page of an app gets in a signed-in browser."""
        got = await self.ask(path + "/", cookie=cookie)
        assert got.status == 303
        return got.fields["location"]


class Got:
    """What was answered."""

    def __init__(self, sent: list[Message]) -> None:
        self.sent = sent
        start = sent[0]
        self.status: int = 101 if start["type"] == "websocket.accept" else start["status"]
        self.fields = {name.decode(): value.decode() for name, value in start.get("headers") or ()}
        self.body = b"".join(message.get("body", b"") for message in sent[1:])


def facts(scope: Scope) -> tuple[Any, Any]:
    """How the guard says who calls."""
    return scope["extensions"].get(CALLER), scope["extensions"].get(PASS)


CSRF = CSRF_HEADER.replace("-", "_")
