"""What of a peer's doings the agent audits itself: changes it asks of an app, and streams that no app took.

Nothing is decided here. What an app writes of a request by itself is not written twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ztm.agent.audit.log import SAID, AuditLog, Said
from ztm.apps.audit import Audit, Trail
from ztm.errors import ZtmError
from ztm.model import Peer
from ztm.net.asgi import ASGIApp, Message, Receive, Scope, Send, is_websocket, method_of
from ztm.net.scope import Upgrade

LOOKING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
REFUSED = (401, 403)


def watched(app: ASGIApp, audit: Audit, peer: Peer, action: str = "configure") -> ASGIApp:
    """`app` with a record of every request by which `peer` may change something."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        method = method_of(scope)
        if method in LOOKING or method == "CONNECT" or is_websocket(scope):
            await app(scope, receive, send)
            return
        target = scope["raw_path"].decode("utf-8", "replace")
        trail = Trail(side="exit", peer=peer, action=action, subject=f"{method} {target}")
        said = Said()
        token = SAID.set(said)
        status = 0

        async def heard(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await app(scope, receive, heard)
        finally:
            SAID.reset(token)
            if not said.is_begun:
                trail.is_allowed = status not in REFUSED
                trail.reason = f"answered {status}" if status else "no answer"
                audit.begin(trail)
                audit.end(trail)

    return serve


@contextmanager
def noted(log: AuditLog, peer: Peer, provider: str | None, name: str, upgrade: Upgrade) -> Iterator[None]:
    """Write a record of a peer's stream that no app takes: there is none, or it does not run.

    Raises:
        ZtmError: what the body raised.
    """
    try:
        yield
    except ZtmError as error:
        if not upgrade.accepted:
            app = f"{provider}/{name}" if provider else name
            trail = Trail(side="exit", peer=peer, action="connect", subject=f"app {app}")
            trail.is_allowed, trail.rule, trail.reason = False, "the app takes no stream now", str(error)
            audit = log.of(app)
            audit.begin(trail)
            audit.end(trail)
        raise
