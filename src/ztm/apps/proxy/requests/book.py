"""Where an exit's requests are told: one queue, bounded, and one task that writes what is in it.

Whoever passes never waits for it: what does not fit is dropped, and counted. A place that takes nothing is tried again
with what came meanwhile.

Source: spec apps-network 2.7.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from ztm.apps.base import AppContext
from ztm.apps.proxy.model import FileLog, RequestLog, SplunkLog
from ztm.errors import ZtmError
from ztm.model import Peer

if TYPE_CHECKING:
    from ztm.apps.proxy.requests.watch import Seen

QUEUED = 10_000
"""Requests that wait at most: a minute of a busy exit."""
BATCH = 200
"""Of them, what is written at once."""
RETRY_SECONDS = 5.0

Event = dict[str, Any]


class Sink(Protocol):
    """A place for events."""

    async def write(self, events: Sequence[tuple[float, Event]]) -> None:
        """Take all of them (each with its time, epoch seconds), or raise `ZtmError` and take none."""


class RequestBook:
    """The log of an exit's requests."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._sink: Sink | None = None
        self._log: RequestLog | None = None
        self._queue: deque[tuple[float, Event]] = deque()
        self._more = asyncio.Event()
        self._is_writing = False
        self.written = 0
        self.dropped = 0

    @property
    def is_open(self) -> bool:
        """Whether anybody wants to know."""
        return self._sink is not None

    def check(self, log: RequestLog | None, origin_ca: str) -> None:
        """Make sure that requests can be told there.

        Raises:
            StorageError: the app has no directory for the file.
            UsageError: the file of further certificates cannot be read.
        """
        self._make(log, origin_ca)

    def change(self, log: RequestLog | None, origin_ca: str) -> None:
        """Tell requests there from now on, which was checked before; what waits goes there too."""
        if log == self._log and not isinstance(log, SplunkLog):
            return
        sink = self._make(log, origin_ca)
        self._sink, self._log = sink, log
        self._more.set()
        if sink is None:
            self._queue.clear()
        elif not self._is_writing:
            self._is_writing = True
            self._context.spawn(self._write())

    def _make(self, log: RequestLog | None, origin_ca: str) -> Sink | None:
        """Each kind is loaded when it is asked for: most exits log nothing."""
        if isinstance(log, SplunkLog):
            from ztm.apps.proxy.requests.splunk import Splunk

            return Splunk(self._context, log, origin_ca)
        if isinstance(log, FileLog):
            from ztm.apps.proxy.requests.file import LogFile

            return LogFile(self._context.directory() / log.name)
        return None

    def note(self, peer: Peer, target: str, seen: "Seen") -> None:
        """A request passed."""
        self._add(
            {
                **self._who(peer, target),
                "method": seen.method,
                "path": seen.path,
                "headers": seen.headers,
                "size": seen.size,
            }
        )

    def note_denied(self, peer: Peer, target: str, reason: str) -> None:
        """Somebody was not let through."""
        self._add({**self._who(peer, target), "denied": True, "reason": reason})

    def _who(self, peer: Peer, target: str) -> Event:
        time = datetime.fromtimestamp(self._context.network.wall(), UTC).isoformat(timespec="milliseconds")
        return {
            "time": time.replace("+00:00", "Z"),
            "username": peer.user,
            "endpoint": peer.endpoint,
            "ip": peer.ip,
            "target": target,
        }

    def _add(self, event: Event) -> None:
        if self._sink is None:
            return
        if len(self._queue) >= QUEUED:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append((self._context.network.wall(), event))
        self._more.set()

    async def emptied(self, seconds: float) -> None:
        """Wait until all is written, for `seconds` at most."""
        try:
            async with asyncio.timeout(seconds):
                while self._queue and self._is_writing:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self._context.log.warning("%d requests were not logged in time", len(self._queue))

    async def _write(self) -> None:
        try:
            while (sink := self._sink) is not None:
                await self._more.wait()
                self._more.clear()
                while self._queue and self._sink is sink:
                    await self._write_some(sink)
        finally:
            self._is_writing = False

    async def _write_some(self, sink: Sink) -> None:
        batch = [self._queue[number] for number in range(min(BATCH, len(self._queue)))]
        dropped = self.dropped
        try:
            await sink.write(batch)
        except ZtmError as error:
            self._context.log.error("requests cannot be logged, and wait: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
            return
        self.written += len(batch)
        gone = self.dropped - dropped  # some of the batch may have made room meanwhile
        for _ in range(max(0, len(batch) - gone)):
            if self._queue:
                self._queue.popleft()
