"""Who asks an app: the verified peer of a request, and handlers that serve the own user alone.

Who may is decided by `core.access`, for all apps alike.
"""

from ztm.apps.base import AppContext
from ztm.core.access import judge
from ztm.errors import ForbiddenError
from ztm.model import Peer
from ztm.rest.message import Request, Response
from ztm.rest.router import Handler


def peer_of(request: Request) -> Peer:
    """The verified peer of a request that came through the mesh.

    Raises:
        ForbiddenError: nobody is known to have asked.
    """
    if request.peer is None:
        raise ForbiddenError("the caller's user is not known")
    return request.peer


def is_owner(owner: str, peer: Peer) -> bool:
    """Whether `peer` is an endpoint of `owner`."""
    return judge(owner, (), peer.user).is_allowed


def check_owner(owner: str, peer: Peer) -> None:
    """Return if `peer` is an endpoint of `owner`.

    Raises:
        ForbiddenError: it is another user's.
    """
    if not is_owner(owner, peer):
        raise ForbiddenError(f"only user {owner} may do this here, and you are {peer.user}")


def by_owner(context: AppContext, handler: Handler) -> Handler:
    """Wrap a handler so that it serves peers of the own user only."""

    async def run(request: Request) -> Response | None:
        check_owner(context.user, peer_of(request))
        return await handler(request)

    return run
