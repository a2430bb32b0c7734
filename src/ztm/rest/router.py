"""The one place that maps a path and a method to a handler, and an error to a status.

A router is an ASGI application. It handles errors that are meant (`ZtmError`); anything else goes on to the
server, which logs it and answers 500. It never decides who may call what: handlers do.

Source: spec mesh-protocol 4.6, agent-api 1 and 2.
"""

import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from ztm.errors import StorageError, ZtmError
from ztm.net.asgi import ASGIApp, Receive, Scope, Send
from ztm.rest.message import TEXT, Request, Response
from ztm.rest.template import Node, Template, split_path

log = logging.getLogger("ztm.rest")

Handler = Callable[[Request], Awaitable[Response | None]]
"""Answers one request; None only where the request's stream was taken over."""

_REASON_BYTES = 512
"""Bound of the `ztm-error` header, so that a long reason never makes a head too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path."""

    method: str
    template: Template
    handler: Handler
    decode: bool = True
    """Whether parameters are percent-decoded."""
    summary: str = ""
    body: type | None = None
    """Type of the request's JSON body, for the description."""
    answer: type | None = None
    """Type of the answer's JSON body, for the description."""
    statuses: Mapping[int, str] = field(default_factory=dict)
    """Other statuses that it may answer, and when."""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class _Mount:
    template: Template
    app: ASGIApp
    decode: bool


class Router:
    """Routes and mounted applications of one server. Register everything first, then serve."""

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._routes: Node[dict[str, Route]] = Node()
        self._mounts: Node[_Mount] = Node()
        self.routes: list[Route] = []
        """In the order of registration, for the description."""
        self.mounts: list[tuple[str, ASGIApp]] = []
        """Prefixes and what is mounted there."""

    def add(
        self,
        method: str,
        template: str,
        handler: Handler,
        *,
        decode: bool = True,
        summary: str = "",
        body: type | None = None,
        answer: type | None = None,
        statuses: Mapping[int, str] | None = None,
        tag: str = "",
    ) -> None:
        """Answer `method` on the paths that fit `template` with `handler`; the rest describes it for people.

        Raises:
            ValueError: the template is malformed, or that method of it is taken.
        """
        route = Route(
            method=method,
            template=Template.parse(template),
            handler=handler,
            decode=decode,
            summary=summary,
            body=body,
            answer=answer,
            statuses=statuses or {},
            tag=tag,
        )
        node = self._routes.at(route.template)
        node.value = node.value or {}
        if method in node.value:
            raise ValueError(f"{method} {template} is taken by {node.value[method].template.text}")
        node.value[method] = route
        self.routes.append(route)

    def mount(self, prefix: str, app: ASGIApp, *, decode: bool = True) -> None:
        """Hand every path below `prefix`, and `prefix` itself, to `app` where no route fits.

        The app sees the path without the prefix (``/`` if nothing is left), still percent-encoded as it
        came, and finds what the prefix's ``{x}`` matched in ``scope["path_params"]``.

        Raises:
            ValueError: the prefix is malformed or taken.
        """
        template = Template.parse(prefix)
        node = self._mounts.at(template)
        if node.value is not None:
            raise ValueError(f"{prefix} is taken")
        node.value = _Mount(template, app, decode)
        self.mounts.append((prefix, app))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        raw = scope["raw_path"].decode("utf-8", "replace")
        method = scope["method"]
        allowed: set[str] = set()
        for methods, taken in self._routes.matches(split_path(raw)):
            route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
            if route:
                params = _params(route.template, taken, route.decode, scope)
                await self._serve(route.handler, Request(scope, receive, params), send)
                return
            allowed.update(methods)
        mounted = self._mounted(scope, raw)
        if mounted:
            app, below = mounted
            await app(below, receive, send)
        elif allowed:
            await _send(Response(405, headers=[("allow", ", ".join(sorted(allowed)))]), send)
        else:
            await _send(Response(404), send)

    def _mounted(self, scope: Scope, raw: str) -> tuple[ASGIApp, Scope] | None:
        """The application mounted nearest to the path, and the scope as it shall see it."""
        segments = raw.split("/")[1:]
        found = next(self._mounts.prefixes(segments), None)
        if found is None:
            return None
        mount, taken, end = found
        path = "/" + "/".join(segments[end:])
        return mount.app, {
            **scope,
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": scope["root_path"] + "".join([f"/{segment}" for segment in segments[:end]]),
            "path_params": _params(mount.template, taken, mount.decode, scope),
        }

    async def _serve(self, handler: Handler, request: Request, send: Send) -> None:
        try:
            response = await handler(request)
        except ZtmError as error:
            if _is_taken(request):
                raise
            if isinstance(error, StorageError):  # whoever runs this process must learn of it, not only the caller
                log.error("%s %s: %s", request.method, request.raw_path, error)
            response = self._error(error, request)
        if _is_taken(request):
            return
        if response is None:
            raise TypeError(f"the handler of {request.method} {request.raw_path} answered nothing")
        await _send(response, send)

    def _error(self, error: ZtmError, request: Request) -> Response:
        """The answer that an error stands for; on CONNECT the reason is in a header too (spec apps-network 7)."""
        headers = []
        if request.method == "CONNECT" and error.message:
            headers.append(("ztm-error", quote(error.message, safe=" !\"#$&'()*+,-./:;<=>?@[]_{}~")[:_REASON_BYTES]))
        if not error.message:
            return Response(error.status)
        if self._plain:
            return Response(error.status, error.message, TEXT, headers)
        return Response(error.status, {"status": error.status, "message": error.message}, headers=headers)


def _is_taken(request: Request) -> bool:
    return request.method == "CONNECT" and request.upgrade.accepted


def _params(template: Template, taken: list[str], decode: bool, scope: Scope) -> dict[str, str]:
    """What the holes of `template` took, after what the prefixes above it took."""
    values = [unquote(value) if "%" in value else value for value in taken] if decode else taken
    return {**scope.get("path_params", {}), **dict(zip(template.names, values, strict=True))}


async def _send(response: Response, send: Send) -> None:
    """Put a response into ASGI messages."""
    is_stream = isinstance(response.body, AsyncIterable)
    content_type, body = (response.content_type, b"") if is_stream else response.encode()
    headers = [(name.encode(), value.encode()) for name, value in response.headers]
    if content_type:
        headers.insert(0, (b"content-type", content_type.encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if is_stream:
        async for part in response.body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": body})
