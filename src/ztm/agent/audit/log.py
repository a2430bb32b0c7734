"""The audit log of one mesh on this agent: one JSON line for each session of each app, written when it is over.

The lines of one turn of the event loop are written together at its end, so that those of a busy tunnel cost no `write`
each; no line waits longer, and a search finds all of them. A disk that does not take a line harms no session and delays
none: it is said once, and counted. Of what is under way when the agent stops a line is written too; after a `kill -9`
there is none, as nobody is left to write it.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

import msgspec

from ztm.agent.audit.files import AuditFiles, AuditLimits
from ztm.agent.audit.record import record_of
from ztm.agent.audit.search import Query, found
from ztm.apps.audit import CUT, Audit, Trail
from ztm.net.base import Network
from ztm.store.files import reason

log = logging.getLogger("ztm.agent")

TELL_AFTER = 0.2
"""Seconds after a line at which followers are told: many sessions in a burst are one reason to look."""

TOGETHER = 64 << 10
"""Bytes of lines that are written in one go."""

_encode = msgspec.json.Encoder().encode


class Said:
    """Whether an app wrote of a request by itself."""

    is_begun = False


SAID: ContextVar[Said | None] = ContextVar("audit_said", default=None)
"""Where somebody waits to hear whether the app writes a record of the request that is being served."""


class AuditLog:
    """The log; `stop` before the apps are stopped, `close` behind that."""

    def __init__(
        self,
        directory: Path,
        network: Network,
        endpoint: str,
        name: str = "",
        *,
        limits: AuditLimits | None = None,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._limits = limits or AuditLimits()
        self._files = AuditFiles(directory, self._limits)
        self._network = network
        self._at = (endpoint, name)
        self._tell = tell
        self._telling: asyncio.TimerHandle | None = None
        self._begun: dict[int, tuple[Trail, str, float, float]] = {}
        """Sessions under way, by identity: the trail, the app, and when it began by both clocks."""
        self._unsaved: list[bytes] = []
        """Lines of this turn of the loop."""
        self._stopping = ""
        self._is_failing = False
        self.written = 0
        """Lines so far."""
        self.lost = 0
        """Lines that the disk did not take."""

    def of(self, app: str) -> Audit:
        """The log as ``provider/name`` sees it."""
        return _AppAudit(self, app)

    def begin(self, app: str, trail: Trail) -> None:
        """A session begins."""
        said = SAID.get()
        if said is not None:
            said.is_begun = True
        self._begun[id(trail)] = (trail, app, self._network.wall(), self._network.now())

    def end(self, trail: Trail) -> None:
        """It is over. Nothing happens for one that did not begin, or is over already."""
        begun = self._begun.pop(id(trail), None)
        if begun is not None:
            if self._stopping and trail.reason.startswith(CUT):
                trail.reason = self._stopping
            self._write(*begun)

    def _write(self, trail: Trail, app: str, wall: float, began: float) -> None:
        record = record_of(trail, app, wall, self._network.now() - began, self._at)
        if not self._unsaved:
            asyncio.get_running_loop().call_soon(self.save)
        self._unsaved.append(_encode(record) + b"\n")

    def save(self) -> None:
        """Write the lines of this turn of the loop now, and not at its end. Never fails."""
        lines, self._unsaved = self._unsaved, []
        most = min(TOGETHER, self._limits.file_bytes)
        while lines:
            count, size = 1, len(lines[0])
            while count < len(lines) and (size := size + len(lines[count])) <= most:
                count += 1
            self._append(lines[:count])
            del lines[:count]

    def _append(self, lines: list[bytes]) -> None:
        try:
            self._files.append(b"".join(lines))
        except OSError as error:
            if len(lines) == 1:
                self._fail(error)
            else:  # as many of them as there is room for
                for line in lines:
                    self._append([line])
            return
        self.written += len(lines)
        if self._is_failing:
            self._is_failing = False
            log.warning("the audit log in %s is written again; %d records were lost so far", self._directory, self.lost)
        if self._telling is None and not self._stopping:
            self._telling = asyncio.get_running_loop().call_later(TELL_AFTER, self._told)

    def _fail(self, error: OSError) -> None:
        self.lost += 1
        if not self._is_failing:
            self._is_failing = True
            log.error("the audit log in %s is not written: %s; sessions go on", self._directory, reason(error))

    def _told(self) -> None:
        self._telling = None
        self._tell()

    # ------------------------------------------------------------------ reading

    async def search(self, query: Query) -> list[bytes]:
        """The lines that fit, the newest last.

        Raises:
            StorageError: a file cannot be read.
        """
        self.save()
        return await asyncio.to_thread(found, AuditFiles(self._directory, self._limits), query)

    # ------------------------------------------------------------------ the end

    def stop(self, why: str) -> None:
        """From now on a session that is cut ended because of `why`."""
        self._stopping = why

    def close(self) -> None:
        """Write of what is under way still, and let the files go."""
        for trail, *_ in list(self._begun.values()):
            trail.reason = self._stopping or trail.reason
            self.end(trail)
        self.save()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._files.close()


class _AppAudit:
    """See `Audit`."""

    def __init__(self, whole: AuditLog, app: str) -> None:
        self._whole = whole
        self._app = app

    def begin(self, trail: Trail) -> None:
        """See `Audit`."""
        self._whole.begin(self._app, trail)

    def end(self, trail: Trail) -> None:
        """See `Audit`."""
        self._whole.end(trail)
