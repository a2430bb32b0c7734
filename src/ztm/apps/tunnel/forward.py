"""`ztm forward`: one stream to an address that another endpoint of the same user dials, without a tunnel for it.

It keeps nothing and stores nothing; only the owner may use it, here and there, since it reaches all that the endpoint
reaches. The target is dialled before the caller is answered.
"""

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.streams.carriage import Carriage
from ztm.apps.streams.entrance import own_peer
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.reach import Early, Reach
from ztm.core.access import check_use
from ztm.errors import ForbiddenError, NotFoundError, UsageError
from ztm.model import Address, check_uuid
from ztm.net.base import Stream
from ztm.rest.message import Request
from ztm.wire.paths import FORWARD_TCP, fill


class Forward:
    """Both sides of forwarding, on one endpoint."""

    def __init__(self, context: AppContext, limits: StreamLimits) -> None:
        self._context = context
        self._limits = limits
        self._carriage = Carriage(context)

    def close(self) -> None:
        """Cut all streams."""
        self._carriage.traffic.cut("the tunnel app stops")

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
        own = own_peer(self._context, upgrade.stream.remote)
        trail = Trail(side="entry", peer=own, action="forward", subject=f"tcp {target}", rule="local client")
        with audited(self._context.audit, trail):
            trail.target = endpoint
            if endpoint == self._context.place.id:
                stream = await self._dial(target)
            else:
                stream = await self._ask(endpoint, target, upgrade.stream)
            await self._carriage.carry(trail, stream, upgrade.accept)

    async def _ask(self, endpoint: str, target: Address, caller: Stream) -> Stream:
        way = Reach(fill(FORWARD_TCP, target=str(target)), self._context, self._limits)
        try:
            return await way.ask(endpoint, Early(caller, self._limits.early_bytes))
        except NotFoundError as error:
            raise NotFoundError(
                f"endpoint {endpoint} does not forward ({error}): its ztm may be an older one; "
                "open an outbound there instead, with 'ztm ep NAME tunnel open outbound'"
            ) from error

    async def from_peer(self, request: Request) -> None:
        """Carry a peer's stream to a target that this endpoint dials.

        Raises:
            ForbiddenError: the peer is another user's endpoint.
            UsageError: the target is malformed.
            UnreachableError: it cannot be reached.
            DeadlineError: it does not answer.
        """
        peer, target = request.peer, _target(request)
        if peer is None:
            raise ForbiddenError(f"only user {self._context.user} may forward through this endpoint")
        trail = Trail(side="exit", peer=peer, action="forward", subject=f"tcp {target}")
        with audited(self._context.audit, trail):
            trail.decide(check_use(self._context.user, (), peer.user, "this endpoint to forward"))
            self._context.log.info("user %s forwards to %s from endpoint %s", peer.user, target, peer.endpoint)
            stream = await self._dial(target)
            trail.target = str(target)
            await self._carriage.carry(trail, stream, request.upgrade.accept)

    async def _dial(self, target: Address) -> Stream:
        return await self._context.network.dial(target, timeout=self._limits.dial_seconds)


def _target(request: Request) -> Address:
    target = Address.parse(request.params["target"], "")
    if not target.host:
        raise UsageError(f"the target {target.port} has no host (write host:port)")
    return target
