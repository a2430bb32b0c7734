"""The local API's routes that manage apps, here and on other endpoints of the own user. Source: spec agent-api 8."""

import msgspec

from ztm.agent.api.base import MESH, REFUSED, MeshApi, log_lines
from ztm.agent.api.views import LogLine
from ztm.agent.endpoints import endpoint_of, forward
from ztm.agent.mesh import Mesh
from ztm.errors import ConflictError, NotFoundError
from ztm.model import check_name
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec
from ztm.wire.records import AppChange, AppInfo

MAX_BODY = 64 << 10


class PackageView(msgspec.Struct):
    """An app that the mesh has a package of."""

    provider: str
    name: str
    tag: str


class AppView(PackageView, rename="camel"):
    """An app of an endpoint."""

    is_builtin: bool
    is_downloaded: bool
    is_published: bool
    is_disabled: bool
    is_running: bool


class AppSettings(msgspec.Struct, rename="camel"):
    """Body of a POST to an app; without anything it is installed if it was not."""

    is_disabled: bool | None = None
    is_running: bool | None = None
    is_published: bool | None = None


class AppRoutes(MeshApi):
    """Handlers of a mesh's packages and of endpoints' apps."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        apps, app = f"{MESH}/endpoints/{{ep}}/apps", f"{MESH}/endpoints/{{ep}}/apps/{{provider}}/{{app}}"
        for path, handler, summary, answer in (
            (f"{MESH}/apps", self.packages, "Apps that the mesh has packages of", list[PackageView]),
            (apps, self.apps, "Apps of an endpoint", list[AppView]),
            (app, self.app, "One app, by its name or name@tag", AppView),
            (f"{app}/log", self.log, "Its last log lines", list[LogLine]),
        ):
            router.add("GET", path, handler, summary=summary, answer=answer, statuses=REFUSED, tag="apps")
        router.add(
            "POST",
            app,
            self.change,
            summary="Install it if it is not here, then disable or enable, start or stop, publish or unpublish it",
            body=AppSettings,
            answer=AppView,
            statuses={201: "done", **REFUSED},
            tag="apps",
        )
        removed = {204: "removed; a built-in one was stopped", **REFUSED}
        router.add("DELETE", app, self.remove, summary="Remove an installed app", statuses=removed, tag="apps")

    async def packages(self, request: Request) -> Response:
        """Packages in the mesh."""
        mesh = self._mesh_if_any(request)
        found = mesh.apps.published() if mesh is not None else []
        return Response(200, [PackageView(app.provider, app.name, app.tag) for app in found])

    async def apps(self, request: Request) -> Response:
        """Apps of an endpoint."""
        mesh, endpoint = self._mesh_if_any(request), request.params["ep"]
        if mesh is None:
            return Response(200, [])
        if endpoint == mesh.endpoint_id:
            return Response(200, [_view(app) for app in mesh.apps.all()])
        return Response(200, [_view(app) for app in codec.decode_apps(await forward(mesh, "GET", endpoint, "apps"))])

    async def app(self, request: Request) -> Response:
        """One app."""
        return Response(200, _view(await _shown(self._mesh(request), request)))

    async def change(self, request: Request) -> Response:
        """Do what is asked, here or there; what came of it is looked at, as v1's agents leave some of it undone."""
        mesh, endpoint, path = self._mesh(request), request.params["ep"], _path(request)
        wanted = await request.json(AppSettings, MAX_BODY)
        change = AppChange(wanted.is_running, wanted.is_published, wanted.is_disabled)
        if endpoint == mesh.endpoint_id:
            await mesh.apps.change(request.params["provider"], request.params["app"], change)
        else:
            await forward(mesh, "POST", endpoint, path, codec.encode_app_change(change))
        shown = await _shown(mesh, request)
        if undone := _undone(change, shown):
            raise ConflictError(f"endpoint {endpoint} took the request and did not do it: {', '.join(undone)}")
        return Response(201, _view(shown))

    async def remove(self, request: Request) -> Response:
        """Remove an installed app."""
        mesh, endpoint, path = self._mesh(request), request.params["ep"], _path(request)
        if endpoint == mesh.endpoint_id:
            await mesh.apps.remove(request.params["provider"], request.params["app"])
        else:
            await _shown(mesh, request)
            await forward(mesh, "DELETE", endpoint, path)
        return Response(204)

    async def log(self, request: Request) -> Response:
        """An app's last log lines."""
        mesh, endpoint, path = self._mesh(request), request.params["ep"], _path(request)
        if endpoint == mesh.endpoint_id:
            return Response(200, log_lines(mesh.apps.log_entries(request.params["provider"], request.params["app"])))
        try:
            return Response(200, log_lines(codec.decode_log(await forward(mesh, "GET", endpoint, f"{path}/log"))))
        except NotFoundError as error:
            await endpoint_of(mesh, endpoint)
            raise NotFoundError(f"endpoint {endpoint} has no log of this app: it was not started there") from error


def _path(request: Request) -> str:
    """The app's path at its endpoint.

    Raises:
        UsageError: provider or app is no name.
    """
    provider, app = check_name("user", request.params["provider"]), check_name("app", request.params["app"])
    return f"apps/{provider}/{app}"


async def _shown(mesh: Mesh, request: Request) -> AppInfo:
    """The app as its endpoint shows it.

    Raises:
        NotFoundError: there is no such endpoint, or no such app there.
    """
    endpoint, path = request.params["ep"], _path(request)
    if endpoint == mesh.endpoint_id:
        return mesh.apps.one(request.params["provider"], request.params["app"])
    try:
        return codec.decode_app(await forward(mesh, "GET", endpoint, path))
    except NotFoundError as error:
        found = await endpoint_of(mesh, endpoint)
        raise NotFoundError(f"app not found on endpoint {found.name}: {path.removeprefix('apps/')}") from error


def _undone(change: AppChange, shown: AppInfo) -> list[str]:
    """What was asked and is not so. Starting an app enables it (spec app-framework 5)."""
    wanted = {"isRunning": change.is_running, "isPublished": change.is_published}
    if change.is_running is not True:
        wanted["isDisabled"] = change.is_disabled
    found = {"isRunning": shown.is_running, "isPublished": shown.is_published, "isDisabled": shown.is_disabled}
    return [f"{name} is {found[name]}" for name, value in wanted.items() if value is not None and value != found[name]]


def _view(app: AppInfo) -> AppView:
    return AppView(
        app.provider,
        app.name,
        app.tag,
        app.is_builtin,
        app.is_downloaded,
        app.is_published,
        app.is_disabled,
        app.is_running,
    )
