"""Serving what a peer asks of a running app, over the stream that it opened, until the one or the other ends.

Whether the peer may reach the app at all was decided before.
"""

from ztm.agent.apps.slot import Running
from ztm.agent.audit.peers import watched
from ztm.model import Peer
from ztm.net.asgi import PEER, serve_stream
from ztm.net.base import Network, SessionLimits
from ztm.net.scope import HttpLimits, Upgrade

_HTTP = HttpLimits(idle_seconds=0.0)
"""A stream is kept for the next request as long as the peer holds it."""
_SESSIONS = SessionLimits(streams=256)
_ACTION = {True: "configure", False: "request"}
"""What a peer does by a request that changes something: of our own apps it is always their configuration."""


async def serve_peer(network: Network, running: Running, peer: Peer, upgrade: Upgrade, *, is_ours: bool) -> None:
    """Accept a peer's stream and have the app answer on it.

    Raises:
        StoppedError: the app was stopped meanwhile; whoever serves the stream cuts it.
    """
    served = serve_stream(
        network,
        upgrade.accept(),
        watched(running.app.peer_api, running.context.audit, peer, _ACTION[is_ours]),
        {PEER: peer},
        http_limits=_HTTP,
        session_limits=_SESSIONS,
    )
    await running.uses.run_inline(served)
