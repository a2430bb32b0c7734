"""Every URL of the local API and who answers it, by v1's paths. Source: spec agent-api."""

import platform
from typing import Any

import msgspec

from ztm.agent.api.apps import AppRoutes
from ztm.agent.api.audit import AuditRoutes
from ztm.agent.api.base import REFUSED, Meshes
from ztm.agent.api.commands import serve_command
from ztm.agent.api.contents import ContentRoutes
from ztm.agent.api.description import describe
from ztm.agent.api.endpoints import EndpointRoutes
from ztm.agent.api.events import EventRoutes
from ztm.agent.api.files import FileRoutes
from ztm.agent.api.hubs import HubRoutes
from ztm.agent.api.login import LoginRoutes
from ztm.agent.api.meshes import MAX_PEM, MeshRoutes
from ztm.agent.api.packages import PackageRoutes
from ztm.agent.api.permits import PermitRoutes
from ztm.agent.api.users import UserRoutes
from ztm.agent.api.views import Build, VersionView
from ztm.agent.apps.pages import AppPages
from ztm.agent.local.passes import PASS, AppPlace
from ztm.agent.state import State
from ztm.apps.base import App
from ztm.apps.catalog import PROVIDER
from ztm.errors import NotFoundError
from ztm.net.asgi import Receive, Scope, Send
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.version import VERSION

APP = "/api/meshes/{mesh}/apps/{provider}/{app}"


def agent_api(agent: Meshes) -> Router:
    """The ASGI application behind the guard of the local port."""
    router = Router(local=True)
    _OwnRoutes(agent, router).mount()
    MeshRoutes(agent).mount(router)
    PermitRoutes(agent).mount(router)
    UserRoutes(agent).mount(router)
    HubRoutes(agent).mount(router)
    EndpointRoutes(agent).mount(router)
    AuditRoutes(agent).mount(router)
    EventRoutes(agent.events).mount(router)
    LoginRoutes(agent).mount(router)
    FileRoutes(agent).mount(router)
    ContentRoutes(agent).mount(router)
    AppRoutes(agent).mount(router)
    PackageRoutes(agent).mount(router)
    apps = _Apps(agent)
    router.add("CONNECT", f"{APP}/cli", apps.command, summary="Run a command of an app", tag="apps")
    router.mount(APP, apps)
    return router


class Vitals(msgspec.Struct):
    """Whether the agent works, and how each mesh is doing by its name."""

    status: str
    meshes: dict[str, str]


class _OwnRoutes:
    def __init__(self, agent: Meshes, router: Router) -> None:
        self._agent = agent
        self._router = router
        self._document: dict[str, Any] | None = None

    def mount(self) -> None:
        add = self._router.add
        add("GET", "/api/version", self.version, summary="What this agent runs", answer=VersionView, tag="agent")
        add("GET", "/api/healthz", self.vitals, summary="Whether this agent works", answer=Vitals, tag="agent")
        identity = "/api/identity"
        add("GET", identity, self.identity, summary="The agent's public key (PEM)", answer=str, tag="agent")
        add(
            "POST",
            identity,
            self.replace_identity,
            summary="Use another private key (PEM) from now on; the answer is its public key",
            body=str,
            answer=str,
            statuses={201: "replaced", 507: REFUSED[507]},
            tag="agent",
        )
        add("GET", "/api/openapi.json", self.openapi, summary="This description", answer=dict, tag="agent")

    async def version(self, _request: Request) -> Response:
        shown = Build(VERSION.edition, VERSION.tag, VERSION.commit, VERSION.date)
        runtime = Build(tag=f"python {platform.python_version()}", commit="", date="")
        return Response(200, VersionView(shown, runtime, self._agent.warnings))

    async def vitals(self, _request: Request) -> Response:
        """Well unless a mesh that is to be connected is not: what tends it can then look closer."""
        states = {mesh.name: mesh.health.state for mesh in self._agent.meshes()}
        is_well = all(state in (State.CONNECTED, State.OFFLINE) for state in states.values())
        shown = {name: str(state) for name, state in states.items()}
        return Response(200, Vitals("ok" if is_well else "degraded", shown))

    async def identity(self, _request: Request) -> Response:
        return Response(200, self._agent.public_key())

    async def replace_identity(self, request: Request) -> Response:
        return Response(201, self._agent.replace_identity(await request.text(MAX_PEM)))

    async def openapi(self, _request: Request) -> Response:
        if self._document is None:
            self._document = describe(self._router, self._agent.factories)
        return Response(200, self._document)


class _Apps:
    """Requests below an app's prefix go to the app itself, which is started when it does not run.

    Those of an app by others are contained, see `AppPages`: only what is built in answers as the agent does.
    """

    def __init__(self, agent: Meshes) -> None:
        self._agent = agent
        self._pages = AppPages()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        params: dict[str, str] = scope["path_params"]
        mesh = self._agent.mesh(params["mesh"])
        provider, name = params["provider"], params["app"]

        mesh.apps.check_runs(provider, name)

        async def reach(scope: Scope, receive: Receive, send: Send) -> None:
            await mesh.host.serve_user(provider, name, scope, receive, send)

        if provider == PROVIDER and name in self._agent.factories:
            if scope["extensions"].get(PASS):
                raise NotFoundError(f"app {provider}/{name} has no page of its own")
            await reach(scope, receive, send)
            return
        is_disabled = mesh.host.app(provider, name).is_disabled
        installed = None if is_disabled else mesh.apps.installed(provider, name)
        place = AppPlace(mesh.name, provider, name)
        await self._pages.serve(place, installed, reach, scope, receive, send)

    async def command(self, request: Request) -> None:
        """Run a command of an app on the request's stream. Source: spec agent-api 9."""
        mesh = self._agent.mesh(request.params["mesh"])
        mesh.apps.check_runs(request.params["provider"], request.params["app"])

        async def served(app: App) -> None:
            await serve_command(request, app, mesh)

        await mesh.host.use(request.params["provider"], request.params["app"], served)
