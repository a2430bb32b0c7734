"""Ports that the agent opens for an app, which is handed what they accept; they close with the app.

A port is open as long as the stream by which the app asked for it.
"""

from collections.abc import Callable

from ztm.agent.apps.process.limits import ProcessLimits
from ztm.agent.apps.process.refusals import Permissions
from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.streams.reach import check_accepted
from ztm.errors import BrokenStreamError, LimitError, UsageError, ZtmError
from ztm.model import MAX_PORT, Address, Peer
from ztm.net.base import Session, Stream
from ztm.rest.message import Request
from ztm.wire.processes import ACCEPTED, ADDRESS


class Listening:
    """The ports of one app."""

    def __init__(
        self, context: AppContext, permissions: Permissions, session: Callable[[], Session], limits: ProcessLimits
    ) -> None:
        self._context = context
        self._permissions = permissions
        self._session = session
        self._limits = limits
        self._open = 0

    async def listen(self, request: Request) -> None:
        """Open a port until the app ends the stream.

        Raises:
            ForbiddenError: it may not.
            LimitError: it has too many.
            ConflictError: the address is in use or is not ours.
        """
        wanted, id_ = _address(request), request.query.get("id", "")
        rule = await self._permissions.check("listen", f"listen on {wanted}")
        if self._open >= self._limits.ports:
            raise LimitError(f"an app may listen on {self._limits.ports} ports at once")

        async def accept(stream: Stream) -> None:
            await self._accepted(stream, id_, rule)

        self._open += 1
        try:
            listener = await self._context.network.listen(wanted, accept)
            try:
                stream = request.upgrade.accept([(ADDRESS, str(listener.address))])
                await _until_end(stream)
            finally:
                await listener.close()
        finally:
            self._open -= 1

    async def _accepted(self, stream: Stream, id_: str, rule: str) -> None:
        """Hand one connection to the app."""
        came, here = stream.remote, stream.local
        peer = Peer(self._context.user, self._context.place.id, came.host if came else "", came.port if came else 0)
        trail = Trail(side="entry", peer=peer, action="accept", subject=f"port {here}", rule=rule)
        with audited(self._context.audit, trail):
            told = [(ADDRESS, str(came))] if came else []
            head = [(":method", "CONNECT"), (":scheme", "http"), (":path", f"{ACCEPTED}/{id_}"), *told]
            exchange = self._session().open(head)
            try:
                check_accepted(*await exchange.response())
                await self._context.network.splice(stream, exchange, trail.meter)
            except ZtmError:
                exchange.abort("the connection was not taken")
                raise


async def _until_end(stream: Stream) -> None:
    try:
        while await stream.read():
            pass
    except BrokenStreamError:
        return


def _address(request: Request) -> Address:
    """The address that is asked for.

    Raises:
        UsageError: it is none, or it has no id that a path can hold.
    """
    host, port, id_ = (request.query.get(name, "") for name in ("host", "port", "id"))
    if not host or not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise UsageError(f"not an address to listen on: {host}:{port}"[:200])
    if not (id_.isascii() and id_.isalnum() and len(id_) <= 32):
        raise UsageError("a port to listen on needs an id of letters and digits")
    return Address(host, int(port))
