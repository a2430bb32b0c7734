"""The terminal app's handlers: each answers one request for this endpoint.

Which of them a path leads to, and what goes to another endpoint instead, is in `api`.

Source: spec apps-network 3.2.
"""

from ztm.apps.base import AppContext
from ztm.apps.callers import peer_of
from ztm.apps.terminal.forms import ConfigBody, EndpointShown
from ztm.apps.terminal.links import Link, StreamLink
from ztm.apps.terminal.model import EXTENSION, VERSION, Ask
from ztm.apps.terminal.plain import REFUSED, PlainCaller
from ztm.apps.terminal.service import Terminals
from ztm.errors import BrokenStreamError, ForbiddenError, ZtmError
from ztm.model import Peer
from ztm.rest.message import Request, Response


class Handlers:
    """What can be asked of the terminals of this endpoint."""

    def __init__(self, context: AppContext, terminals: Terminals) -> None:
        self._context = context
        self._terminals = terminals

    async def endpoints(self, request: Request) -> Response:  # noqa: ARG002
        """The endpoints of the mesh."""
        own = self._context.place.id
        found = await self._context.endpoints()
        return Response(body=[EndpointShown(one.id, one.name, one.user, one.online, one.id == own) for one in found])

    async def config(self, request: Request) -> Response:  # noqa: ARG002
        """What is set on this endpoint."""
        return Response(body=self._terminals.shown())

    async def configure(self, request: Request) -> Response:
        """Set what the body says on this endpoint."""
        own = Peer(self._context.user, self._context.place.id)
        return Response(201, self._terminals.change(await request.json(ConfigBody), own))

    async def configure_for_peer(self, request: Request) -> Response:
        """The same for another endpoint, if it is the owner's."""
        return Response(201, self._terminals.change(await request.json(ConfigBody), peer_of(request)))

    async def shell(self, request: Request) -> None:
        """Take a peer's stream into a session; v1's gets bare bytes, and text for a refusal (weakness M5)."""
        peer, upgrade = peer_of(request), request.upgrade
        if request.query.get("ext") == VERSION:

            def accept() -> Link:
                return StreamLink(upgrade.accept([(EXTENSION, VERSION)]))

            await self._terminals.serve(Ask.read(request.query), peer, accept)
            return
        try:
            await self._terminals.serve(Ask.read(request.query), peer, lambda: PlainCaller(upgrade.accept()))
        except BrokenStreamError:
            raise
        except ZtmError as error:
            said = REFUSED if isinstance(error, ForbiddenError) else f"ztm: {error}\n".encode()
            await upgrade.accept().write(said)
