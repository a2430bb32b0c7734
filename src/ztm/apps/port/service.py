"""All ports and the access list of one endpoint: kept on disk, changed one at a time.

A change is validated, its ports are bound, it is saved, and only then acknowledged; what it replaces ends after
that. It knows nothing of HTTP.

Source: spec apps-network 6 and 7 rule 6.
"""

import asyncio
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ztm.apps.base import AppContext
from ztm.apps.port.entry import Entry
from ztm.apps.port.exit import Exit
from ztm.apps.port.forms import Config, PortShown, read_config, stored
from ztm.apps.port.model import Port, PortKey
from ztm.apps.port.rules import Rule
from ztm.apps.revision import Revision
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.retrying import Retrying
from ztm.apps.streams.traffic import Traffic
from ztm.errors import StorageError

CONFIG = "config.json"


class Ports:
    """The ports of this endpoint, and what it dials for those of others."""

    def __init__(self, context: AppContext, limits: StreamLimits) -> None:
        self.entries: dict[PortKey, Entry] = {}
        self.exit = Exit(context, limits)
        self._context = context
        self._limits = limits
        self._changing = asyncio.Lock()
        self._revision = Revision()
        self._retrying = Retrying(context, limits.retry_seconds, self._retry)

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Take up what is stored.

        Raises:
            StorageError: the stored configuration cannot be read; nothing was started.
        """
        data = self._context.files.read_local(CONFIG)
        ports, rules = read_config(data, self._context.log) if data else ([], [])
        self.exit.change(rules)
        for port in ports:
            entry = self.entries[port.key] = self._entry(port)
            await entry.entrance.open([port.listen])
            entry.entrance.tell()
        self._retry_later()

    async def drain(self) -> None:
        """Stop listening, wait for the connections under way, then cut UDP sessions, which have no end of their own."""
        self._retrying.stop()
        async with self._changing:
            for entry in self.entries.values():
                await entry.entrance.shut()
        await asyncio.gather(*(traffic.emptied() for traffic in self._traffic("tcp")))
        for traffic in self._traffic("udp"):
            traffic.cut("the agent stops")

    def _traffic(self, protocol: str) -> list[Traffic[Any]]:
        entered = [entry.traffic for key, entry in self.entries.items() if key.protocol == protocol]
        return [*entered, self.exit.traffic[protocol]]

    async def stop(self) -> None:
        """Stop listening, and cut all that is under way."""
        self._retrying.stop()
        async with self._changing:
            for entry in self.entries.values():
                await entry.entrance.stop("the port app stops")
            self.exit.close("the port app stops")
            self.entries.clear()

    # ------------------------------------------------------------------ changing

    async def change(self, ports: list[Port], rules: list[Rule], revision: str | UnsetType = UNSET) -> None:
        """Have these ports and this access list from now on, and no others.

        A port that cannot be listened on stays listed, and is tried again. Connections of ports that stay go on,
        as far as the access list allows them.

        Raises:
            ConflictError: it is no longer at `revision`.
            StorageError: it could not be saved, and nothing changed.
        """
        async with self._changing:
            self._revision.check(revision)
            added = await self._opened(ports)
            try:
                self._context.files.write_local(CONFIG, msgspec.json.encode(stored(ports, rules)))
            except StorageError:
                for entry in added.values():
                    await entry.entrance.stop("the change could not be saved")
                raise
            self._revision.advance()
            await self._replace(ports, added)
            self.exit.change(rules)
            self._retry_later()

    async def _opened(self, ports: list[Port]) -> dict[PortKey, Entry]:
        """Entries for those that are new, listening if they can."""
        added = {port.key: self._entry(port) for port in ports if port.key not in self.entries}
        for key, entry in added.items():
            await entry.entrance.open([key.listen])
        return added

    async def _replace(self, ports: list[Port], added: dict[PortKey, Entry]) -> None:
        old = self.entries
        self.entries = {port.key: added.get(port.key) or old[port.key] for port in ports}
        for port in ports:
            self.entries[port.key].change(port)
        for key, entry in added.items():
            entry.entrance.tell()
            self._context.log.info("port %s leads to %s by endpoint %s", key, entry.port.target, entry.port.via)
        for key in old.keys() - self.entries.keys():
            await old[key].entrance.stop("the port was deleted")
            self._context.log.info("port %s closed", key)
            self._context.tell("port", str(key), "closed")

    def config(self) -> Config:
        """The whole configuration."""
        made = stored([entry.port for entry in self.entries.values()], self.exit.rules)
        made.revision = str(self._revision)
        return made

    def shown(self) -> list[PortShown]:
        """All ports as they are now."""
        return [entry.shown() for entry in self.entries.values()]

    # ------------------------------------------------------------------ parts

    def _entry(self, port: Port) -> Entry:
        return Entry(port, self._context, self._limits, self.exit)

    def _retry_later(self) -> None:
        if any(entry.entrance.is_waiting for entry in self.entries.values()):
            self._retrying.later()

    async def _retry(self) -> bool:
        """Try ports that could not be listened on; whether all are open now."""
        async with self._changing:
            return all([await entry.entrance.retry() for entry in self.entries.values()])
