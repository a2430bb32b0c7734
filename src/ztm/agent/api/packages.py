"""The local API's routes about packages of apps: look at one, sign one, install one. Source: spec app-framework 10.4.

A package is streamed onto the disk and never held whole. What may be installed is decided elsewhere.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from ztm.agent.api.apps import UNUSABLE, AppView, PermissionView, app_view, permission_views
from ztm.agent.api.base import MESH, REFUSED, MeshApi, flag
from ztm.agent.api.contents import next_piece
from ztm.agent.apps.inspection import Inspected
from ztm.agent.apps.names import AppName
from ztm.agent.files.content import Content
from ztm.agent.mesh import Mesh
from ztm.errors import UsageError
from ztm.model import check_name
from ztm.rest.message import BINARY, Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router
from ztm.wire.records import Consent

_BROUGHT = {
    **REFUSED,
    **UNUSABLE,
    400: "it is malformed",
    408: "the body did not come in time",
    413: "it is too large",
}


class PackageReport(msgspec.Struct, rename="camel"):
    """A package that its publisher signed, and what it would mean to install it here."""

    provider: str
    name: str
    tag: str
    version: str
    title: str
    publisher: str
    digest: str
    permissions: list[PermissionView]
    new_permissions: list[str]
    """Those that are not granted to the version that is installed here, if there is one."""
    requires: list[str]
    installed: str
    """The version that is installed here, or nothing."""
    problems: list[str]
    """What keeps it from running here."""


class PackageRoutes(MeshApi):
    """Handlers of packages."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        tag = Param("tag", str, "tag of the app's name; none")
        digest = Param("digest", str, "digest of the package that the owner consents to")
        permission = Param("permission", str, "what the owner grants; repeated for each. None: what is granted now")
        development = Param("development", bool, "whether its author only tries it, until something else is installed")
        none = Param("granting", str, "`nothing` where the owner grants an app that asks for nothing just that")
        router.add(
            "POST",
            f"{MESH}/packages/inspect",
            self.inspect,
            summary="What a package is: its publisher, what it asks for, and what keeps it from running here",
            body=bytes,
            answer=PackageReport,
            statuses=_BROUGHT,
            tag="apps",
        )
        router.add(
            "POST",
            f"{MESH}/packages/sign",
            self.sign,
            summary="The same package, signed by the user of this agent",
            body=bytes,
            answer=bytes,
            statuses=_BROUGHT,
            query=(tag,),
            tag="apps",
        )
        router.add(
            "POST",
            f"{MESH}/packages/install",
            self.install,
            summary="Install a package that its owner consents to, in place of another version of that app",
            body=bytes,
            answer=AppView,
            statuses={201: "installed", **_BROUGHT},
            query=(digest, permission, none, development),
            tag="apps",
        )
        router.add(
            "GET",
            f"{MESH}/packages/{{provider}}/{{app}}",
            self.published,
            summary="What a package published in the mesh is; it is fetched, and not installed",
            answer=PackageReport,
            statuses={**REFUSED, **UNUSABLE},
            tag="apps",
        )

    async def inspect(self, request: Request) -> Response:
        """Look at a package that somebody brings."""
        mesh = self._mesh(request)
        async with _brought(mesh, request) as package:
            return Response(200, _report(mesh, await mesh.apps.packages.inspect(package)))

    async def published(self, request: Request) -> Response:
        """Look at a package in the mesh."""
        mesh = self._mesh(request)
        app = AppName.parse(request.params["provider"], request.params["app"])
        return Response(200, _report(mesh, await mesh.apps.packages.inspect_published(app)))

    async def sign(self, request: Request) -> Response:
        """Sign a package; the answer reads the file that came in, which has no name any more by then."""
        mesh, tag = self._mesh(request), request.query.get("tag", "")
        if tag:
            check_name("tag", tag)
        async with _brought(mesh, request) as package:
            size, pieces = await mesh.apps.packages.signed(package, tag)
        return Response(200, pieces, BINARY, [("content-length", str(size))])

    async def install(self, request: Request) -> Response:
        """Install a package that somebody brings."""
        mesh, consent = self._mesh(request), _consent(request)
        async with _brought(mesh, request) as package:
            found = await mesh.apps.packages.inspect(package)
            await mesh.apps.installer.install(package, found, consent)
            return Response(201, app_view(mesh.apps.one(found.app.provider, found.app.app)))


def _consent(request: Request) -> Consent:
    """What the query says that the owner consents to.

    Raises:
        UsageError: it does not say to what.
    """
    digest, granted = request.query.get("digest", ""), request.every("permission")
    nothing = request.query.get("granting", "")
    if not digest:
        raise UsageError("the query's digest is missing: which package does the owner consent to?")
    if nothing not in ("", "nothing") or (nothing and granted):
        raise UsageError("the query's granting may be `nothing`, and only without permissions")
    return Consent(digest, tuple(granted) if granted or nothing else None, flag(request, "development"))


@asynccontextmanager
async def _brought(mesh: Mesh, request: Request) -> AsyncIterator[Content]:
    """The package that is the request's body, on disk until this is left or its reader is gone.

    Raises:
        SlowBodyError: it does not come.
        TooLargeError: it is too large.
        StorageError: the disk does not take it.
    """
    with mesh.apps.packages.incoming() as incoming:
        pieces = aiter(request.stream())
        while (piece := await next_piece(pieces)) is not None:
            await incoming.write(piece)
        await incoming.finish()
        yield incoming.reader()


def _report(mesh: Mesh, found: Inspected) -> PackageReport:
    installed = mesh.apps.installed(found.app.provider, found.app.app)
    return PackageReport(
        provider=found.app.provider,
        name=found.app.name,
        tag=found.app.tag,
        version=found.manifest.version,
        title=found.manifest.title,
        publisher=found.app.provider,
        digest=found.digest,
        permissions=permission_views(found.manifest.permissions),
        new_permissions=list(mesh.apps.new_permissions(found)),
        requires=list(found.manifest.requires),
        installed=installed.manifest.version if installed is not None else "",
        problems=list(found.problems),
    )
