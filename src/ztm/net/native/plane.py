"""The native core of this process, and the event loop that it tells what happens.

One core serves one loop after another, as its threads outlive them; only loops that run at the same time have one each.
A process that was forked off makes its own, as threads do not come along.
"""

import asyncio
import logging
import os
from typing import Any, Protocol

from ztm_native import Core

log = logging.getLogger("ztm.net")


class Waiting(Protocol):
    """Whoever waits for events of one token."""

    def happened(self, kind: int, detail: Any) -> None:
        """Take an event; see `ztm_native`. Must not block."""

    def give_up(self) -> None:
        """The event loop is no more: let go of what the core holds."""


class Plane:
    """A core at work for one event loop."""

    __slots__ = ("_is_due", "core", "loop", "waiting")

    def __init__(self, core: Core, loop: asyncio.AbstractEventLoop) -> None:
        self.core = core
        self.loop = loop
        self.waiting: dict[int, Waiting] = {}
        """Who is told of events, by token; what is open but waits for nothing is not here."""
        self._is_due = False
        loop.add_reader(core.fileno(), self.take)

    def schedule(self) -> None:
        """Flush at the end of this turn of the loop, with whatever else is queued until then."""
        if not self._is_due:
            self._is_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        self.core.flush()

    def take(self) -> None:
        """Tell those who wait what has happened."""
        waiting = self.waiting
        for token, kind, detail in self.core.events():
            waiter = waiting.get(token)
            if waiter is None:
                continue  # who waited has left; a stream that nobody takes is cut as it is dropped
            try:
                waiter.happened(kind, detail)
            except Exception:
                log.exception("an event of the network was not taken")

    def retire(self) -> None:
        """The loop was closed: nobody is left to be told anything."""
        left = list(self.waiting.values())
        self.waiting.clear()
        for waiter in left:
            waiter.give_up()
        self.core.flush()


_planes: list[Plane] = []
_of_parent: list[Plane] = []
"""What came along with a fork: its threads are not here, so it is neither used nor ended."""


def plane() -> Plane:
    """The plane of the running event loop; made at first use."""
    loop = asyncio.get_running_loop()
    for made in _planes:
        if made.loop is loop:
            return made
    old = next((each for each in _planes if each.loop.is_closed()), None)
    if old is not None:
        _planes.remove(old)
        old.retire()
    _planes.append(Plane(old.core if old is not None else Core(), loop))
    return _planes[-1]


def forget(ended: Plane) -> None:
    """Let nobody use `ended` any more, as its core is about to be closed."""
    ended.loop.remove_reader(ended.core.fileno())
    _planes.remove(ended)


def _leave_to_parent() -> None:
    _of_parent.extend(_planes)
    _planes.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
