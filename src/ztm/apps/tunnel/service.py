"""All inbounds and outbounds of one endpoint: kept on disk, changed one at a time, published to the mesh.

A change is validated, its ports are bound, it is saved, and only then acknowledged; what it replaces ends
after that. It knows nothing of HTTP.

Source: spec apps-network 1.5 and 7.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ztm.apps.base import AppContext
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.retrying import Retrying
from ztm.apps.streams.traffic import Traffic
from ztm.apps.tunnel.entry import Entry
from ztm.apps.tunnel.exit import Exit
from ztm.apps.tunnel.forms import StoredConfig, read_config, stored
from ztm.apps.tunnel.model import Inbound, Key, Outbound
from ztm.apps.tunnel.offers import End, Offer, index_outbounds, share_path
from ztm.errors import StorageError

CONFIG = "config.json"


class Tunnels:
    """The tunnel ends of this endpoint."""

    def __init__(self, context: AppContext, limits: StreamLimits) -> None:
        self.entries: dict[Key, Entry] = {}
        self.exits: dict[Key, Exit] = {}
        self._context = context
        self._limits = limits
        self._changing = asyncio.Lock()
        self._retrying = Retrying(context, limits.retry_seconds, self._retry)

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Take up what is stored.

        Raises:
            StorageError: the stored configuration cannot be read; nothing was started.
        """
        data = self._context.files.read_local(CONFIG)
        inbounds, outbounds = read_config(data, self._context.log) if data else ([], [])
        for outbound in outbounds:
            self.exits[outbound.key] = self._exit(outbound)
            self._context.tell("outbound", str(outbound.key), "open")
        self._context.files.on_change(self.refresh)
        for inbound in inbounds:
            entry = self._entry(inbound)
            await entry.open(inbound)
            entry.choose(self._offers())
            self.entries[inbound.key] = entry
            entry.tell()
        self._retry_later()
        self._republish()

    async def drain(self) -> None:
        """Stop listening, wait for the connections under way, then cut UDP sessions, which have no end of their own."""
        self._retrying.stop()
        async with self._changing:
            for entry in self.entries.values():
                await entry.shut()
            tcp, udp = self._traffic("tcp"), self._traffic("udp")
        await asyncio.gather(*(traffic.emptied() for traffic in tcp))
        for traffic in udp:
            traffic.cut("the agent stops")

    def _traffic(self, protocol: str) -> list[Traffic[Any]]:
        ends: list[Entry | Exit] = [*self.entries.values(), *self.exits.values()]
        keys = [*self.entries, *self.exits]
        return [end.traffic for key, end in zip(keys, ends, strict=True) if key.protocol == protocol]

    async def stop(self) -> None:
        """Stop listening, and cut all that is under way."""
        self._retrying.stop()
        async with self._changing:
            for entry in self.entries.values():
                await entry.stop("the tunnel app stops")
            for exit_ in self.exits.values():
                exit_.close("the tunnel app stops")
            self.entries.clear()
            self.exits.clear()

    def refresh(self) -> None:
        """Take note of what is shared in the mesh now."""
        offers = self._offers()
        for entry in self.entries.values():
            entry.choose(offers)

    # ------------------------------------------------------------------ inbounds

    async def open_inbound(self, inbound: Inbound) -> Entry:
        """Create or replace an inbound. An address that cannot be had stays listed, and is tried again.

        Raises:
            StorageError: it could not be saved, and nothing changed; or it could not be published, which is said.
        """
        async with self._changing:
            entry = self.entries.get(inbound.key) or self._entry(inbound)
            added = await entry.open(inbound)
            try:
                self._save({**self._inbounds(), inbound.key: inbound}, self._outbounds())
            except StorageError:
                await entry.close(added, "the change could not be saved")
                raise
            self.entries[inbound.key] = entry
            await entry.change(inbound, self._offers())
            entry.tell()
            self._retry_later()
            self._context.log.info("inbound %s is to listen on %s", inbound.key, ", ".join(map(str, inbound.listens)))
            self._publish_inbound(inbound)
            return entry

    async def close_inbound(self, key: Key) -> None:
        """Remove an inbound and cut its connections. Nothing happens if there is none.

        Raises:
            StorageError: it could not be saved; nothing changed.
        """
        async with self._changing:
            if key not in self.entries:
                return
            self._save({k: v for k, v in self._inbounds().items() if k != key}, self._outbounds())
            await self.entries.pop(key).stop("the inbound was closed")
            self._context.log.info("inbound %s closed", key)
            self._context.tell("inbound", str(key), "closed")
            self._context.files.unshare(share_path(key, self._context.place.id, "inbound"))

    # ------------------------------------------------------------------ outbounds

    async def open_outbound(self, outbound: Outbound) -> Exit:
        """Create or replace an outbound; streams of peers that it no longer admits are cut.

        Raises:
            StorageError: it could not be saved, and nothing changed; or it could not be published, which is said.
        """
        async with self._changing:
            self._save(self._inbounds(), {**self._outbounds(), outbound.key: outbound})
            exit_ = self.exits.get(outbound.key)
            if exit_ is None:
                exit_ = self.exits[outbound.key] = self._exit(outbound)
            else:
                exit_.change(outbound)
            self.refresh()
            self._context.log.info("outbound %s dials %s", outbound.key, ", ".join(map(str, outbound.targets)))
            self._context.tell("outbound", str(outbound.key), "open")
            self._publish_outbound(outbound)
            return exit_

    async def close_outbound(self, key: Key) -> None:
        """Remove an outbound and cut its streams. Nothing happens if there is none.

        Raises:
            StorageError: it could not be saved; nothing changed.
        """
        async with self._changing:
            if key not in self.exits:
                return
            self._save(self._inbounds(), {k: v for k, v in self._outbounds().items() if k != key})
            self.exits.pop(key).close("the outbound was closed")
            self.refresh()
            self._context.log.info("outbound %s closed", key)
            self._context.tell("outbound", str(key), "closed")
            self._context.files.unshare(share_path(key, self._context.place.id, "outbound"))

    # ------------------------------------------------------------------ on disk

    def config(self) -> StoredConfig:
        """The whole configuration."""
        return stored(self._inbounds().values(), self._outbounds().values())

    def _inbounds(self) -> dict[Key, Inbound]:
        return {key: entry.inbound for key, entry in self.entries.items()}

    def _outbounds(self) -> dict[Key, Outbound]:
        return {key: exit_.outbound for key, exit_ in self.exits.items()}

    def _save(self, inbounds: dict[Key, Inbound], outbounds: dict[Key, Outbound]) -> None:
        config = stored(inbounds.values(), outbounds.values())
        self._context.files.write_local(CONFIG, msgspec.json.encode(config))

    # ------------------------------------------------------------------ in the mesh

    def _offers(self) -> dict[Key, list[Offer]]:
        """Outbounds in the mesh by tunnel; the own ones also before they are shared."""
        offers = index_outbounds(self._context.files.shared())
        for key in self.exits:
            own = Offer(self._context.user, key, self._context.place.id, "outbound")
            offers.setdefault(key, []).append(own)
        return offers

    def _republish(self) -> None:
        """Share all that is open; what cannot be stored now is shared at the next start or change."""
        try:
            for entry in self.entries.values():
                self._publish_inbound(entry.inbound)
            for exit_ in self.exits.values():
                self._publish_outbound(exit_.outbound)
        except StorageError as error:
            self._context.log.error("%s", error)

    def _publish_inbound(self, inbound: Inbound) -> None:
        self._share(inbound.key, "inbound", {"exits": inbound.exits})

    def _publish_outbound(self, outbound: Outbound) -> None:
        self._share(outbound.key, "outbound", {"entrances": outbound.entrances, "users": outbound.users})

    def _share(self, key: Key, end: End, told: Mapping[str, Sequence[str]]) -> None:
        place = self._context.place
        try:
            self._context.files.share(share_path(key, place.id, end), msgspec.json.encode({"name": place.name, **told}))
        except StorageError as error:
            raise StorageError(f"{end} {key} is open and saved, but cannot be published: {error}") from error

    # ------------------------------------------------------------------ parts

    def _entry(self, inbound: Inbound) -> Entry:
        return Entry(inbound, self._context, self._limits, self.exits.get)

    def _exit(self, outbound: Outbound) -> Exit:
        return Exit(outbound, self._context, self._limits)

    def _retry_later(self) -> None:
        if any(entry.is_waiting for entry in self.entries.values()):
            self._retrying.later()

    async def _retry(self) -> bool:
        """Try addresses that could not be listened on; whether all are open now."""
        async with self._changing:
            return all([await entry.retry() for entry in self.entries.values()])
