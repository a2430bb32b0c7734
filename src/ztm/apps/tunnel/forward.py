"""`ztm forward`: one stream to an address that another endpoint of the same user dials, without a tunnel for it.

It keeps nothing and stores nothing; only the owner may use it, here and there, since it reaches all that the endpoint
reaches. The target is dialled before the caller is answered.
"""

from ztm.apps.base import AppContext
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.reach import Early, Reach
from ztm.apps.streams.traffic import Accept, Traffic, Visit
from ztm.errors import BrokenStreamError, ForbiddenError, NotFoundError, UsageError
from ztm.model import Address, Peer, check_uuid
from ztm.net.base import Meter, Stream
from ztm.rest.message import Request
from ztm.wire.paths import FORWARD_TCP, fill


class Forward:
    """Both sides of forwarding, on one endpoint."""

    def __init__(self, context: AppContext, limits: StreamLimits) -> None:
        self._context = context
        self._limits = limits
        self._traffic: Traffic[Visit] = Traffic()

    def close(self) -> None:
        """Cut all streams."""
        self._traffic.cut("the tunnel app stops")

    async def from_user(self, request: Request) -> None:
        """Carry the local user's stream to a target of the endpoint that the path names, which may be this one.

        Raises:
            UsageError: the endpoint's id or the target is malformed, or the request is no CONNECT.
            ForbiddenError: the endpoint is another user's.
            NotFoundError: the endpoint does not exist, or cannot forward.
            ZtmError: the target cannot be reached from there; the message says why.
        """
        endpoint, target = check_uuid("endpoint", request.params["ep"]), _target(request)
        upgrade = request.upgrade
        own = Peer(self._context.user, self._context.place.id)
        if endpoint == self._context.place.id:
            await self._carry(own, await self._dial(target), upgrade.accept)
            return
        way = Reach(fill(FORWARD_TCP, target=str(target)), self._context, self._limits)
        try:
            stream = await way.ask(endpoint, Early(upgrade.stream, self._limits.early_bytes))
        except NotFoundError as error:
            raise NotFoundError(
                f"endpoint {endpoint} does not forward ({error}): its ztm may be an older one; "
                "open an outbound there instead, with 'ztm ep NAME tunnel open outbound'"
            ) from error
        await self._carry(own, stream, upgrade.accept)

    async def from_peer(self, request: Request) -> None:
        """Carry a peer's stream to a target that this endpoint dials.

        Raises:
            ForbiddenError: the peer is another user's endpoint.
            UsageError: the target is malformed.
            UnreachableError: it cannot be reached.
            DeadlineError: it does not answer.
        """
        peer = request.peer
        if peer is None or peer.user != self._context.user:
            raise ForbiddenError(f"only user {self._context.user} may forward through this endpoint")
        target = _target(request)
        self._context.log.info("user %s forwards to %s from endpoint %s", peer.user, target, peer.endpoint)
        await self._carry(peer, await self._dial(target), request.upgrade.accept)

    async def _dial(self, target: Address) -> Stream:
        return await self._context.network.dial(target, timeout=self._limits.dial_seconds)

    async def _carry(self, peer: Peer, stream: Stream, accept: Accept) -> None:
        visit = Visit(peer, Meter(), stream.abort)
        self._traffic.begin(visit)
        try:
            await self._context.network.splice(accept(), stream, visit.meter)
        except BrokenStreamError as broken:
            self._context.log.debug("a forwarded stream of user %s was cut: %s", peer.user, broken)
        finally:
            self._traffic.end(visit)
            stream.abort("the forwarded stream is over")


def _target(request: Request) -> Address:
    target = Address.parse(request.params["target"], "")
    if not target.host:
        raise UsageError(f"the target {target.port} has no host (write host:port)")
    return target
