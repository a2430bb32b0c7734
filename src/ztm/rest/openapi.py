"""The description of a router's routes as an OpenAPI 3.1 document.

It says only what was registered; it does not look into handlers. CONNECT has no place in OpenAPI, and is
listed as an extension of its path (``x-connect``).
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec

from ztm.net.asgi import ASGIApp
from ztm.rest.message import BINARY, JSON, TEXT
from ztm.rest.route import Param, Problem, Route
from ztm.rest.router import Router
from ztm.rest.template import REST

_REFERENCE = "#/components/schemas/{name}"
_IN_OPENAPI = frozenset(("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"))
_ANYWHERE = {
    400: "the request is malformed",
    401: "the caller has not signed in",
    403: "the caller may not do this, or asks from elsewhere",
    408: "the rest of the request did not come in time",
    413: "the request is too large",
    429: "too many requests at once",
    431: "the request's head is too large",
    501: "the request's transfer encoding is another than chunked",
    503: "too many connections at once",
}
"""Refusals that any request may meet, whatever its route says."""
SIGNED_IN: list[dict[str, list[str]]] = [{"token": []}, {"cookie": [], "csrf": []}]
"""Two ways: the agent's token; or a browser's cookie, with the header that only our own pages send."""

Kind = Any
"""A type as msgspec takes it."""


def document(router: Router, title: str, version: str, apps: Mapping[str, ASGIApp] | None = None) -> dict[str, Any]:
    """The description of all routes of `router`, of routers mounted in it, and of `apps` by their prefix."""
    routes = list(_routes(router, ""))
    for prefix, app in (apps or {}).items():
        routes.extend(_routes(app, prefix) if isinstance(app, Router) else ())
    schemas = _Schemas(route for _, route in routes)
    paths: dict[str, dict[str, Any]] = {}
    for path, route in routes:
        key = route.method.lower() if route.method in _IN_OPENAPI else f"x-{route.method.lower()}"
        paths.setdefault(path, {})[key] = _operation(path, route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "security": SIGNED_IN,
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _SECURITY},
    }


_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "what is in api.token in the agent's data directory"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "ztm", "description": "set by signing in at /api/login"},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-ZTM-CSRF", "description": "from GET /api/login; for changes"},
}


class _Schemas:
    """JSON schemas of all types that routes speak of."""

    def __init__(self, routes: Iterator[Route] | Any) -> None:
        kinds: list[Kind] = [Problem]
        for route in routes:
            kinds += [kind for kind in (route.body, route.answer) if kind is not None]
            kinds += [param.kind for param in (*route.query, *route.params)]
        made, self.components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
        self._by_type = {id(kind): schema for kind, schema in zip(kinds, made, strict=True)}
        self._kinds = kinds  # so that no id is used twice

    def of(self, kind: Kind) -> dict[str, Any]:
        """The schema of a type."""
        return self._by_type[id(kind)]

    def content(self, kind: Kind, content_type: str = "") -> dict[str, Any]:
        """A body of that type."""
        if kind is bytes:
            return {content_type or BINARY: {"schema": {"type": "string", "format": "binary"}}}
        return {content_type or (TEXT if kind is str else JSON): {"schema": self.of(kind)}}


def _routes(router: Router, prefix: str) -> Iterator[tuple[str, Route]]:
    """Every route with its whole path in OpenAPI's form, in which ``*`` is ``{rest}``."""
    for route in router.routes:
        path = prefix + route.template.text
        yield (path.removesuffix(REST) + "{rest}" if path.endswith("/" + REST) else path), route
    for below, app in router.mounts:
        if isinstance(app, Router):
            yield from _routes(app, prefix + below)


def _operation(path: str, route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": _name(route.method, path), "responses": _responses(route, schemas)}
    if route.summary:
        operation["summary"] = route.summary
    if route.tag:
        operation["tags"] = [route.tag]
    if route.is_open:
        operation["security"] = []
    parameters = [*_holes(path, route, schemas), *(_asked(param, schemas) for param in route.query)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": schemas.content(route.body)}
    return operation


def _name(method: str, path: str) -> str:
    """A name that is unique in the document: ``post_meshes_mesh_hubs_hub``."""
    words = re.findall(r"[A-Za-z0-9]+", path.removeprefix("/api"))
    return "_".join([method.lower(), *words])


def _holes(path: str, route: Route, schemas: _Schemas) -> Iterator[dict[str, Any]]:
    given = {param.name: param for param in route.params}
    for name in re.findall(r"{(.+?)}", path):
        param = given.get(name)
        schema = schemas.of(param.kind) if param else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _asked(param: Param, schemas: _Schemas) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": param.name, "in": "query", "schema": schemas.of(param.kind)}
    if param.text:
        shown["description"] = param.text
    if get_origin(param.kind) is list and get_args(param.kind):
        shown |= {"style": "form", "explode": True}
    return shown


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    """The statuses that were registered, 200 unless another success was, and what any request may meet."""
    statuses = dict(route.statuses)
    success = next((status for status in statuses if 200 <= status < 300), 200)
    statuses.setdefault(success, "")
    if route.method == "GET":
        statuses[304] = "the caller has it already, as its If-None-Match says"
    statuses = {**_ANYWHERE, **statuses}
    responses: dict[str, Any] = {}
    for status in sorted(statuses):
        responses[str(status)] = {"description": statuses[status] or _phrase(status)}
        if status >= 400:
            responses[str(status)]["content"] = schemas.content(Problem)
    if route.answer is not None:
        responses[str(success)]["content"] = schemas.content(route.answer, route.answer_type)
    if route.headers:
        responses[str(success)]["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in route.headers.items()
        }
    return responses


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)
