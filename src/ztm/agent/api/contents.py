"""The local API's routes about contents of mesh files, which are streamed both ways and never held whole.

Source: spec agent-api 7; RFC 9110 sections 13 and 14 for conditions and ranges.
"""

import asyncio
from typing import Any

from ztm.agent.api.base import MESH, NOT_FOUND, REFUSED, MeshApi
from ztm.agent.api.callers import while_there
from ztm.agent.api.files import FOREIGN, path_of
from ztm.agent.api.ranges import condition, wanted_part
from ztm.agent.files import publishing
from ztm.agent.files.held import HeldFile
from ztm.core.access import check_owner
from ztm.errors import NotFoundError, SlowBodyError, TooLargeError
from ztm.model import FileInfo
from ztm.rest.message import BINARY, Request, Response
from ztm.rest.route import Problem
from ztm.rest.router import Router

SILENCE = 60.0
"""Seconds without a byte after which an upload is given up."""

_FOUND = {
    200: "the content",
    206: "the range that was asked for",
    304: "the caller has it already",
    **REFUSED,
    412: "it is another content by now",
    413: "it is larger than this agent takes",
    416: "it has no such range",
}
_FIELDS = {"etag": "the file's hash", "accept-ranges": "bytes"}


class ContentRoutes(MeshApi):
    """Handlers of ``file-data``."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add(
            "GET",
            f"{MESH}/file-data/*",
            self.download,
            summary="A file's content: the copy held here, or fetched from an endpoint that has it",
            answer=bytes,
            statuses=_FOUND,
            headers=_FIELDS,
            tag="files",
        )
        router.add(
            "POST",
            f"{MESH}/file-data/*",
            self.publish,
            summary="Publish a file: the body is its content",
            body=bytes,
            statuses={201: "stored here and advertised", **FOREIGN, **REFUSED, 408: "the body did not come in time"},
            tag="files",
        )
        router.add(
            "DELETE",
            f"{MESH}/file-data/*",
            self.unpublish,
            summary="Drop the copy of a file that is held here",
            statuses={204: "dropped", **NOT_FOUND},
            tag="files",
        )
        router.add(
            "GET",
            f"{MESH}/endpoints/{{ep}}/file-data/{{hash}}",
            self.of_endpoint,
            summary="A content by its hash, from one endpoint",
            answer=bytes,
            statuses=_FOUND,
            headers=_FIELDS,
            tag="files",
        )

    async def download(self, request: Request) -> Response:
        """A file's content, fetched first where it is not held here, unless nothing of it is sent anyway."""
        mesh, path = self._mesh(request), path_of(request)
        file = await mesh.downloads.newest(path)
        unmet = condition(request, _tag(file))
        if unmet is not None:
            return unmet
        if request.method == "HEAD":
            return _head(file, file.size)
        return _content(request, await while_there(request, mesh.downloads.open(path, file)))

    async def publish(self, request: Request) -> Response:
        """Store a file and advertise it. Who may do that is asked before the body is read."""
        mesh, path = self._mesh(request), path_of(request)
        check_owner(path, mesh.user)
        limit = mesh.downloads.limit
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > limit:
            raise TooLargeError(f"{path} has {announced} bytes, and files here may have {limit}")
        with mesh.files.incoming(path, limit) as incoming:
            pieces = aiter(request.stream())
            while (piece := await next_piece(pieces)) is not None:
                await incoming.write(piece)
            await publishing.publish(mesh, path, incoming)
        return Response(201)

    async def unpublish(self, request: Request) -> Response:
        """Drop the copy held here; the mesh goes on listing the file."""
        mesh, path = self._mesh(request), path_of(request)
        if not mesh.files.drop(path):
            raise NotFoundError(f"file not found: {path} is not held by this endpoint")
        return Response(204)

    async def of_endpoint(self, request: Request) -> Response:
        """A content by its hash, from one endpoint."""
        fetching = self._mesh(request).downloads.fetch_from(request.params["ep"], request.params["hash"])
        return _content(request, await while_there(request, fetching))


async def next_piece(pieces: Any) -> bytes | None:
    """The next piece of a body; None at its end.

    Raises:
        SlowBodyError: nothing came for `SILENCE` seconds.
    """
    try:
        async with asyncio.timeout(SILENCE):
            piece: bytes | None = await anext(pieces, None)
            return piece
    except TimeoutError as error:
        raise SlowBodyError(f"nothing more of the file came for {SILENCE:.0f} s") from error


def _tag(file: FileInfo) -> str:
    return f'"{file.hash}"'


def _head(file: FileInfo, size: int) -> Response:
    """All but the content."""
    fields = [("content-length", str(size)), ("etag", _tag(file)), ("accept-ranges", "bytes")]
    return Response(200, None, BINARY, fields)


def _content(request: Request, held: HeldFile) -> Response:
    """All of a content, or the range of it that is wanted."""
    file, content = held
    unmet = condition(request, _tag(file))
    if unmet is not None:
        return unmet
    if request.method == "HEAD":
        return _head(file, content.size)
    part = wanted_part(request.headers, _tag(file), content.size)
    if part is None:
        whole = _head(file, content.size)
        return Response(200, content.pieces(0, content.size), BINARY, whole.headers)
    if not part.size:
        fields = [("content-range", f"bytes */{content.size}")]
        return Response(416, Problem(416, f"the file has {content.size} bytes"), headers=fields)
    last = part.start + part.size - 1
    fields = [
        ("content-length", str(part.size)),
        ("content-range", f"bytes {part.start}-{last}/{content.size}"),
        ("etag", _tag(file)),
    ]
    return Response(206, content.pieces(part.start, part.size), BINARY, fields)
