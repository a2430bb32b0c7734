"""Running scripts on this endpoint: who may, how many at once, in which directory, and the record of each.

It is off until somebody allows it, also for the owner. Nothing of a run stays behind, and no content of it is recorded.
"""

import asyncio
import contextlib
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ztm.apps.audit import ENDED, Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.guard import Guard
from ztm.apps.script.client import Client
from ztm.apps.script.framed import FramedClient
from ztm.apps.script.interpreter import Interpreter, environment, found_here
from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.metadata import read_metadata
from ztm.apps.script.model import Order, Settings, check_size, subject_of
from ztm.apps.script.process import Process
from ztm.core.access import Verdict, judge
from ztm.errors import BrokenStreamError, ForbiddenError, LimitError, StorageError, ZtmError
from ztm.model import Peer
from ztm.net.base import Stream

CANNOT_RUN = 126
"""Exit status of a script that was accepted and cannot be run, as shells have it."""
STOPPED = 143
"""Exit status of a script that the endpoint stopped: 128 + SIGTERM."""
UNFIT = "not run: what the script says that it needs is malformed, or not to be had here"
"""For the audit log, which holds nothing of a script."""
ERASING = 20.0
"""Seconds for which the deletion of a run's directory goes on at most."""
ROOM = "runs"
"""Below the app's directory; each run has a directory of its own in it."""


class Visit:
    """One run for one peer, while it lasts."""

    def __init__(self, peer: Peer, trail: Trail) -> None:
        self.peer = peer
        self.trail = trail
        self.cut_by = ""
        """Why this endpoint stopped it, if it did."""
        self._stop: Callable[[], object] = lambda: None

    def stop_by(self, stop: Callable[[], object]) -> None:
        """Note how it is stopped from now on; it is at once, if it was to be stopped before."""
        self._stop = stop
        if self.cut_by:
            stop()

    def cut(self, reason: str) -> None:
        """Stop it."""
        self.cut_by = self.cut_by or reason
        self._stop()


