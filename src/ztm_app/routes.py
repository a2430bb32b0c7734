"""Tables of routes as authors write them, with decorators; and the application that they make.

Who may call a route of peers is decided here and nowhere else, by the user of the verified certificate.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from ztm.core.access import ANYONE, Verdict, check_use
from ztm.errors import ZtmError
from ztm.net.base import Network
from ztm.rest.message import Request as RestRequest
from ztm.rest.message import Response
from ztm.rest.router import Router
from ztm.rest.template import Template
from ztm.wire.processes import RULE
from ztm_app.replies import Request, response_of
from ztm_app.streams import Incoming

H = TypeVar("H", bound=Callable[..., Any])
Allow = Literal["owner", "any"] | Sequence[str]
"""Who of the mesh may call: the endpoint's owner, everybody, or the owner and these users."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One route."""

    method: str
    path: str
    handler: Callable[..., Any]
    users: tuple[str, ...] = ()
    """Who may call besides the owner."""

    def shown(self) -> str:
        """For people."""
        return f"{self.method} {self.path}"


class Routes:
    """Requests that an app answers. A handler is called with the request, and what ``{x}`` and ``*`` took by name.

    A final ``*`` is given as ``rest``. A handler may be a plain function if it never waits.
    """

    def __init__(self) -> None:
        self.specs: list[Spec] = []
        """In the order of registration."""

    def get(self, path: str) -> Callable[[H], H]:
        """Answer GET on `path`, such as ``/api/notes/{id}``."""
        return self._add("GET", path)

    def post(self, path: str) -> Callable[[H], H]:
        """Answer POST."""
        return self._add("POST", path)

    def put(self, path: str) -> Callable[[H], H]:
        """Answer PUT."""
        return self._add("PUT", path)

    def patch(self, path: str) -> Callable[[H], H]:
        """Answer PATCH."""
        return self._add("PATCH", path)

    def delete(self, path: str) -> Callable[[H], H]:
        """Answer DELETE."""
        return self._add("DELETE", path)

    def connect(self, path: str) -> Callable[[H], H]:
        """Answer CONNECT: the handler gets the request and an `Incoming` to accept or refuse."""
        return self._add("CONNECT", path)

    def _add(self, method: str, path: str, allow: Allow = "owner") -> Callable[[H], H]:
        Template.parse(path)  # a malformed one is found where it is written
        users = () if allow == "owner" else (ANYONE,) if allow == "any" else _users(allow)

        def added(handler: H) -> H:
            self.specs.append(Spec(method, path, handler, users))
            return handler

        return added


class PeerRoutes(Routes):
    """Requests of the same app on other endpoints. `allow` says whose, besides the owner's: nobody's by default."""

    def get(self, path: str, *, allow: Allow = "owner") -> Callable[[H], H]:
        """Answer GET on `path`."""
        return self._add("GET", path, allow)

    def post(self, path: str, *, allow: Allow = "owner") -> Callable[[H], H]:
        """Answer POST."""
        return self._add("POST", path, allow)

    def put(self, path: str, *, allow: Allow = "owner") -> Callable[[H], H]:
        """Answer PUT."""
        return self._add("PUT", path, allow)

    def patch(self, path: str, *, allow: Allow = "owner") -> Callable[[H], H]:
        """Answer PATCH."""
        return self._add("PATCH", path, allow)

    def delete(self, path: str, *, allow: Allow = "owner") -> Callable[[H], H]:
        """Answer DELETE."""
        return self._add("DELETE", path, allow)

    def connect(self, path: str, *, allow: Allow = "owner") -> Callable[[H], H]:
        """Answer CONNECT; see `Routes.connect`."""
        return self._add("CONNECT", path, allow)


def _users(allow: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(allow, str) or ANYONE in allow:
        raise ValueError(f'allow is "owner", "any" or a list of users, not {allow!r}')
    return tuple(allow)


def router_of(routes: Routes, network: Network, owner: str | None) -> Router:
    """The application that `routes` make; for peers, `owner` is whom the endpoint belongs to.

    Raises:
        ValueError: two routes are the same.
    """
    router = Router()
    for spec in routes.specs:
        router.add(spec.method, spec.path, _handler(spec, network, owner))
    return router


def _handler(spec: Spec, network: Network, owner: str | None) -> Callable[[RestRequest], Awaitable[Response | None]]:
    async def run(bare: RestRequest) -> Response | None:
        verdict = _verdict(bare, spec, owner)
        request = Request(bare.scope, bare._receive, bare.params)
        named = {("rest" if name == "*" else name): value for name, value in bare.params.items()}
        rule = verdict.rule if verdict else ""
        if spec.method == "CONNECT":
            await _connected(spec, request, Incoming(request.upgrade, network, rule), named)
            return None
        answer = response_of(await _called(spec.handler, request, **named))
        return replace(answer, headers=[*answer.headers, (RULE, rule)]) if rule else answer

    return run


async def _connected(spec: Spec, request: Request, incoming: Incoming, named: dict[str, str]) -> None:
    await _called(spec.handler, request, incoming, **named)
    if not incoming.is_accepted:
        raise ZtmError(f"the app neither took nor refused the stream at {spec.path}")


async def _called(handler: Callable[..., Any], *given: object, **named: str) -> object:
    found = handler(*given, **named)
    return await found if inspect.isawaitable(found) else found


def _verdict(request: RestRequest, spec: Spec, owner: str | None) -> Verdict | None:
    """By which rule a peer may call; None where there is no peer.

    Raises:
        ForbiddenError: it may not.
    """
    if owner is None:
        return None
    caller = request.peer.user if request.peer is not None else ""
    return check_use(owner, spec.users, caller, f"{spec.method} {spec.path}")
