"""The agent's live events: one bus that keeps the last ones for readers who come back.

Publishing never waits and never grows: a reader who is too slow loses events, and is told so. Nothing here
knows HTTP, or decides what is worth telling.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from ztm.errors import LimitError
from ztm.logs import iso_now

TYPES = ("mesh", "endpoint", "tunnel", "port", "log", "audit")
"""What a reader may ask for; `LOST` comes to every reader."""
LOST = "lost"
KEPT = 256
"""Events kept for readers who come back: a page that lost its connection for a moment misses nothing."""
QUEUED = 512
"""Events that may wait for one reader; more than `KEPT`, so that a replay always fits."""
READERS = 32
"""Readers at once: a few pages and commands, and a bound for those that never read."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event; which fields there are depends on its type, and empty ones are left out."""

    type: str
    """``mesh``, ``endpoint``, ``tunnel``, ``port``, ``log``, ``audit`` (the audit log has more records) or ``lost``."""
    time: str = ""
    """ISO 8601 in UTC with milliseconds, by the agent's clock."""
    mesh: str = ""
    state: str = ""
    """Of a mesh, as in its object, or ``left``; of a tunnel's end: ``open``, ``failed`` (it cannot listen),
    ``error`` (a connection was not carried) or ``closed``."""
    reason: str = ""
    """Why the state is what it is."""
    id: str = ""
    """Of an endpoint."""
    name: str = ""
    """Of an endpoint; or of a tunnel with its protocol (``tcp/web``)."""
    user: str = ""
    """Of an endpoint."""
    online: bool | None = None
    """Of an endpoint."""
    kind: str = ""
    """Of a tunnel's end: ``inbound`` or ``outbound``; of what the port app tells: ``port``."""
    app: str = ""
    """``provider/name`` of the app that wrote a log line; empty for the mesh's own."""
    level: str = ""
    """Of a log line: ``info`` or ``error``."""
    message: str = ""
    """A log line."""
    count: int | None = None
    """How many events were lost; left out where nobody knows."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the id that a reader comes back with."""

    id: str
    event: Event


@dataclass(frozen=True, slots=True)
class Filter:
    """What one reader wants."""

    types: frozenset[str] = frozenset(TYPES)
    mesh: str = ""
    """Empty for all meshes."""

    def admits(self, event: Event) -> bool:
        """Whether `event` is wanted."""
        return event.type in self.types and self.mesh in ("", event.mesh)


class Reader:
    """One reader's place at the bus: what it wants and has not taken yet."""

    def __init__(self, bus: "Bus", wanted: Filter) -> None:
        self.wanted = wanted
        self.is_open = True
        self.is_fresh = True
        """Whether it came without a place to go on from."""
        self._bus = bus
        self._queue: deque[Told] = deque()
        self._lost: Told | None = None
        self._is_new = asyncio.Event()

    def push(self, told: Told) -> None:
        """Put one event into the queue; what waited there is given up when it is full."""
        if len(self._queue) >= QUEUED:
            before = self._lost.event.count or 0 if self._lost else 0
            self.lose(self._queue[-1].id, before + len(self._queue))
            self._queue.clear()
        self._queue.append(told)
        self._is_new.set()

    def lose(self, last: str, count: int | None) -> None:
        """Note that events up to the id `last` are lost to this reader."""
        self._lost = Told(last, Event(type=LOST, count=count))
        self._is_new.set()

    async def next(self, timeout: float) -> Told | None:
        """The next event; None when none came within `timeout` seconds, or the reader was closed."""
        try:
            async with asyncio.timeout(timeout):
                while self.is_open and not self._queue and self._lost is None:
                    self._is_new.clear()
                    await self._is_new.wait()
        except TimeoutError:
            return None
        if not self.is_open:
            return None
        if self._lost is not None:
            lost, self._lost = self._lost, None
            return lost
        return self._queue.popleft()

    def close(self) -> None:
        """Want nothing any more. Idempotent."""
        self.is_open = False
        self._queue.clear()
        self._is_new.set()
        self._bus.forget(self)


class Bus:
    """Where events are published and read. `wall` gives epoch seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._run = secrets.token_hex(4)
        self._number = 0
        self._kept: deque[Told] = deque(maxlen=KEPT)
        self._readers: list[Reader] = []
        self._watchers: list[Callable[[], None]] = []

    @property
    def last_id(self) -> str:
        """The id of the latest event, whether or not anybody wanted it."""
        return f"{self._run}-{self._number}"

    @property
    def published(self) -> int:
        """Events so far."""
        return self._number

    def publish(self, event: Event) -> None:
        """Tell everybody who wants it, and keep it for those who come back."""
        self._number += 1
        told = Told(self.last_id, msgspec.structs.replace(event, time=iso_now(self._wall())))
        self._kept.append(told)
        for reader in self._readers:
            if reader.wanted.admits(told.event):
                reader.push(told)

    def read(self, wanted: Filter, after: str = "") -> Reader:
        """Begin to read what is published from now on, or from behind the event whose id is `after`.

        Where not all of that is kept any more, a ``lost`` event comes first.

        Raises:
            LimitError: there are `READERS` already.
        """
        if len(self._readers) >= READERS:
            raise LimitError(f"{READERS} readers follow this agent's events already: close one first")
        reader = Reader(self, wanted)
        reader.is_fresh = not after
        if after:
            self._replay(reader, after)
        self._readers.append(reader)
        self._changed()
        return reader

    def _replay(self, reader: Reader, after: str) -> None:
        run, _, text = after.partition("-")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
        if run != self._run or not 0 <= number <= self._number:
            reader.lose(self.last_id, None)  # of another run of the agent: what happened between is not known
            return
        missed = min(self._number - number, len(self._kept))
        if missed < self._number - number:
            reader.lose(f"{self._run}-{self._number - missed}", self._number - number - missed)
        for told in list(self._kept)[len(self._kept) - missed :]:
            if reader.wanted.admits(told.event):
                reader.push(told)

    def forget(self, reader: Reader) -> None:
        """Take a reader away; see `Reader.close`."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._changed()

    def close(self) -> None:
        """End all readers: the agent stops."""
        for reader in list(self._readers):
            reader.close()

    # ------------------------------------------------------------------ who listens

    def is_wanted(self, type_: str, meshes: Iterable[str] = ()) -> bool:
        """Whether somebody reads events of this type, of one of `meshes` if any are named."""
        named = {*meshes}
        return any(
            type_ in reader.wanted.types and (not named or not reader.wanted.mesh or reader.wanted.mesh in named)
            for reader in self._readers
        )

    def on_readers(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever a reader came or went."""
        self._watchers.append(changed)

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()