class Exit:
    """This endpoint as the one that runs scripts."""

    def __init__(
        self, context: AppContext, limits: ScriptLimits, interpreter: Callable[[], Interpreter] = found_here
    ) -> None:
        self._context = context
        self._limits = limits
        self._interpreter = interpreter
        self._visits: set[Visit] = set()
        self._is_empty = asyncio.Event()
        self._guard = Guard()
        self.settings = Settings()

    # ------------------------------------------------------------------ life

    async def start(self, settings: Settings) -> None:
        """Take runs from now on; what an earlier life has left behind is deleted first, and holds up nobody else."""
        if settings.is_allowed:
            await asyncio.to_thread(_erase, self._context.directory() / ROOM)
        self.settings = settings

    def change(self, settings: Settings) -> None:
        """Allow what `settings` say from now on; runs that they do not allow are stopped."""
        self.settings = settings
        for visit in self._visits:
            if not self._verdict(visit.peer).is_allowed:
                visit.cut("no longer allowed")

    async def close(self) -> None:
        """Stop all runs, and return when they are gone."""
        self.settings = Settings()
        while self._visits:
            for visit in self._visits:
                visit.cut("the script app stops")
            self._is_empty.clear()
            await self._is_empty.wait()
        await self._guard.close()

    @property
    def running(self) -> int:
        """Scripts that run now."""
        return len(self._visits)

    # ------------------------------------------------------------------ runs

    async def serve(self, peer: Peer, order: Order, accept: Callable[[], Stream]) -> None:
        """Run a script of another endpoint; the script itself comes on the stream that `accept` gives.

        Raises:
            ForbiddenError: the peer may not; nothing was accepted.
            LimitError: too many run already; nothing was accepted.
            BrokenStreamError: the peer went away; the script was stopped.
        """
        with self._visited(peer, order) as visit:
            stream = accept()
            visit.stop_by(lambda: stream.abort(visit.cut_by))
            client = FramedClient(stream, self._limits)
            script = await client.script()
            status = await client.attend(self._told(visit, order, script, client))
            await self._in_time(client.tell_end(status))

    async def run_here(self, peer: Peer, order: Order, script: bytes, client: Client) -> int:
        """Run a script of this endpoint's own user; its exit status. Cancelling it stops the script.

        Raises:
            ForbiddenError: scripts are not allowed here.
            LimitError: too many run already.
            BrokenStreamError: the client went away.
        """
        with self._visited(peer, order) as visit:
            return await self._told(visit, order, script, client)

    @contextmanager
    def _visited(self, peer: Peer, order: Order) -> Iterator[Visit]:
        trail = Trail(side="exit", peer=peer, action="run", subject=order.name, target=self._context.place.id)
        with audited(self._context.audit, trail):
            verdict = self._verdict(peer)
            trail.decide(verdict)
            if not verdict.is_allowed:
                raise ForbiddenError(
                    f"endpoint {self._context.place.name} does not run scripts for you: {verdict.rule}"
                )
            if len(self._visits) >= self.settings.max_runs:
                raise LimitError(
                    f"endpoint {self._context.place.name} runs {len(self._visits)} scripts, which is its limit"
                )
            visit = Visit(peer, trail)
            self._visits.add(visit)
            try:
                yield visit
            finally:
                self._visits.discard(visit)
                if not self._visits:
                    self._is_empty.set()

    def _verdict(self, peer: Peer) -> Verdict:
        if not self.settings.is_allowed:
            return Verdict(False, "scripts are off there (its owner allows them by 'ztm script config --allow on')")
        verdict = judge(self._context.user, self.settings.users, peer.user)
        return verdict if verdict.is_allowed else Verdict(False, f"{verdict.rule} may")

    async def _told(self, visit: Visit, order: Order, script: bytes, client: Client) -> int:
        """Run it; what keeps it from running is told on its standard error, as there is an accepted caller by now.

        Raises:
            BrokenStreamError: the client went away.
        """
        visit.trail.subject = subject_of(order.name, script)
        work = asyncio.get_running_loop().create_task(self._run(visit, order, script, client))
        visit.stop_by(work.cancel)
        try:
            await asyncio.wait((work,))
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if work.cancelled():
            visit.trail.reason = f"stopped: {visit.cut_by}"
            told = f"ztm: the script was stopped by its endpoint: {visit.cut_by}\n"
            await self._in_time(client.err(told.encode()))
            return STOPPED
        return work.result()

    async def _in_time(self, telling: Awaitable[None]) -> None:
        """Tell the end; nobody waits long for a caller that takes nothing.

        Raises:
            BrokenStreamError: it does not.
        """
        try:
            async with asyncio.timeout(self._limits.grace_seconds):
                await telling
        except TimeoutError:
            raise BrokenStreamError("the caller does not take how the script ended") from None

    async def _run(self, visit: Visit, order: Order, script: bytes, client: Client) -> int:
        seconds, trail = min(order.limit or self.settings.limit, self.settings.limit), visit.trail
        try:
            check_size(script, order.name)
            async with self._workplace() as directory:
                command = self._command(order, script, directory, trail)
                await asyncio.to_thread(_store, directory / order.name, script)
                variables = environment(os.environ, directory)
                process = await Process.start(command, directory, variables, self._limits, trail.meter, self._guard)
                status = await process.run(client, seconds)
        except (BrokenStreamError, asyncio.CancelledError):
            raise
        except ZtmError as error:
            trail.reason = UNFIT if trail.reason == UNFIT else f"not run: {error}"
            await client.err(f"ztm: cannot run {order.name}: {error}\n".encode())
            return CANNOT_RUN
        trail.reason = process.reason or f"exit status {status}"
        return status

    def _command(self, order: Order, script: bytes, directory: Path, trail: Trail) -> list[str]:
        """The command that runs a script; a failure quotes the script, so the audit log is told less of it."""
        trail.reason = UNFIT
        metadata = read_metadata(script.decode("utf-8", "replace"))
        command = self._interpreter().command(metadata, directory / order.name, order.arguments)
        trail.reason = ENDED
        return command

    @asynccontextmanager
    async def _workplace(self) -> AsyncIterator[Path]:
        """A fresh directory for one run, which is gone afterwards.

        Raises:
            StorageError: it cannot be made.
        """
        try:
            room = self._context.directory() / ROOM
            room.mkdir(mode=0o700, exist_ok=True)
            directory = Path(tempfile.mkdtemp(prefix="run-", dir=room))  # mode 0700
        except OSError as error:
            raise StorageError(f"no directory for a run can be made: {error.strerror}") from error
        try:
            yield directory
        finally:
            if not await asyncio.to_thread(_erase, directory):
                self._context.log.warning("%s could not be deleted", directory)


def _store(file: Path, script: bytes) -> None:
    """Write a script down.

    Raises:
        StorageError: the disk does not take it.
    """
    try:
        file.write_bytes(script)
    except OSError as error:
        raise StorageError(f"it cannot be stored on the endpoint: {error.strerror}") from error


def _erase(directory: Path) -> bool:
    """Delete a directory with all that is in it, also what a script has made undeletable or too deep to descend into.

    Whatever lies two levels down is moved up by one, so that no path grows. Whether the directory is gone: it may not
    be where somebody goes on writing to it.
    """
    numbers, own = itertools.count(), f".{secrets.token_hex(8)}"
    until = time.monotonic() + ERASING
    with contextlib.suppress(OSError):
        directory.chmod(0o700)
        while time.monotonic() < until and (
            below := [entry for entry in os.scandir(directory) if not _unlinked(entry)]
        ):
            for entry in below:
                Path(entry).chmod(0o700)
                for inner in os.scandir(entry):
                    if not _unlinked(inner):
                        Path(inner).chmod(0o700)  # a directory can be moved by whoever may write to it
                        Path(inner).rename(directory / f"{own}-{next(numbers)}")
                Path(entry).rmdir()
        directory.rmdir()
    return not directory.exists()


def _unlinked(entry: "os.DirEntry[str]") -> bool:
    """Delete what is no directory; whether it was none."""
    if entry.is_dir(follow_symlinks=False):
        return False
    Path(entry).unlink(missing_ok=True)
    return True
