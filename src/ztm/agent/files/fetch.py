"""Mesh files that other endpoints hold, fetched by way of the hub.

A content is trusted only when all of it is on this disk and its hash is the wanted one; of one that comes
incomplete or wrong nothing stays, and the next source is tried. Who asks for the same content meanwhile waits for
the same download; when nobody waits any more, it ends. Source: spec mesh-protocol 11, "Download".
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from ztm.agent.files.held import HeldFile
from ztm.agent.files.incoming import Incoming
from ztm.agent.files.sync import MAX_LIST, FileSync
from ztm.agent.hublink import HubLink
from ztm.core.access import may_read, owner_of
from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    LimitError,
    NotFoundError,
    StorageError,
    TooLargeError,
    UnreachableError,
    ZtmError,
    from_status,
)
from ztm.model import FileInfo, check_uuid
from ztm.net.base import Exchange
from ztm.wire import codec, paths

log = logging.getLogger("ztm.agent")

SILENCE = 30.0
"""Seconds without a byte after which a source is given up."""
MAX_SOURCES = 8
"""Sources that are tried for one download."""


class Meshlike(Protocol):
    """What a download needs of its mesh."""

    files: FileSync

    @property
    def endpoint_id(self) -> str:
        """The own endpoint's id."""

    @property
    def user(self) -> str:
        """The user named in the certificate."""

    def link(self) -> HubLink:
        """The link to the attached hub."""

    async def link_for(self, endpoint: str) -> HubLink:
        """A link to a hub where an endpoint is."""


@dataclass(slots=True)
class _Job:
    """One download, and how many wait for it."""

    task: asyncio.Task[None]
    waiting: int = 0


