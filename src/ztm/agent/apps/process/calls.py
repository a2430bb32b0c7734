"""What an app asks of its agent, over the socket pair on which it is the client: each call is checked here.

Whatever the app is not granted is refused with 403; what the agent cannot do carries `FAILED`, so that the app can tell
it from another app's answer. Source: spec app-framework 10.2 and 10.3.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

import msgspec

from ztm.agent.apps.process.answers import is_field
from ztm.agent.apps.process.filecalls import FileCalls
from ztm.agent.apps.process.limits import ProcessLimits
from ztm.agent.apps.process.listening import Listening
from ztm.agent.apps.process.load import Load, loaded
from ztm.agent.apps.process.refusals import Permissions
from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.manifest import NEIGHBOUR
from ztm.apps.streams.limits import LIMITS as STREAM_LIMITS
from ztm.apps.streams.reach import Early, Reach
from ztm.errors import UsageError, ZtmError
from ztm.model import check_uuid
from ztm.net.base import Session
from ztm.net.http1 import Answer
from ztm.net.scope import ASGIApp
from ztm.rest.message import JSON, Request, Response
from ztm.rest.route import Handler
from ztm.rest.router import Router
from ztm.wire import processes

MESH, ASK = "mesh.connect", NEIGHBOUR
_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "upgrade", "content-length"))
_KEPT_BACK = frozenset(("host", "te", "trailer", "expect", "proxy-connection", "proxy-authorization"))
"""Of an app's questions, besides: they would speak to whatever is on the way."""
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,200}")
"""A field's name (RFC 9110 section 5.6.2), in lower case."""


class Calls:
    """The routes of one app."""

    def __init__(
        self,
        context: AppContext,
        permissions: Permissions,
        session: Callable[[], Session],
        limits: ProcessLimits,
        load: Load,
    ) -> None:
        self._context = context
        self._permissions = permissions
        self._load = load
        self._asking = asyncio.Semaphore(limits.answers)
        self._files = FileCalls(context, permissions)
        self._listening = Listening(context, permissions, session, limits)

    def application(self) -> ASGIApp:
        """What answers the app."""
        router = Router()
        router.add("GET", processes.ENDPOINTS, told(self.endpoints))
        router.add("GET", processes.USERS, told(self.users))
        router.add("GET", processes.FILES, told(self._files.all))
        router.add("CONNECT", processes.LISTEN, self._listening.listen)
        router.mount(f"{processes.MESH}/{{ep}}", _asgi(self.request, self.connect))
        router.mount(f"{processes.ASK}/{{provider}}/{{name}}", _asgi(self.ask, None))
        router.mount(processes.FILES, _asgi(self._files.one, None))
        return loaded(router, self._load)

    async def endpoints(self, request: Request) -> Response:
        """Endpoints by id or name, or all."""
        await self._permissions.check(MESH, "see the endpoints of the mesh")
        word = request.query.get("word", "")
        return _json(await self._context.endpoints(id=word, name=word))

    async def users(self, _request: Request) -> Response:
        """Users of the mesh."""
        await self._permissions.check(MESH, "see the users of the mesh")
        return _json(await self._context.users())

    async def request(self, request: Request) -> Response:
        """A request to the same app on another endpoint."""
        endpoint, target = check_uuid("endpoint", request.params["ep"]), _target(request)
        trail = await self._trail("request", f"{request.method} {target}", endpoint)
        body = await request.body(processes.MAX_BODY)
        with audited(self._context.audit, trail):
            trail.meter.sent = len(body)
            async with self._asking:
                answer = await self._context.request(endpoint, request.method, target, body, _fields(request))
            trail.meter.received = len(answer.body)
        return _passed(answer)

    async def connect(self, request: Request) -> None:
        """A stream to the same app on another endpoint."""
        endpoint, target = check_uuid("endpoint", request.params["ep"]), _target(request)
        trail = await self._trail("connect", f"CONNECT {target}", endpoint)
        upgrade = request.upgrade
        with audited(self._context.audit, trail):
            early = Early(upgrade.stream, STREAM_LIMITS.early_bytes)
            stream = await Reach(target, self._context, STREAM_LIMITS).ask(endpoint, early)
            await self._context.network.splice(upgrade.accept(), stream, trail.meter)

    async def _trail(self, action: str, subject: str, endpoint: str) -> Trail:
        rule = await self._permissions.check(MESH, f"open streams to other endpoints ({subject})")
        return Trail(
            side="entry", peer=self._permissions.own(), action=action, subject=subject, target=endpoint, rule=rule
        )

    async def ask(self, request: Request) -> Response:
        """A request to another app of this endpoint."""
        name, target = f"{request.params['provider']}/{request.params['name']}", _target(request)
        await self._permissions.check(f"{ASK}{name}", f"ask the app {name}")
        body = await request.body(processes.MAX_BODY)
        async with self._asking:
            return _passed(await self._context.ask(name, request.method, target, body, _fields(request)))


def told(handler: Handler) -> Handler:
    """A handler whose failures are marked as the agent's."""

    async def run(request: Request) -> Response | None:
        try:
            return await handler(request)
        except ZtmError as error:
            problem = {"status": error.status, "message": str(error)}
            return Response(error.status, problem, headers=[(processes.FAILED, "1")])

    return run


def _asgi(
    handler: Callable[[Request], Awaitable[Response]], connected: Callable[[Request], Awaitable[None]] | None
) -> ASGIApp:
    """A mounted application that has one handler for all paths below it."""
    router = Router()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        router.add(method, "/*", told(handler))
    if connected is not None:
        router.add("CONNECT", "/*", connected)

    return router


def _target(request: Request) -> str:
    """The request target below the mount, as it was sent."""
    return f"{request.raw_path}?{request.raw_query}" if request.raw_query else request.raw_path


def _fields(request: Request) -> list[tuple[str, str]]:
    """The header fields that the app sends on: none that belongs to this hop, or that only an agent sets.

    Raises:
        UsageError: one is none.
    """
    kept = []
    for name, value in request.headers.items():
        if name in _HOP or name in _KEPT_BACK or name.startswith(processes.PREFIX):
            continue
        if not is_field(name, value):
            raise UsageError(f"not a header field of a request: {name[:40]!r}")
        kept.append((name, value))
    return kept


def _passed(answer: Answer) -> Response:
    headers = [
        (name, value)
        for name, value in answer.headers
        if name not in _HOP and not name.startswith(processes.PREFIX) and name != "content-type"
    ]
    content_type = next((value for name, value in answer.headers if name == "content-type"), None)
    return Response(answer.status, answer.body, content_type, headers)


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value), JSON)
