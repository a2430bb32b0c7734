"""Addresses that are listened on, each open or with the reason why not.

An address that cannot be had stays listed and can be tried again; it never stands in the way of another.
It knows nothing of what comes in.
"""

from collections.abc import Awaitable, Callable, Iterable

from msgspec import UNSET

from ztm.apps.streams.forms import ListenShown
from ztm.errors import ZtmError
from ztm.model import Address

Close = Callable[[], Awaitable[None]]
Open = Callable[[Address], Awaitable[Close]]
"""Starts to listen on an address, or raises `ZtmError`; gives what stops it."""


class Ports:
    """The listening addresses of one entrance."""

    def __init__(self, open_: Open) -> None:
        self._open = open_
        self._close: dict[Address, Close] = {}
        self._errors: dict[Address, str] = {}

    async def open(self, addresses: Iterable[Address]) -> list[Address]:
        """Listen on those of `addresses` that are not known yet; these are returned, open or not."""
        added = [one for one in addresses if one not in self._close and one not in self._errors]
        for address in added:
            await self._try(address)
        return added

    async def retry(self) -> bool:
        """Try those that are not open again; whether all are open now."""
        for address in list(self._errors):
            await self._try(address)
        return not self._errors

    async def close(self, addresses: Iterable[Address]) -> None:
        """Stop listening on `addresses` and forget them. Never fails."""
        for address in addresses:
            self._errors.pop(address, None)
            close = self._close.pop(address, None)
            if close is not None:
                await close()

    @property
    def addresses(self) -> list[Address]:
        """All of them, open or not."""
        return [*self._close, *self._errors]

    @property
    def failed(self) -> bool:
        """Whether one of them is not open."""
        return bool(self._errors)

    async def _try(self, address: Address) -> None:
        try:
            close = await self._open(address)
        except ZtmError as error:
            self._errors[address] = str(error)
        else:
            self._errors.pop(address, None)
            self._close[address] = close

    def shown(self, addresses: Iterable[Address]) -> list[ListenShown]:
        """How `addresses` stand."""
        return [
            ListenShown(one.host, one.port, open=one in self._close, error=self._errors.get(one, UNSET))
            for one in addresses
        ]
