"""The web page's files, as v1 serves them: for everybody, since nothing secret is in them.

What can be served is listed once, at the start: a path is looked up among these and never joined to a
directory, so no way of writing one leads out of it. Source: spec agent-api 10.
"""

import asyncio
import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ztm.net.asgi import Receive, Scope, Send
from ztm.rest.etag import is_current
from ztm.rest.message import BINARY, Request

GUI = Path(__file__).parents[2] / "gui"
"""The page that comes with this package."""
FILES = 2000
"""Files of one page, so that a directory given by mistake is not listed for ever."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Said here, not by the machine's own table, which differs."""
ENCODINGS = ((".br", "br"), (".gz", "gzip"))
"""Endings of files that hold another one compressed, the best first."""


@dataclass(frozen=True, slots=True)
class _Page:
    file: Path
    content_type: str
    encoded: tuple[tuple[str, Path], ...]
    """Content codings in which it is there as well."""


class Pages:
    """An ASGI application that serves the files of one directory."""

    def __init__(self, root: Path = GUI) -> None:
        self._pages = dict(_list(root))
        self._bodies: dict[Path, tuple[bytes, str]] = {}
        """Content and tag of what was asked for; a page of this package is small and does not change."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.method not in ("GET", "HEAD"):
            await _send(send, 405, [("allow", "GET, HEAD")])
            return
        page = self._find(request.raw_path)
        if page is None:
            await _send(send, 404, [])
            return
        coding, file = _choice(page, request.headers.get("accept-encoding", ""))
        body, tag = await self._body(file)
        headers = [("etag", tag), ("cache-control", "no-cache"), ("vary", "accept-encoding")]
        if is_current(request, tag):
            await _send(send, 304, headers)
            return
        headers += [("content-type", page.content_type), ("content-length", str(len(body)))]
        if coding:
            headers.append(("content-encoding", coding))
        await _send(send, 200, headers, body if request.method == "GET" else b"")

    def _find(self, raw_path: str) -> _Page | None:
        """The file of a path; one slash at its end is none, any other oddity is in no file's name."""
        bare = unquote(raw_path, errors="replace").removeprefix("/").removesuffix("/")
        names = (bare, f"{bare}/index".removeprefix("/"), f"{bare}/index.html".removeprefix("/"))
        return next((self._pages[name] for name in names if name in self._pages), None)

    async def _body(self, file: Path) -> tuple[bytes, str]:
        if file not in self._bodies:
            body = await asyncio.to_thread(file.read_bytes)
            self._bodies[file] = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return self._bodies[file]


def _list(root: Path) -> Iterator[tuple[str, _Page]]:
    """Every file below `root` by its path, but not those that hold others compressed, links, or hidden ones."""
    files = {file for file in list(root.rglob("*"))[:FILES] if file.is_file() and not file.is_symlink()}
    for file in files:
        name = file.relative_to(root).as_posix()
        encoded = [(coding, file.with_name(file.name + end)) for end, coding in ENCODINGS]
        is_encoded = any(name.endswith(end) and file.with_name(file.name[: -len(end)]) in files for end, _ in ENCODINGS)
        if not is_encoded and not any(part.startswith((".", "__")) or part.endswith(".py") for part in name.split("/")):
            there = tuple((coding, other) for coding, other in encoded if other in files)
            yield name, _Page(file, content_type(file), there)


def content_type(file: Path) -> str:
    """The type of a file by its name; octets where nothing is known."""
    return TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or BINARY


def _choice(page: _Page, accepted: str) -> tuple[str, Path]:
    """The content coding and the file that suit ``Accept-Encoding`` (RFC 9110 section 12.5.3)."""
    wanted = {}
    for each in accepted.lower().split(","):
        coding, _, weight = each.partition(";")
        wanted[coding.strip()] = weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return next(((coding, file) for coding, file in page.encoded if wanted.get(coding)), ("", page.file))


async def _send(send: Send, status: int, headers: list[tuple[str, str]], body: bytes = b"") -> None:
    fields = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
