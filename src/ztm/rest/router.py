"""The one place that maps a path and a method to a handler, and an error to a status.

A router is an ASGI application. It handles errors that are meant (`ZtmError`); anything else goes on to the
server, which logs it and answers 500. It never decides who may call what: handlers do.

Source: spec mesh-protocol 4.6, agent-api 1 and 2.
"""

import logging
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from ztm.errors import MethodError, NotFoundError, StorageError, UsageError, ZtmError
from ztm.net.asgi import ASGIApp, Receive, Scope, Send, is_websocket, method_of, plain
from ztm.rest.etag import with_etag
from ztm.rest.message import TEXT, Request, Response
from ztm.rest.route import Handler, Param, Problem, Route
from ztm.rest.template import Node, Template, split_path

__all__ = ["Handler", "Param", "Problem", "Route", "Router"]

log = logging.getLogger("ztm.rest")

_REASON_BYTES = 512
"""Bound of the `ztm-error` header, so that a long reason never makes a head too large."""
_KNOWN = 256
"""Paths that a router remembers."""
_KNOWN_PATH = 256
"""Characters of the longest path that is remembered."""


@dataclass(frozen=True, slots=True)
class _Mount:
    template: Template
    app: ASGIApp
    decode: bool


class Router:
    """Routes and mounted applications of one server. Register everything first, then serve.

    A `plain` one tells errors as text. A `local` one serves the local API: it says in JSON also which path or
    method it does not know, answers OPTIONS, and gives whole answers to GET an ETag.
    """

    def __init__(self, *, plain: bool = False, local: bool = False) -> None:
        self._plain = plain
        self._local = local
        self._routes: Node[dict[str, Route]] = Node()
        self._mounts: Node[_Mount] = Node()
        self._known: dict[tuple[str, str], tuple[Handler, dict[str, str]]] = {}
        """Where a method and a path led before, and what its holes took."""
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
        body: Any = None,
        answer: Any = None,
        answer_type: str = "",
        statuses: Mapping[int, str] | None = None,
        query: tuple[Param, ...] = (),
        params: tuple[Param, ...] = (),
        headers: Mapping[str, str] | None = None,
        tag: str = "",
        is_open: bool = False,
    ) -> None:
        """Answer `method` on the paths that fit `template` with `handler`; the rest describes it, see `Route`.

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
            answer_type=answer_type,
            statuses=statuses or {},
            query=query,
            params=params,
            headers=headers or {},
            tag=tag,
            is_open=is_open,
        )
        node = self._routes.at(route.template)
        node.value = node.value or {}
        if method in node.value:
            raise ValueError(f"{method} {template} is taken by {node.value[method].template.text}")
        node.value[method] = route
        self.routes.append(route)
        self._known.clear()

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
        """Serve one ASGI request, or a WebSocket: no route takes that, and a mounted application may."""
        raw = scope["raw_path"].decode("utf-8", "replace")
        method = method_of(scope)
        known = self._known.get((method, raw))
        if known is not None:
            handler, params = known
            await self._serve(handler, Request(scope, receive, {**scope.get("path_params", {}), **params}), send)
            return
        allowed: set[str] = set()
        for methods, taken in self._routes.matches(split_path(raw)):
            route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
            if route and is_websocket(scope):
                refused = UsageError(f"{raw} is no WebSocket: ask for it without Upgrade")
                await _send(self._error(refused, method), plain(scope, send))
                return
            if route:
                params = _params(route.template, taken, route.decode)
                if method == "CONNECT":
                    self._remember(raw, route.handler, params)
                await self._serve(
                    route.handler, Request(scope, receive, {**scope.get("path_params", {}), **params}), send
                )
                return
            allowed.update(methods)
        mounted = self._mounted(scope, raw)
        if mounted:
            app, below = mounted
            await app(below, receive, send)
        else:
            await _send(self._unserved(method, raw, allowed), plain(scope, send))

    def _remember(self, raw: str, handler: Handler, params: dict[str, str]) -> None:
        """Streams come by the thousand on a few paths, which are looked up once."""
        if len(raw) <= _KNOWN_PATH:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known["CONNECT", raw] = handler, params

    def _unserved(self, method: str, raw: str, allowed: set[str]) -> Response:
        """The answer where no route fits: bare, as v1's is, but on the local API."""
        if not self._local:
            return Response(405, headers=[_allow(allowed)]) if allowed else Response(404)
        if not allowed:
            return self._error(NotFoundError(f"there is no {raw} here: see /api/openapi.json"), method)
        allowed |= {"HEAD", "OPTIONS"} if "GET" in allowed else {"OPTIONS"}
        if method == "OPTIONS":
            return Response(204, headers=[_allow(allowed)])
        refused = self._error(MethodError(f"{raw} does not take {method}"), method)
        return replace(refused, headers=[*refused.headers, _allow(allowed)])

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
            "path_params": {**scope.get("path_params", {}), **_params(mount.template, taken, mount.decode)},
        }

    async def _serve(self, handler: Handler, request: Request, send: Send) -> None:
        try:
            response = await handler(request)
        except ZtmError as error:
            if _is_taken(request):
                raise
            if isinstance(error, StorageError):  # whoever runs this process must learn of it, not only the caller
                log.error("%s %s: %s", request.method, request.raw_path, error)
            response = self._error(error, request.method)
        if _is_taken(request):
            return
        if response is None:
            raise TypeError(f"the handler of {request.method} {request.raw_path} answered nothing")
        await _send(with_etag(request, response) if self._local else response, send)

    def _error(self, error: ZtmError, method: str) -> Response:
        """The answer that an error stands for; on CONNECT the reason is in a header too (spec apps-network 7)."""
        headers = []
        if method == "CONNECT" and error.message:
            headers.append(("ztm-error", quote(error.message, safe=" !\"#$&'()*+,-./:;<=>?@[]_{}~")[:_REASON_BYTES]))
        if not error.message and not self._local:
            return Response(error.status)
        if self._plain:
            return Response(error.status, error.message, TEXT, headers)
        return Response(error.status, Problem(error.status, error.message or _phrase(error.status)), headers=headers)


def _allow(methods: set[str]) -> tuple[str, str]:
    return "allow", ", ".join(sorted(methods))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _is_taken(request: Request) -> bool:
    return request.method == "CONNECT" and request.upgrade.accepted


def _params(template: Template, taken: list[str], decode: bool) -> dict[str, str]:
    """What the holes of `template` took."""
    values = [unquote(value) if "%" in value else value for value in taken] if decode else taken
    return dict(zip(template.names, values, strict=True))


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
