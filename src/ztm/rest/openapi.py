"""The description of a router's routes as an OpenAPI 3.1 document.

It says only what was registered; it does not look into handlers. CONNECT has no place in OpenAPI, and is
listed as an extension of its path (``x-connect``).
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec

from ztm.rest.router import Route, Router
from ztm.rest.template import REST

_REFERENCE = "#/components/schemas/{name}"
_IN_OPENAPI = frozenset(("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"))


def document(router: Router, title: str, version: str) -> dict[str, Any]:
    """The description of all routes of `router`, and of routers mounted in it."""
    routes = list(_routes(router, ""))
    types = [kind for _, route in routes for kind in (route.body, route.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for path, route in routes:
        key = route.method.lower() if route.method in _IN_OPENAPI else f"x-{route.method.lower()}"
        paths.setdefault(path, {})[key] = _operation(path, route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


def _routes(router: Router, prefix: str) -> Iterator[tuple[str, Route]]:
    """Every route with its whole path in OpenAPI's form, in which ``*`` is ``{rest}``."""
    for route in router.routes:
        path = prefix + route.template.text
        yield (path.removesuffix(REST) + "{rest}" if path.endswith("/" + REST) else path), route
    for below, app in router.mounts:
        if isinstance(app, Router):
            yield from _routes(app, prefix + below)


def _operation(path: str, route: Route, schemas: dict[type, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {"responses": _responses(route, schemas)}
    if route.summary:
        operation["summary"] = route.summary
    if route.tag:
        operation["tags"] = [route.tag]
    names = re.findall(r"{(.+?)}", path)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(schemas[route.body])}
    return operation


def _responses(route: Route, schemas: dict[type, dict[str, Any]]) -> dict[str, Any]:
    """The statuses that were registered; 200 unless another success was."""
    statuses = dict(route.statuses)
    success = next((status for status in statuses if 200 <= status < 300), 200)
    statuses.setdefault(success, "")
    responses: dict[str, Any] = {
        str(status): {"description": statuses[status] or _phrase(status)} for status in sorted(statuses)
    }
    if route.answer is not None:
        responses[str(success)]["content"] = _json(schemas[route.answer])
    return responses


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)