class Downloads:
    """The downloads of one mesh."""

    def __init__(self, mesh: Meshlike, *, limit: int) -> None:
        self._mesh = mesh
        self.limit = limit
        """Bytes of the largest file that is taken."""
        self._jobs: dict[str, _Job] = {}
        """By hash."""

    async def close(self) -> None:
        """End what is going on."""
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------ asking

    async def info(self, path: str) -> FileInfo:
        """The version of `path` that the mesh has, with the endpoints where it is now.

        Raises:
            NotFoundError: there is none that the own user may read.
            UnreachableError: no hub is connected.
            ZtmError: the hub does not say.
        """
        try:
            body = await self._mesh.link().ask("GET", paths.fill(paths.FILE, rest=path))
        except NotFoundError:
            raise NotFoundError(f"file not found: {path}") from None
        found = codec.decode_file(body)
        self._mesh.files.learn(path, found)
        return found

    async def newest(self, path: str) -> FileInfo:
        """The same, or what is held here where no hub can be asked, or has not heard of it yet.

        Raises:
            NotFoundError: there is none that the own user may read.
            UnreachableError: no hub is connected, and nothing newer is held here.
        """
        is_untold = self._mesh.files.is_untold(path) and owner_of(path) == self._mesh.user
        try:
            found = await self.info(path)
        except (NotFoundError, UnreachableError) as error:
            held = self._held(path)
            if held is None or not (is_untold or isinstance(error, UnreachableError)):
                raise
            return held
        held = self._held(path)
        return held if held is not None and is_untold and held.time_ms > found.time_ms else found

    def _held(self, path: str) -> FileInfo | None:
        """The newest version of `path` that is known here, if it is stored here."""
        newest = self._mesh.files.newest(path)
        if newest is None or newest.is_deleted or not may_read(path, self._mesh.user, {}):
            return None
        return newest if self._mesh.files.holds(newest.hash) else None

    # ------------------------------------------------------------------ fetching

    async def open(self, path: str, file: FileInfo | None = None) -> HeldFile:
        """The newest content of `path` (or that of `file`, as `newest` gave it), open for reading; fetched first
        where it is not held here. It is held here then.

        Raises:
            NotFoundError: there is no such file, or the own user may not read it.
            UnreachableError: no source of it can be reached; the message says why, one by one.
            TooLargeError: it is larger than files may be here.
        LimitError: too many are being fetched already.
            StorageError: the disk does not take it.
        """
        wanted = file or await self.newest(path)
        held = self._mesh.files.open(wanted.hash)
        if held is not None:
            return held
        if wanted.size > self.limit:
            raise TooLargeError(f"{path} has {wanted.size} bytes, and files here may have {self.limit}")
        await self._joined(path, wanted)
        held = self._mesh.files.open(wanted.hash)
        if held is None:
            raise NotFoundError(f"{path} was replaced or erased while it was fetched")
        return held

    async def _joined(self, path: str, file: FileInfo) -> None:
        """Wait for the download of `file`, begun if it is not under way."""
        job = self._jobs.get(file.hash)
        if job is None:
            job = self._jobs[file.hash] = _Job(asyncio.ensure_future(self._download(path, file)))
        job.waiting += 1
        try:
            await asyncio.shield(job.task)
        finally:
            job.waiting -= 1
            if not job.waiting or job.task.done():
                job.task.cancel()
                if self._jobs.get(file.hash) is job:
                    del self._jobs[file.hash]

    async def _download(self, path: str, file: FileInfo) -> None:
        sources = [source for source in file.sources if source != self._mesh.endpoint_id]
        random.shuffle(sources)
        failures = []
        for source in sources[:MAX_SOURCES]:
            try:
                with self._mesh.files.incoming(path, file.size) as incoming:
                    await self._fill(incoming, source, file.hash)
                    self._mesh.files.adopt(path, incoming, file)
                return
            except (StorageError, LimitError):
                raise
            except ZtmError as error:
                log.info("%s does not come from endpoint %s: %s", path, source, error)
                failures.append(f"endpoint {source}: {error}")
        why = "; ".join(failures) or "no endpoint that holds it is online"
        raise UnreachableError(f"{path} cannot be fetched now: {why}")

    async def fetch_from(self, endpoint: str, digest: str) -> HeldFile:
        """A content straight from an endpoint, by its hash; it is not kept here.

        Raises:
            NotFoundError: the own user sees no file with that hash, or that endpoint does not have it.
            UnreachableError: no hub leads there.
            StorageError: the disk does not take it.
        """
        check_uuid("endpoint", endpoint)
        path, file = await self._visible(digest)
        if endpoint == self._mesh.endpoint_id:
            held = self._mesh.files.open_for(self._mesh.user, digest)
            if held is None:
                raise NotFoundError(f"{path} is not held by this endpoint")
            return held
        with self._mesh.files.incoming(path, min(file.size, self.limit)) as incoming:
            await self._fill(incoming, endpoint, digest)
            return HeldFile(file, incoming.reader())

    async def _visible(self, digest: str) -> tuple[str, FileInfo]:
        """The file of that hash among those that the own user may read."""
        files = self._mesh.files.known()
        found = [(path, file) for path, file in files.items() if file.hash == digest]
        if not found:  # the hub may know more than it has told so far
            files = codec.decode_files(await self._mesh.link().ask("GET", paths.FILES, limit=MAX_LIST))
            found = [(path, file) for path, file in files.items() if file.hash == digest]
        if not found:
            raise NotFoundError(f"user {self._mesh.user} can see no file with hash {digest[:80]}")
        return found[0]

    async def _fill(self, incoming: Incoming, source: str, digest: str) -> None:
        """Have all of a content come in from `source`.

        Raises:
            ZtmError: it did not come, or is not what was wanted.
        """
        link = await self._mesh.link_for(source)
        target = paths.fill(paths.ENDPOINT_FILE, ep=source, hash=digest)
        session = await link.streams.roomy(link.session)
        exchange = session.open(((":method", "GET"), (":scheme", "http"), (":path", target)), end=True)
        try:
            async for piece in _answer(exchange, source):
                await incoming.write(piece)
            if await incoming.finish() != digest:
                raise BrokenStreamError(f"its {incoming.size} bytes are not that file: they have another hash")
        finally:
            if not exchange.is_over:
                exchange.abort("no longer wanted")


async def _answer(exchange: Exchange, source: str) -> AsyncIterator[bytes]:
    """The content, piece by piece.

    Raises:
        NotFoundError: the source does not have it, or is not connected.
        DeadlineError: nothing came for `SILENCE` seconds.
        BrokenStreamError: the stream was cut.
        ZtmError: another refusal.
    """
    try:
        async with asyncio.timeout(SILENCE):
            status, _ = await exchange.response()
        if status == 404:
            raise NotFoundError(f"endpoint {source} does not have it, or is not connected")
        if status != 200:
            raise from_status(status, f"it answered with status {status}")
        while True:
            async with asyncio.timeout(SILENCE):
                piece = await exchange.read()
            if not piece:
                return
            yield piece
    except TimeoutError as error:
        raise DeadlineError(f"nothing came for {SILENCE:.0f} s") from error
