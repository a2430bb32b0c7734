"""The web page of an app by others: files of its package, in an origin of their own; all else goes to the app.

The app need not run for its files. Whatever it answers is contained: it can neither act as the agent's page nor set
a cookie, and a browser signed in to the agent is sent on to a URL with a pass, as its cookie opens no app.
Source: spec app-framework 7 and 10.5.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from ztm.agent.apps.installed import Installed
from ztm.agent.local.guard import CALLER, SESSION
from ztm.agent.local.headers import contained
from ztm.agent.local.pages import content_type
from ztm.agent.local.passes import PASS, AppPlace, entrance
from ztm.errors import ForbiddenError, StorageError
from ztm.net.asgi import Receive, Scope, Send, is_websocket, method_of
from ztm.store.files import reason

FOLDER = "gui"
"""Where a package has the files of its page."""
FILES = 10_000
"""Files of one page; a package has no more."""
PAGES = 64
"""Apps whose lists of files are kept."""
PIECE = 64 << 10
"""Bytes of a file that are read at a time."""
OWN = "api"
"""The first segment of paths that are always the app's."""
LOOKING = ("GET", "HEAD")

Reach = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Listed:
    digest: str
    files: dict[str, Path]


class AppPages:
    """What the local port serves below the prefix of an app by others."""

    def __init__(self) -> None:
        self._listed: dict[AppPlace, _Listed] = {}

    async def serve(
        self, place: AppPlace, installed: Installed | None, reach: Reach, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request or WebSocket; `reach` asks the app itself, `scope` has the path below the prefix.

        Raises:
            ForbiddenError: a browser asks by its cookie for more than the way to the page.
            StorageError: a file of the page cannot be read.
            ZtmError: as `reach`.
        """
        extensions = scope["extensions"]
        if extensions.get(CALLER) == "cookie":
            await _send_on(place, scope, send)
            return
        shown = extensions.get(PASS)
        if shown:
            scope = {**scope, "root_path": f"{scope['root_path']}/{shown}"}
        else:
            send = contained(send)  # with a pass, the guard does so
        file = None
        if installed is not None and not is_websocket(scope) and method_of(scope) in LOOKING:
            file = (await self._files(place, installed)).get(_name(scope["raw_path"]))
        if file is None:
            await reach(scope, receive, send)
        else:
            await _send_file(file, send, with_body=method_of(scope) == "GET")

    async def _files(self, place: AppPlace, installed: Installed) -> dict[str, Path]:
        """The files of a page by the paths that lead to them; read once for each package."""
        known = self._listed.get(place)
        if known is None or known.digest != installed.digest:
            found = await asyncio.to_thread(_list, installed.folder / FOLDER)
            self._listed.pop(place, None)
            while len(self._listed) >= PAGES:
                del self._listed[next(iter(self._listed))]
            known = self._listed[place] = _Listed(installed.digest, found)
        return known.files


async def _send_on(place: AppPlace, scope: Scope, send: Send) -> None:
    """Send a signed-in browser on to the URL by which its page may be used.

    Raises:
        ForbiddenError: it does not look for a page.
    """
    if is_websocket(scope) or method_of(scope) not in LOOKING:
        raise ForbiddenError("a cookie opens no app by others: its page has a pass in its own URL")
    rest = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    location = entrance(scope["extensions"][SESSION], place).encode() + rest.removeprefix(b"/")
    headers = [(b"location", location), (b"cache-control", b"no-store"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _name(raw_path: bytes) -> str:
    """What is looked up for a path: nothing of the app's own."""
    name = unquote(raw_path.decode("utf-8", "replace")).removeprefix("/")
    return "" if name.partition("/")[0] == OWN else name or "/"


def _list(root: Path) -> dict[str, Path]:
    """Every file below `root` by the paths that lead to it; nothing hidden, and no link that leads elsewhere."""
    found: dict[str, Path] = {}
    if root.is_symlink() or not root.is_dir():
        return found
    inside = root.resolve()
    for file in list(root.rglob("*"))[:FILES]:
        name = file.relative_to(root).as_posix()
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if is_hidden or not file.is_file() or not file.resolve().is_relative_to(inside):
            continue
        found[name] = file
        if file.name == "index.html":
            found[name.removesuffix("index.html") or "/"] = file
    return found


async def _send_file(file: Path, send: Send, *, with_body: bool) -> None:
    try:
        opened, size = await asyncio.to_thread(_open, file)
    except OSError as error:
        raise StorageError(f"cannot read {file.name}: {reason(error)}") from error
    try:
        fields = [(b"content-type", content_type(file).encode()), (b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        async for piece in _pieces(opened, size if with_body else 0):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        opened.close()


def _open(file: Path) -> tuple[BinaryIO, int]:
    opened = file.open("rb", buffering=0)
    return opened, os.fstat(opened.fileno()).st_size


async def _pieces(opened: BinaryIO, size: int) -> AsyncIterator[bytes]:
    while size > 0:
        piece = await asyncio.to_thread(opened.read, min(PIECE, size))
        if not piece:
            raise StorageError("a file of the page became shorter while it was read")
        size -= len(piece)
        yield piece
