"""The proxy app's handlers: each answers one request for this endpoint.

Which of them a path leads to, and what goes to another endpoint instead, is in `api`.

Source: spec apps-network 2.2 and 2.3.
"""

import msgspec

from ztm.apps.base import AppContext
from ztm.apps.callers import is_owner, peer_of
from ztm.apps.owner import relayed
from ztm.apps.proxy.forms import OURS, AuthorityShown, ConfigBody, own_fields
from ztm.apps.proxy.groups import ask_groups
from ztm.apps.proxy.hosts import parse_target
from ztm.apps.proxy.service import Proxy
from ztm.errors import NotFoundError, RefusedError
from ztm.model import check_uuid
from ztm.rest.message import TEXT, Request, Response
from ztm.wire.paths import PROXY_CA, PROXY_CONFIG


class Handlers:
    """What can be asked of the proxy of this endpoint."""

    def __init__(self, context: AppContext, proxy: Proxy) -> None:
        self._context = context
        self._proxy = proxy

    # ------------------------------------------------------------------ configuration

    async def config(self, request: Request) -> Response:  # noqa: ARG002
        """The configuration of this endpoint, without its secrets."""
        return Response(body=self._proxy.shown())

    async def config_for_peer(self, request: Request) -> Response:
        """The same for the owner; for others what this exit serves, by which v1 chooses (weakness P5)."""
        if is_owner(self._context.user, peer_of(request)):
            return Response(body=self._proxy.shown())
        return Response(body=self._proxy.offered())

    async def configure(self, request: Request) -> Response:
        """Change the configuration of this endpoint."""
        await self._proxy.change(await request.json(ConfigBody))
        return Response(201, self._proxy.shown())

    async def configure_there(self, request: Request) -> Response:
        """Change the configuration of the endpoint that the path names."""
        endpoint = check_uuid("endpoint", request.params["ep"])
        if endpoint == self._context.place.id:
            return await self.configure(request)
        body = await request.json(ConfigBody)
        await self._check_known(endpoint, body)
        answer = await self._context.request(endpoint, "POST", PROXY_CONFIG, msgspec.json.encode(body))
        return relayed(endpoint, "POST", answer)

    async def _check_known(self, endpoint: str, body: ConfigBody) -> None:
        """An endpoint of v1 would take our own fields and ignore them: an exit meant for one user were open to all."""
        ours = own_fields(body)
        if not ours:
            return
        answer = relayed(endpoint, "GET", await self._context.request(endpoint, "GET", PROXY_CONFIG))
        if OURS not in answer.encode()[1]:
            raise RefusedError(f"endpoint {endpoint} runs a ztm that does not know {', '.join(ours)}; nothing changed")

    async def exits(self, request: Request) -> Response:  # noqa: ARG002
        """The exits that this endpoint knows, and how they fared."""
        return Response(body=self._proxy.exits())

    async def groups(self, request: Request) -> Response:  # noqa: ARG002
        """The groups that rules may name."""
        return Response(body=await ask_groups(self._context))

    async def authority_there(self, request: Request) -> Response:
        """The same of the endpoint that the path names, whoever owns it."""
        endpoint = check_uuid("endpoint", request.params["ep"])
        if endpoint == self._context.place.id:
            answer = await self.authority(request)
        else:
            answer = relayed(endpoint, "GET", await self._context.request(endpoint, "GET", PROXY_CA))
        return Response(body=AuthorityShown(answer.encode()[1].decode("ascii", "replace")))

    async def authority(self, request: Request) -> Response:  # noqa: ARG002
        """The certificate of this exit's authority."""
        from ztm.apps.proxy.interception.mint import certificate

        found = certificate(self._context) if self._proxy.config.generate_cert else None
        if found is None:
            raise NotFoundError(f"endpoint {self._context.place.name} generates no certificates")
        return Response(body=found, content_type=TEXT)

    # ------------------------------------------------------------------ the exit

    async def enter(self, request: Request) -> None:
        """Take a peer's stream to a destination; accepted only once that is reached."""
        peer, (host, port) = peer_of(request), parse_target(request.params["target"])
        await self._proxy.exit.carry(peer, host, port, request.upgrade.accept)

    async def enter_datagrams(self, request: Request) -> None:
        """The same for frames of datagrams."""
        peer, (host, port) = peer_of(request), parse_target(request.params["target"])
        await self._proxy.exit.carry_datagrams(peer, host, port, request.upgrade.accept)
