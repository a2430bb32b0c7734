"""The local API's routes that manage apps, here and on other endpoints of the own user. Source: spec agent-api 8."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from ztm.agent.api.base import MESH, REFUSED, MeshApi, log_lines
from ztm.agent.api.views import LogLine
from ztm.agent.endpoints import endpoint_of, forward
from ztm.agent.mesh import Mesh
from ztm.apps.manifest import describe_permission
from ztm.errors import ConflictError, NotFoundError
from ztm.model import check_name
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec
from ztm.wire.records import AppChange, AppInfo, Consent

MAX_BODY = 64 << 10


UNUSABLE = {
    403: "it asks for more than was granted, or its owner was not asked",
    422: "it cannot run here: v1's, not signed by its publisher, changed since, or without what it requires",
}
"""What whoever installs an app may be told besides."""


class PackageView(msgspec.Struct):
    """An app that the mesh has a package of."""

    provider: str
    name: str
    tag: str


class ProcessView(msgspec.Struct):
    """How the process of an app by others is doing."""

    state: str
    """``starting``, ``running``, ``restarting`` or ``failed``."""
    reason: str
    restarts: int
    confinement: str


class PermissionView(msgspec.Struct):
    """One thing that an app may do, or asks for."""

    permission: str
    meaning: str


class AppView(PackageView, rename="camel"):
    """An app of an endpoint; what is not known of it, or does not concern it, is left out."""

    is_builtin: bool
    is_downloaded: bool
    is_published: bool
    is_disabled: bool
    is_running: bool
    runtime: str | UnsetType = UNSET
    """``python``, or ``pipyjs`` of v1's, which do not run here."""
    version: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    publisher: str | UnsetType = UNSET
    """Who signed what is installed."""
    permissions: list[PermissionView] | UnsetType = UNSET
    """What it was granted."""
    digest: str | UnsetType = UNSET
    """Of the package that was consented to."""
    previous: str | UnsetType = UNSET
    """The version that it can go back to."""
    process: ProcessView | UnsetType = UNSET
    is_development: bool | UnsetType = UNSET
    """Whether what is installed is from `ztm app run`."""


class ConsentSettings(msgspec.Struct):
    """Which package is to be installed, and what it may do; without permissions, what the version here may."""

    digest: str
    permissions: list[str] | None = None


class AppSettings(msgspec.Struct, rename="camel"):
    """Body of a POST to an app. Without a consent nothing is installed that is not."""

    is_disabled: bool | None = None
    is_running: bool | None = None
    is_published: bool | None = None
    consent: ConsentSettings | None = None
    is_rolled_back: bool = False


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
            summary="Install the published package or go back to the version before; then disable or enable, start or "
            "stop, publish or unpublish it",
            body=AppSettings,
            answer=AppView,
            statuses={201: "done", **REFUSED, **UNUSABLE},
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
            return Response(200, [app_view(app) for app in mesh.apps.all()])
        return Response(200, [app_view(app) for app in codec.decode_apps(await forward(mesh, "GET", endpoint, "apps"))])

    async def app(self, request: Request) -> Response:
        """One app."""
        return Response(200, app_view(await _shown(self._mesh(request), request)))

    async def change(self, request: Request) -> Response:
        """Do what is asked, here or there; what came of it is looked at, as v1's agents leave some of it undone."""
        mesh, endpoint, path = self._mesh(request), request.params["ep"], _path(request)
        wanted = await request.json(AppSettings, MAX_BODY)
        change = AppChange(
            wanted.is_running, wanted.is_published, wanted.is_disabled, _consent(wanted.consent), wanted.is_rolled_back
        )
        if endpoint == mesh.endpoint_id:
            await mesh.apps.change(request.params["provider"], request.params["app"], change)
        else:
            if change.is_rolled_back and not (await _shown(mesh, request)).previous:
                raise ConflictError(f"endpoint {endpoint} has no earlier version of this app to go back to")
            await forward(mesh, "POST", endpoint, path, codec.encode_app_change(change))
        shown = await _shown(mesh, request)
        if undone := _undone(change, shown):
            raise ConflictError(f"endpoint {endpoint} took the request and did not do it: {', '.join(undone)}")
        return Response(201, app_view(shown))

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
    if change.consent is not None and shown.digest != change.consent.digest:
        return ["it has not installed that package"]
    found = {"isRunning": shown.is_running, "isPublished": shown.is_published, "isDisabled": shown.is_disabled}
    return [f"{name} is {found[name]}" for name, value in wanted.items() if value is not None and value != found[name]]


def _consent(given: ConsentSettings | None) -> Consent | None:
    if given is None:
        return None
    return Consent(given.digest, None if given.permissions is None else tuple(given.permissions))


def app_view(app: AppInfo) -> AppView:
    """An app as the API shows it."""
    process = app.process
    return AppView(
        app.provider,
        app.name,
        app.tag,
        app.is_builtin,
        app.is_downloaded,
        app.is_published,
        app.is_disabled,
        app.is_running,
        app.runtime or UNSET,
        app.version or UNSET,
        app.title or UNSET,
        app.provider if app.digest else UNSET,
        UNSET if app.permissions is None else permission_views(app.permissions),
        app.digest or UNSET,
        app.previous or UNSET,
        UNSET if process is None else ProcessView(process.state, process.reason, process.restarts, process.confinement),
        app.is_development or UNSET,
    )


def permission_views(permissions: Iterable[str]) -> list[PermissionView]:
    """Permissions with what each means; another agent may know more of them than this one."""
    return [PermissionView(one, describe_permission(one)) for one in permissions]
