"""Raw streams as an app sees them: those it opens, those it accepts, and the offer of one it may refuse."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import NoReturn, Self

from ztm.errors import BrokenStreamError, from_status
from ztm.model import Address
from ztm.net.base import Network
from ztm.net.base import Stream as RawStream
from ztm.net.scope import Upgrade
from ztm.wire.processes import RULE


class Stream:
    """A two-way flow of bytes with half-close. As a context manager it is ended, and cut if the body raises.

    A reader that does not read holds the writer back; nothing is buffered without bound.
    """

    def __init__(self, raw: RawStream, network: Network) -> None:
        self.raw = raw
        """The stream of ztm's own network seam."""
        self._network = network

    @property
    def remote(self) -> Address | None:
        """Where it comes from, if that is known."""
        return self.raw.remote

    async def read(self) -> bytes:
        """The next bytes; ``b""`` once the other side has ended.

        Raises:
            BrokenStreamError: the stream was cut.
        """
        return await self.raw.read()

    async def write(self, data: bytes) -> None:
        """Send `data`; returns once there is room for more.

        Raises:
            BrokenStreamError: the stream was cut.
        """
        await self.raw.write(data)

    def end(self) -> None:
        """End the own side after all that was written; the other side may go on. Idempotent."""
        self.raw.end()

    def abort(self, reason: str = "") -> None:
        """Cut both directions at once. Idempotent."""
        self.raw.abort(reason)

    async def join(self, other: "Stream") -> None:
        """Carry bytes between this stream and `other` until both have ended; the fastest way to pass them on.

        Raises:
            BrokenStreamError: one of them was cut; so is the other then.
        """
        await self._network.splice(self.raw, other.raw)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its bytes, piece by piece."""
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, or cut it."""
        if error is None:
            self.end()
        else:
            self.abort("its user failed")


class Incoming(Stream):
    """A stream that somebody asks for; it is one once it was accepted. It ends when its handler returns."""

    def __init__(self, upgrade: Upgrade, network: Network, rule: str = "") -> None:
        super().__init__(upgrade.stream, network)
        self._upgrade = upgrade
        self._rule = rule

    @property
    def is_accepted(self) -> bool:
        """Whether it was."""
        return self._upgrade.accepted

    async def accept(self) -> Self:
        """Take it; bytes flow from now on."""
        self._upgrade.accept([(RULE, self._rule)] if self._rule else ())
        return self

    def refuse(self, status: int, reason: str) -> NoReturn:
        """Refuse it with an HTTP status and a reason for people.

        Raises:
            ZtmError: always; it ends the handler.
        """
        if self.is_accepted:
            raise BrokenStreamError("a stream that was accepted can only be cut")
        raise from_status(status, reason)
