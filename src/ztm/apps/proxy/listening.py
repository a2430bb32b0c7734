"""Where the proxy of one endpoint listens: its port, bound or waiting to be, and the clients behind it.

A port that cannot be had stays listed with its reason and is tried again (weakness P10). It neither stores nor
publishes anything, and chooses no exit.

Source: spec apps-network 2.6 and 7 rule 6.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import UNSET

from ztm.apps.base import AppContext
from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.model import Config
from ztm.apps.proxy.way import Way
from ztm.apps.streams.forms import ListenShown
from ztm.apps.streams.ports import Close, Ports
from ztm.model import Address, Peer

if TYPE_CHECKING:
    from ztm.apps.proxy.entry.door import Door


class Listening:
    """The proxy's port; `note` is told why it cannot be had."""

    def __init__(
        self,
        context: AppContext,
        way: Way,
        door_limits: DoorLimits,
        retry_seconds: float,
        note: Callable[[str], object],
    ) -> None:
        self._context = context
        self._way = way
        self._door_limits = door_limits
        self._retry_seconds = retry_seconds
        self._note = note
        self._credentials: Credentials | None = None
        """What the clients of a port that is opened now must give."""
        self._ports = Ports(self._open)
        self._doors: dict[Address, Door] = {}
        self._changing = asyncio.Lock()
        self._is_shut = False
        self._is_retrying = False

    async def bind(self, config: Config) -> list[Address]:
        """Listen where `config` says, besides where it listens now; gives what this added, open or not."""
        async with self._changing:
            before, self._credentials = self._credentials, config.credentials
            try:
                added = await self._ports.open([config.listen] if config.listen else [])
            finally:
                self._credentials = before
        for one in self._ports.shown(added):
            if one.error is not UNSET:
                self._note(one.error)
        return added

    async def unbind(self, addresses: list[Address], reason: str) -> None:
        """Stop listening on `addresses`, and cut their clients."""
        async with self._changing:
            await self._ports.close(addresses)
            for address in addresses:
                door = self._doors.pop(address, None)
                if door is not None:
                    await door.close(reason)

    def admit(self, credentials: Credentials | None) -> None:
        """Ask new clients for these from now on, or for none."""
        self._credentials = credentials
        for door in self._doors.values():
            door.allow(credentials)

    async def keep(self, config: Config) -> None:
        """Listen only where `config` says, which was bound before; exits or what they allow may be others now."""
        for door in self._doors.values():
            door.renew()
        await self.unbind([one for one in self._ports.addresses if one != config.listen], "no longer listening")
        self._retry_later()
        self._tell()

    async def drain(self) -> None:
        """Listen no more, and return when what clients have asked for is done."""
        await self._shut()
        await asyncio.gather(*(door.traffic.emptied() for door in self._doors.values()))

    async def stop(self, reason: str) -> None:
        """Listen no more, and cut all clients."""
        await self._shut()
        await self.unbind(list(self._doors), reason)

    async def _shut(self) -> None:
        self._is_shut = True
        async with self._changing:
            await self._ports.close(self._ports.addresses)

    def shown(self) -> list[ListenShown]:
        """How the port stands."""
        return self._ports.shown(self._ports.addresses)

    # ------------------------------------------------------------------ the port

    async def _open(self, address: Address) -> Close:
        from ztm.apps.proxy.entry.door import Door  # an exit that has no clients of its own need not load it

        context = self._context
        door = Door(
            context.network,
            self._way,
            context.log,
            self._door_limits,
            self._credentials,
            audit=context.audit,
            peer=Peer(context.user, context.place.id),
        )
        listener = await context.network.listen(address, door.accept)
        self._doors[address] = door
        return listener.close

    def _retry_later(self) -> None:
        if not self._is_retrying and self._ports.failed:
            self._is_retrying = True
            self._context.spawn(self._retry())

    async def _retry(self) -> None:
        """Try a port that could not be had until it is open."""
        try:
            is_done = False
            while not is_done and not self._is_shut:
                await asyncio.sleep(self._retry_seconds)
                async with self._changing:
                    is_done = not self._is_shut and await self._ports.retry()
            if is_done:
                self._tell()
        finally:
            self._is_retrying = False

    def _tell(self) -> None:
        """Tell how the port is doing."""
        for one in self.shown():
            error = one.error or ""
            self._context.tell("proxy", "listen", "failed" if error else "open", error)
