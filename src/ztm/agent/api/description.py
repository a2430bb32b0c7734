"""The description of the local API, with what the built-in apps add to it.

It makes apps to read their routes, and starts none.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from ztm.agent.api.base import MESH, REFUSED
from ztm.apps.base import AppContext, AppFactory
from ztm.net.asgi import ASGIApp
from ztm.rest.openapi import document
from ztm.rest.router import Router
from ztm.version import VERSION


class _Nowhere:
    """Stands for the context of an app that is only looked at: a factory may keep parts of it, and uses none."""

    def __getattr__(self, name: str) -> "_Nowhere":
        """Each part of it is of the same kind; nothing of it can be called."""
        return self


def describe(router: Router, factories: Mapping[str, AppFactory]) -> dict[str, Any]:
    """The OpenAPI document of the local API."""
    apps: dict[str, ASGIApp] = {}
    for name, factory in factories.items():
        app = factory(cast("AppContext", _Nowhere())).user_api
        if isinstance(app, Router):
            apps[f"{MESH}/apps/ztm/{name}"] = _tagged(app, name)
    return document(router, "ztm agent", VERSION.tag, apps)


def _tagged(app: Router, name: str) -> Router:
    """An app's routes, with what any request to an app may meet."""
    shown = Router()
    shown.routes = [
        replace(route, tag=route.tag or name, statuses={**route.statuses, **_missing(route.statuses)})
        for route in app.routes
        if route.method != "CONNECT"
    ]
    return shown


def _missing(statuses: Mapping[int, str]) -> dict[int, str]:
    return {status: text for status, text in REFUSED.items() if status not in statuses}
