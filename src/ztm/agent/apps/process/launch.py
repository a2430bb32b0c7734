"""Starting the process of an app: two sockets, a pipe for what it prints, and what it is told on its standard input.

Nothing else of the agent's is passed on. Whoever starts one ends it; see `child`.
"""

import asyncio
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ztm.agent.apps.installed import Installed
from ztm.agent.apps.process.limits import ProcessLimits
from ztm.apps.base import AppContext
from ztm.errors import ConflictError, StorageError, UnreachableError
from ztm.net.aio import adopt
from ztm.net.asgi import answer_exchange
from ztm.net.base import Exchange, Session, SessionLimits
from ztm.net.scope import ASGIApp, HttpLimits
from ztm.wire import processes
from ztm.wire.processes import Start

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
"""All that a process is given of it, besides its own places; an arena of its own for each thread is address space."""
_HTTP = HttpLimits(idle_seconds=0.0, body_bytes=processes.MAX_BODY)


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that has been told what to do."""

    process: asyncio.subprocess.Process
    asked: Session
    """On which the agent asks."""
    asking: Session
    """On which the app does."""
    pipe: int
    """File descriptor from which comes what it prints; it is the taker's to close."""


async def launch(
    installed: Installed, context: AppContext, calls: ASGIApp, limits: ProcessLimits, *, is_confined: bool
) -> Launched:
    """Start a process; `calls` answers what it asks.

    Raises:
        UnreachableError: the system does not start one.
        StorageError: its directory cannot be made.
        ConflictError: package and data lie within each other.
    """
    if sys.platform == "win32":
        raise UnreachableError("apps by others are not run on Windows yet: run the agent on Linux or macOS for them")
    ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)
    process: asyncio.subprocess.Process | None = None
    pipe, is_whole = -1, False
    try:
        start = _start_of(installed, context, theirs, is_confined=is_confined)
        process, pipe = await _spawned(start, [one.fileno() for one in theirs])
        asked, asking = await _sessions(context, ours, calls, limits)
        is_whole = True
        return Launched(process, asked, asking, pipe)
    except OSError as error:
        raise UnreachableError(f"the system does not start its process: {error}") from error
    finally:
        for one in theirs if is_whole else (*theirs, *ours):
            one.close()
        if process is not None and not is_whole:
            process.kill()
            os.close(pipe)


async def _spawned(start: Start, sockets: list[int]) -> tuple[asyncio.subprocess.Process, int]:
    """A process that has been told what to do, and the end of a pipe by which comes what it prints.

    Raises:
        OSError: the system does not start one.
        StorageError: its directory cannot be made.
    """
    temporary = Path(start.data) / "tmp"
    try:
        temporary.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {temporary}: {error.strerror}") from error
    # not a pipe of asyncio's, which takes a process for running while a child of it holds the other end
    read, write = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-u", "-m", "ztm_app.process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=write,
            stderr=write,
            cwd=start.data,
            env={**ENVIRONMENT, "HOME": start.data, "TMPDIR": str(temporary)},
            start_new_session=True,
            pass_fds=sockets,
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    if process.stdin is not None:
        process.stdin.write(msgspec.json.encode(start))
        process.stdin.write_eof()
    return process, read


async def _sessions(
    context: AppContext, sockets: tuple[socket.socket, ...], calls: ASGIApp, limits: ProcessLimits
) -> tuple[Session, Session]:
    async def answer(exchange: Exchange) -> None:
        await answer_exchange(exchange, calls, {}, _HTTP)

    for one in sockets:
        one.setblocking(False)
    asked, asking = [await adopt(one) for one in sockets]
    bounds = SessionLimits(streams=limits.streams, held=limits.held)
    session = context.network.session
    return (
        session(asked, "client", limits=bounds, own=True),
        session(asking, "server", answer=answer, limits=bounds, own=True),
    )


def _start_of(
    installed: Installed, context: AppContext, sockets: tuple[socket.socket, ...], *, is_confined: bool
) -> Start:
    """What the process is told.

    Raises:
        ConflictError: package and data lie within each other.
    """
    manifest, data = installed.manifest, context.directory().resolve()
    folder = installed.folder.resolve()
    if folder == data or data in folder.parents or folder in data.parents:
        raise ConflictError(f"the package {folder} and the app's data {data} lie within each other")
    return Start(
        provider=installed.provider,
        name=manifest.name,
        mesh=context.mesh,
        endpoint_id=context.place.id,
        endpoint_name=context.place.name,
        owner=context.user,
        entry=manifest.entry,
        folder=str(folder),
        data=str(data),
        asked=sockets[0].fileno(),
        asking=sockets[1].fileno(),
        agent=os.getpid(),
        permissions=list(manifest.permissions),
        memory_mb=manifest.memory_mb,
        files=manifest.files,
        kept=[str(data.parent)],
        is_confined=is_confined,
    )
