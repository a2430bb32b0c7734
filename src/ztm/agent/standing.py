"""How one joined mesh is doing, and what is kept of how it was: its health, its failures and its last log lines.

It decides nothing; whoever learns something says it here once, and log, events and answers all tell the same.
"""

import asyncio
import contextlib
import logging
from collections import deque

from ztm.agent.events.bus import Bus, Event
from ztm.agent.events.logtap import LogTap
from ztm.agent.state import Health, State
from ztm.logs import LogRing, iso_now
from ztm.net.base import Network
from ztm.wire.records import LogEntry

KEPT = 100
"""Distinct errors since the last success, and log lines, that are kept."""
PASSING = (State.CONNECTING, State.UNREACHABLE)
"""States that may end by themselves at any time."""


class Standing:
    """The standing of one mesh; `open`, then `close`."""

    def __init__(self, mesh: str, endpoint_id: str, events: Bus, network: Network, health: Health) -> None:
        self._mesh = mesh
        self._network = network
        self._events = events
        self._logger = logging.getLogger(f"ztm.agent.mesh.{mesh.replace('.', '_')}")
        self.log = logging.LoggerAdapter(self._logger, {"ids": {"mesh": mesh, "endpoint": endpoint_id}})
        """Where all that concerns this mesh is logged."""
        self._ring = LogRing(KEPT)
        self._logger.addHandler(self._ring)
        self._tap = LogTap(events, mesh)
        self.health = health
        """How the mesh is doing now."""
        self.errors: deque[tuple[str, str, int]] = deque(maxlen=KEPT)
        """Time (ISO 8601) of the last, message and count of each kind of failure since the last success."""
        self.connects = 0
        """How often it became connected."""
        self._turned = asyncio.Event()
        """Set, and replaced, at each change of health."""

    def open(self) -> None:
        """Tell events from now on, beginning with how the mesh is doing."""
        self._tap.attach()
        self._events.publish(Event(type="mesh", mesh=self._mesh, state=str(self.health.state)))

    def close(self) -> None:
        """Keep and tell nothing any more."""
        self._logger.removeHandler(self._ring)
        self._tap.detach()

    def log_entries(self) -> list[LogEntry]:
        """The last log lines, oldest first."""
        return self._ring.entries()

    def turn(self, health: Health) -> None:
        """Take what was learnt of the mesh's health; the same again counts as one more failure."""
        if health.reason:
            self._note(health.reason)
        if health == self.health:
            return
        if health.state is State.CONNECTED:
            self.connects += 1
            self.errors.clear()
        level = logging.INFO if health.state is State.CONNECTED else logging.WARNING
        self.log.log(level, "mesh %s: %s%s", self._mesh, health.state, f": {health.reason}" if health.reason else "")
        self.health = health
        self._events.publish(Event(type="mesh", mesh=self._mesh, state=str(health.state), reason=health.reason))
        self._turned.set()
        self._turned = asyncio.Event()

    def _note(self, reason: str) -> None:
        known = next((error for error in self.errors if error[1] == reason), None)
        if known is not None:
            self.errors.remove(known)
        self.errors.append((iso_now(self._network.wall()), reason, known[2] + 1 if known else 1))

    async def turned(self) -> None:
        """Wait for the next change of health."""
        await self._turned.wait()

    async def settled(self, timeout: float) -> Health:
        """The health once it is none that may pass by itself, or what it is after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.health.state in PASSING:
                    await self._turned.wait()
        return self.health
