"""Outgoing connections of the native plane: addresses are dialled there, and names are resolved here first."""

import asyncio
import os
import socket
from typing import Any

from ztm_native import Failure, TlsContext
from ztm_native import Stream as Handle

from ztm.errors import CertificateError, DeadlineError, UnreachableError, ZtmError
from ztm.model import Address
from ztm.net.native.connection import NativeConnection
from ztm.net.native.plane import Plane
from ztm.net.proxy import Proxy
from ztm.net.reasons import no_agreement, why


class Dial:
    """Who waits for one connection to stand, TLS included."""

    __slots__ = ("_future", "_plane", "_token")

    def __init__(self, plane: Plane, token: int) -> None:
        self._plane = plane
        self._token = token
        self._future: asyncio.Future[Handle | Failure] = plane.loop.create_future()
        plane.waiting[token] = self
        plane.schedule()

    def happened(self, _kind: int, detail: Handle | Failure) -> None:
        """It stands, or has failed."""
        if not self._future.done():
            self._future.set_result(detail)

    def give_up(self) -> None:
        """See `plane.Waiting`; what was dialled is cut when it comes, as nobody takes it."""

    async def outcome(self) -> NativeConnection | Failure:
        """The connection, or why there is none."""
        try:
            detail = await self._future
        finally:
            self._plane.waiting.pop(self._token, None)
        return detail if isinstance(detail, Failure) else NativeConnection(self._plane, detail)


class Dialler:
    """One call of `net.base.Network.dial`."""

    __slots__ = ("_address", "_context", "_plane", "_proxy", "_seconds", "_until")

    def __init__(
        self, plane: Plane, address: Address, context: TlsContext | None, proxy: Proxy | None, seconds: float
    ) -> None:
        self._plane = plane
        self._address = address
        self._context = context
        self._proxy = proxy
        self._seconds = seconds
        self._until = plane.loop.time() + seconds

    async def connect(self) -> NativeConnection:
        """The connection.

        Raises:
            UnreachableError: nobody listens there, or the name does not resolve.
            DeadlineError: no answer in time.
            CertificateError: the peer showed no certificate of this CA.
        """
        if self._proxy is None and is_literal(self._address.host):
            came = await self._one(self._address.host)
        else:
            try:
                async with asyncio.timeout_at(self._until):
                    came = await (self._through(self._proxy) if self._proxy is not None else self._each())
            except TimeoutError as error:
                raise self._late() from error
            except (OSError, UnicodeError) as error:
                raise UnreachableError(f"cannot connect to {self._address}: {why(error)}") from error
        if isinstance(came, Failure):
            raise self._error(came)
        return came

    async def adopt(self, opened: socket.socket) -> NativeConnection:
        """The same over a socket that is connected already, and is owned from now on.

        Raises:
            UnreachableError: it is not connected any more.
        """
        came = await self._over(opened)
        if isinstance(came, Failure):
            raise self._error(came)
        return came

    def _left(self) -> float:
        return max(0.001, self._until - self._plane.loop.time())

    async def _one(self, host: str) -> NativeConnection | Failure:
        token = self._plane.core.dial(host, self._address.port, self._context, self._left())
        return await Dial(self._plane, token).outcome()

    async def _each(self) -> NativeConnection | Failure:
        """Try the addresses of a name in turn; the first one's failure if none answers."""
        loop, first = self._plane.loop, None
        found = await loop.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, where in dict.fromkeys(found):
            if is_literal(host := str(where[0])):
                came = await self._one(host)
            else:  # an IPv6 address that holds within one interface only
                came = await self._over(await _connected(socket.socket(family, kind, protocol), where))
            if not isinstance(came, Failure) or came.kind == "certificate":
                return came
            first = first or came
        if first is None:
            raise OSError("the name has no addresses")
        return first

    async def _through(self, proxy: Proxy) -> NativeConnection | Failure:
        return await self._over(await proxy.connect(self._address, timeout=self._seconds))

    async def _over(self, sock: socket.socket) -> NativeConnection | Failure:
        token = self._plane.core.adopt(sock.detach(), self._context, self._left())
        return await Dial(self._plane, token).outcome()

    def _late(self) -> DeadlineError:
        through = f" through the proxy {self._proxy}" if self._proxy is not None else ""
        return DeadlineError(f"no answer from {self._address}{through} within {self._seconds:g} s")

    def _error(self, failure: Failure) -> ZtmError:
        if failure.kind == "deadline":
            return self._late()
        if failure.kind == "certificate":
            return CertificateError(f"{self._address} shows no valid certificate: {failure.text}")
        reason = (
            why(OSError(failure.errno, os.strerror(failure.errno))) if failure.errno else no_agreement(failure.text)
        )
        return UnreachableError(f"cannot connect to {self._address}: {reason}")


def is_literal(host: str) -> bool:
    """Whether `host` is an IP address as the core takes it, without the name of an interface."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, UnicodeError, ValueError):
        return False
    return True


async def _connected(sock: socket.socket, where: Any) -> socket.socket:
    """`sock`, once it is connected; it is closed if that fails."""
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
