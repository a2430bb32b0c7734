"""Every URL of the local API and who answers it, by v1's paths. Source: spec agent-api."""

import platform
from typing import Any

from ztm.agent.api_mesh import Meshes, MeshRoutes
from ztm.net.asgi import ASGIApp, Receive, Scope, Send
from ztm.rest.message import Request, Response
from ztm.rest.openapi import document
from ztm.rest.router import Router
from ztm.version import VERSION

APP = "/api/meshes/{mesh}/apps/{provider}/{app}"


def agent_api(agent: Meshes) -> Router:
    """The ASGI application behind the guard of the local port."""
    router = Router()
    own = _OwnRoutes(agent, router)
    router.add("GET", "/api/version", own.version, summary="What this agent runs", answer=dict, tag="agent")
    router.add("GET", "/api/identity", own.identity, summary="The agent's public key (PEM)", answer=str, tag="agent")
    router.add("GET", "/api/openapi.json", own.openapi, summary="This description", answer=dict, tag="agent")
    MeshRoutes(agent).mount(router)
    router.mount(APP, _Apps(agent))
    return router


class _OwnRoutes:
    def __init__(self, agent: Meshes, router: Router) -> None:
        self._agent = agent
        self._router = router
        self._document: dict[str, Any] | None = None

    async def version(self, _request: Request) -> Response:
        shown = {"edition": VERSION.edition, "tag": VERSION.tag, "commit": VERSION.commit, "date": VERSION.date}
        runtime = {"tag": f"python {platform.python_version()}", "commit": "", "date": ""}
        return Response(200, {"ztm": shown, "pipy": runtime})

    async def identity(self, _request: Request) -> Response:
        return Response(200, self._agent.public_key())

    async def openapi(self, _request: Request) -> Response:
        if self._document is None:
            self._document = document(self._router, "ztm agent", VERSION.tag)
        return Response(200, self._document)


class _Apps:
    """Requests below an app's prefix go to the app itself, which is started when it does not run."""

    def __init__(self, agent: Meshes) -> None:
        self._agent = agent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        params: dict[str, str] = scope["path_params"]
        app: ASGIApp = await self._agent.mesh(params["mesh"]).host.user_api(params["provider"], params["app"])
        await app(scope, receive, send)
