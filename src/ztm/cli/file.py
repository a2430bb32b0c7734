"""Files of the mesh: listing and describing them, and moving their contents.

Contents are moved exactly: what comes is checked against its size and hash, and what fails leaves no file behind.

Source: spec cli.md section 10.
"""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ztm.apps.formats import Description, Listing
from ztm.apps.grammar import Arguments, Command, Option
from ztm.apps.text import table
from ztm.cli.context import YES, Context
from ztm.errors import BrokenStreamError
from ztm.wire.paths import encode

if TYPE_CHECKING:
    from ztm.cli.talk import Opened

HEADINGS = ("PATH", "SIZE", "TIME")
FETCHING = 24 * 3600.0
"""Seconds for the agent to fetch a file before its first byte comes: it gives up by itself when nothing moves."""
READING = 60.0
"""Seconds without a byte of a file that the agent has on its disk."""

Object = Mapping[str, Any]


def listing(context: Context, name: str) -> Listing:
    """Files of the mesh by path, or those with `name` in their path."""
    found: dict[str, dict[str, Any]] = context.ask("GET", "/files") or {}
    files = [{"path": path, **file} for path, file in sorted(found.items()) if name in path]
    keys = {"SIZE": lambda file: file["size"], "TIME": lambda file: file["time"]}
    return Listing(files, HEADINGS, _row, wide=("HASH",), wide_row=_hash, name=_path, keys=keys)


def _row(file: Object) -> tuple[object, ...]:
    return file["path"], file["size"], _time(file["time"])


def _hash(file: Object) -> tuple[object, ...]:
    return (file["hash"],)


def _path(file: Object) -> str:
    return str(file["path"])


def _time(ms: float) -> str:
    """Local time in the style of ``ctime``; other machines say what it is, so it may be no time at all."""
    try:
        return time.ctime(ms / 1000)
    except (OverflowError, ValueError, OSError):
        return "n/a"


def description(context: Context, name: str) -> Description:
    """All about one file; a leading slash may be left out.

    Raises:
        NotFoundError: there is none of that path.
    """
    path = _absolute(name)
    file: dict[str, Any] = context.ask("GET", _url("files", path))
    names = context.endpoint_names()
    sources = [(names.get(source, ""), source) for source in file.get("sources") or ()]
    lines = [f"Path: {path}", f"Size: {file['size']}", f"Time: {_time(file['time'])}", f"Hash: {file['hash']}"]
    lines += ["Sources:", table(("ENDPOINT", "ENDPOINT ID"), sources, indent="  ")]
    return Description({"path": path, **file}, "\n".join(lines), path)


def _absolute(word: str) -> str:
    """The mesh path that `word` names.

    Raises:
        UsageError: it names none.
    """
    from ztm.core.files import mesh_path

    return mesh_path(word)


def _url(room: str, path: str) -> str:
    return f"/{room}" + "/".join(encode(segment) for segment in path.split("/"))


# ---------------------------------------------------------------------- contents


def download(context: Context, arguments: Arguments) -> None:
    """Write a file's content to a file or to standard output.

    Raises:
        NotFoundError: there is no such file.
        BrokenStreamError: what came is not all of it, or not what it should be; no file is written then.
        StorageError: the file cannot be written.
    """
    from ztm.cli.resolve import mesh_path
    from ztm.cli.transfer import target

    path = _absolute(arguments.word("path"))
    opened = context.client.open(mesh_path(context.mesh) + _url("file-data", path), timeout=FETCHING)
    try:
        opened.socket.settimeout(READING)
        with target(arguments.value("--output") or "-") as file:
            for piece in _checked(opened, path):
                context.time_left()
                file.write(piece)
    finally:
        opened.close()


def _checked(opened: "Opened", path: str) -> Iterator[bytes]:
    """What the agent sends of the file at `path`; raises at the end if it is not the whole and right content."""
    import http.client

    from ztm.cli.progress import Progress
    from ztm.cli.transfer import PIECE
    from ztm.core.files import FileHash

    size, digest = opened.response.length, (opened.response.headers.get("etag") or "").strip('"')
    hashed = FileHash(path)
    with Progress(path, size) as progress:
        try:
            while piece := opened.response.read(PIECE):
                hashed.update(piece)
                progress.advance(len(piece))
                yield piece
        except (ConnectionError, TimeoutError, http.client.HTTPException):
            raise BrokenStreamError(f"{path} broke off after {hashed.size} bytes") from None
    if size is not None and hashed.size != size:
        raise BrokenStreamError(f"{path} broke off after {hashed.size} of {size} bytes")
    if digest and hashed.hexdigest() != digest:
        raise BrokenStreamError(f"what came for {path} is damaged: its hash is not {digest}")


def publish(context: Context, arguments: Arguments) -> None:
    """Publish a file or standard input in the mesh, held by this machine's endpoint.

    Raises:
        ForbiddenError: the path is not this user's.
        NotFoundError: the file to publish cannot be opened.
        StorageError: it cannot be read, or the agent's disk does not take it.
    """
    from ztm.cli.progress import Progress
    from ztm.cli.resolve import mesh_path
    from ztm.cli.transfer import pieces, source

    path, name = _absolute(arguments.word("path")), arguments.require("--input")
    with source(name) as (file, size), Progress(path, size) as progress:

        def sent() -> Iterator[bytes]:
            for piece in pieces(file, size, name):
                context.time_left()
                yield piece
                progress.advance(len(piece))

        context.client.upload(mesh_path(context.mesh) + _url("file-data", path), sent(), size)


def unpublish(context: Context, arguments: Arguments) -> None:
    """Drop this endpoint's copy of a file; others keep theirs.

    Raises:
        NotFoundError: it is not held here.
    """
    path = _absolute(arguments.word("path"))
    context.ask("DELETE", _url("file-data", path))


def erase(context: Context, arguments: Arguments) -> None:
    """Erase a file from the mesh; asks first on a terminal.

    Raises:
        ForbiddenError: the path is not this user's.
        NotFoundError: there is no such file.
    """
    path = _absolute(arguments.word("path"))
    context.confirm(f"Erase file '{path}' for everybody in mesh '{context.mesh}'?", arguments)
    context.ask("DELETE", _url("files", path))


COMMANDS = (
    Command(
        usage="download file|files <path>",
        title="Download a file of the mesh",
        run=download,
        options=(
            Option("--output", "<file>", "Where to write it, whole or not at all (default: standard output)", "-o"),
        ),
        local=True,
    ),
    Command(
        usage="erase file|files <path>",
        title="Erase a file from the mesh",
        run=erase,
        options=(YES,),
        notes="Only its owner can erase a file. To drop only this endpoint's copy, use 'ztm unpublish file'.",
        local=True,
    ),
    Command(
        usage="publish file|files <path>",
        title="Publish a file in the mesh",
        run=publish,
        options=(Option("--input", "<file>", "The file to publish, or - for standard input", "-i"),),
        notes="""Paths:

  /users/USER/...   Files that only their owner can read
  /shared/USER/...  Files that everybody in the mesh can read""",
        local=True,
    ),
    Command(
        usage="unpublish file|files <path>",
        title="Drop this endpoint's copy of a file",
        run=unpublish,
        local=True,
    ),
)
