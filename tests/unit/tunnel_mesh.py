"""The small mesh with the tunnel app on every endpoint."""

from collections.abc import Callable

from app_mesh import MeshContext, SmallMesh

from ztm.apps.streams.limits import StreamLimits
from ztm.apps.tunnel.api import TunnelApp


class TunnelMesh(SmallMesh[TunnelApp]):
    """Endpoints with tunnels."""

    def __init__(self) -> None:
        super().__init__(TunnelApp)


def limited(limits: StreamLimits) -> Callable[[MeshContext], TunnelApp]:
    """Makes the app with other numbers than usual."""

    def make(context: MeshContext) -> TunnelApp:
        return TunnelApp(context, limits)

    return make
