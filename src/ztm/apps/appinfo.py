"""``GET /api/appinfo`` of every built-in app: which app this is, and where. Source: spec agent-api 9."""

from msgspec import Struct

from ztm.apps.base import AppContext
from ztm.apps.catalog import PROVIDER
from ztm.rest.message import Request, Response
from ztm.rest.router import Router

PATH = "/api/appinfo"


class Place(Struct):
    """The endpoint that answers."""

    id: str
    name: str


class AppInfo(Struct):
    """Which app this is, and where."""

    name: str
    provider: str
    username: str
    endpoint: Place


def mount_appinfo(router: Router, context: AppContext, name: str) -> None:
    """Add the route for the app `name`."""

    async def info(request: Request) -> Response:  # noqa: ARG001
        place = context.place
        return Response(body=AppInfo(name, PROVIDER, context.user, Place(place.id, place.name)))

    router.add("GET", PATH, info, summary="Which app this is, and where", answer=AppInfo)
