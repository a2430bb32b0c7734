"""What an agent answers when its hub asks. Source: spec mesh-protocol 10.

The hub checks who may ask (an endpoint's own user); here only the form is checked.
"""

from collections.abc import Sequence
from typing import Protocol

from ztm.agent.apps.directory import Apps
from ztm.agent.apps.host import AppHost
from ztm.agent.audit.log import AuditLog
from ztm.agent.audit.peers import noted
from ztm.agent.audit.search import as_list, query_of
from ztm.agent.files.sync import FileSync
from ztm.agent.hublink import HubLink
from ztm.errors import NotFoundError, UnreachableError, UsageError
from ztm.model import HubInfo, Peer, check_uuid
from ztm.rest.message import BINARY, JSON, Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths
from ztm.wire.records import LogEntry, PingAnswer


class Answerer(Protocol):
    """What the answers need of the mesh they are about."""

    host: AppHost
    apps: Apps
    files: FileSync
    audit: AuditLog
    is_stopping: bool

    @property
    def endpoint_id(self) -> str:
        """The own endpoint's id."""

    @property
    def endpoint_name(self) -> str:
        """The own endpoint's name."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""

    def log_entries(self) -> list[LogEntry]:
        """The mesh's last log lines."""

    def labels(self) -> tuple[str, ...]:
        """The endpoint's labels."""

    def relabel(self, labels: Sequence[str]) -> None:
        """Replace them, on disk."""

    def learn_hub(self, hub: HubInfo) -> None:
        """Remember a hub."""


class Answers:
    """The routes of one link; `is_control` adds what only a control session may ask."""

    def __init__(self, mesh: Answerer, link: HubLink, *, is_control: bool) -> None:
        self._mesh = mesh
        self._link = link
        self._is_control = is_control

    def router(self) -> Router:
        """The application for a session with the hub."""
        router = Router()
        router.add("GET", paths.PING, self.ping)
        if self._is_control:
            router.add("GET", paths.SESSION, self.offer_session)
        router.add("CONNECT", paths.APP, self.connect_app)
        router.add("CONNECT", paths.APP_ANY, self.connect_app)
        router.add("GET", paths.LOG, self.log)
        router.add("GET", paths.AUDIT, self.audit)
        router.add("GET", paths.LABELS, self.labels)
        router.add("POST", paths.LABELS, self.relabel)
        router.add("POST", paths.HUB, self.learn_hub)
        router.add("GET", paths.FILE_DATA, self.file_data)
        router.add("GET", paths.APPS, self.apps)
        router.add("GET", paths.APP, self.app)
        router.add("POST", paths.APP, self.change_app)
        router.add("DELETE", paths.APP, self.remove_app)
        router.add("GET", paths.APP_LOG, self.app_log)
        return router

    async def ping(self, _request: Request) -> Response:
        """A sign of life."""
        mesh = self._mesh
        self._link.pinged_at = self._link.now()
        return _json(codec.encode_ping_answer(PingAnswer(mesh.endpoint_id, mesh.endpoint_name, mesh.now_ms())))

    async def offer_session(self, request: Request) -> Response:
        """Open a passive session; answered once the hub has it."""
        await self._link.streams.offer(check_uuid("session", request.params["sid"]))
        return Response()

    async def connect_app(self, request: Request) -> Response:
        """Hand the stream to an app. Who calls is what the hub read from the caller's certificate."""
        if self._mesh.is_stopping:
            raise UnreachableError(f"the agent of endpoint {self._mesh.endpoint_name} is stopping")
        query = request.query
        port = query.get("port", "")
        peer = Peer(
            user=query.get("username", ""),
            endpoint=query.get("src", ""),
            ip=query.get("ip", ""),
            port=int(port) if port.isascii() and port.isdigit() else 0,
        )
        if not peer.user:
            raise UsageError("the hub did not say who calls")
        provider, name = request.params.get("provider"), request.params["app"]
        with noted(self._mesh.audit, peer, provider, name, request.upgrade):
            await self._mesh.host.connect(provider, name, peer, request.upgrade)
        return Response()

    async def log(self, _request: Request) -> Response:
        """The mesh's last log lines."""
        return _json(codec.encode_log(self._mesh.log_entries()))

    async def audit(self, request: Request) -> Response:
        """Records of the mesh's audit log."""
        return _json(as_list(await self._mesh.audit.search(query_of(request.query))))

    async def labels(self, _request: Request) -> Response:
        """The endpoint's labels."""
        return _json(codec.encode_labels(self._mesh.labels()))

    async def relabel(self, request: Request) -> Response:
        """Replace the endpoint's labels."""
        self._mesh.relabel(codec.decode_labels(await request.body(1 << 20)))
        return Response(201)

    async def learn_hub(self, request: Request) -> Response:
        """Remember another hub of the mesh."""
        hub_id = check_uuid("hub", request.params["hub"])
        self._mesh.learn_hub(codec.decode_hub(await request.body(1 << 20), hub_id))
        return Response(201)

    async def file_data(self, request: Request) -> Response:
        """The content of a file held here, for users who may read it. A hub of ours says who asks; v1's only relay."""
        held = self._mesh.files.open_for(request.query.get("username", ""), request.params["hash"])
        if held is None:
            raise NotFoundError("")
        size = held.content.size
        return Response(200, held.content.pieces(0, size), BINARY, [("content-length", str(size))])

    async def apps(self, _request: Request) -> Response:
        """All apps here."""
        return _json(codec.encode_apps(self._mesh.apps.all()))

    async def app(self, request: Request) -> Response:
        """One app."""
        return _json(codec.encode_app(self._mesh.apps.one(request.params["provider"], request.params["app"])))

    async def change_app(self, request: Request) -> Response:
        """Install, start, stop, enable, disable, publish or unpublish an app."""
        change = codec.decode_app_change(await request.body(1 << 16) or b"{}")
        await self._mesh.apps.change(request.params["provider"], request.params["app"], change)
        return Response(201)

    async def remove_app(self, request: Request) -> Response:
        """Remove an app; a built-in one is stopped, and stays installed."""
        await self._mesh.apps.remove(request.params["provider"], request.params["app"])
        return Response(204)

    async def app_log(self, request: Request) -> Response:
        """An app's last log lines."""
        entries = self._mesh.apps.log_entries(request.params["provider"], request.params["app"])
        return _json(codec.encode_log(entries))


def _json(body: bytes) -> Response:
    return Response(200, body, content_type=JSON)
