"""One app's view of its agent: the `AppContext` that apps are made with."""

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from ztm.agent.apps.files import FileMesh, MeshFiles
from ztm.agent.apps.names import AppName
from ztm.agent.audit.log import AuditLog
from ztm.agent.events.bus import Bus, Event
from ztm.agent.hublink import HubLink
from ztm.apps.base import AppFiles, Place
from ztm.apps.catalog import PROVIDER
from ztm.errors import BrokenStreamError, DeadlineError
from ztm.model import Endpoint
from ztm.net.base import Exchange, Headers, Network
from ztm.net.http1 import Answer
from ztm.rest.client import call_stream, error_of
from ztm.store.agent import AgentStore
from ztm.wire import codec, paths
from ztm.wire.records import User

ANSWER = 20.0
"""Seconds for another endpoint's app to answer a request."""

PAGE = 1000
"""Endpoints asked for at a time."""
LEAST_PAGE = 100
"""A hub that gives fewer has no more (spec agent-api 6: its own bound)."""


class Meshlike(FileMesh, Protocol):
    """What a context needs of its mesh."""

    name: str
    network: Network
    events: Bus
    audit: AuditLog

    @property
    def endpoint_id(self) -> str:
        """The own endpoint's id."""

    @property
    def endpoint_name(self) -> str:
        """The own endpoint's name."""

    @property
    def user(self) -> str:
        """The user named in the certificate."""

    async def endpoints(self, **query: str | int) -> list[Endpoint]:
        """Endpoints as the hub lists them."""

    async def connect_app(self, endpoint: str, provider: str, app: str) -> Exchange:
        """Open an app stream."""

    def link(self) -> HubLink:
        """The link to the attached hub."""


class Neighbours(Protocol):
    """What a context needs of the other apps of its endpoint."""

    async def ask(
        self, asker: AppName, provider: str, app: str, method: str, target: str, body: bytes, headers: Headers
    ) -> Answer:
        """Ask one of them on behalf of another."""

    def directory_of(self, provider: str, app: str) -> Path:
        """An app's own directory, made if need be."""


class MeshContext:
    """See `ztm.apps.base.AppContext`; `close` ends what the app spawned."""

    def __init__(
        self,
        mesh: Meshlike,
        store: AgentStore,
        room: Neighbours,
        provider: str,
        app: str,
        log: "logging.LoggerAdapter[logging.Logger]",
    ) -> None:
        self._mesh = mesh
        self._room = room
        self._provider = provider
        self._app = app
        self.mesh = mesh.name
        self.network = mesh.network
        self._files = MeshFiles(mesh, store, provider, app)
        self.files: AppFiles = self._files
        self.log = log
        self.audit = mesh.audit.of(f"{provider}/{app}")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def place(self) -> Place:
        """The own endpoint, by its present name."""
        return Place(self._mesh.endpoint_id, self._mesh.endpoint_name)

    @property
    def user(self) -> str:
        """The owner."""
        return self._mesh.user

    async def endpoints(self, *, id: str = "", name: str = "") -> list[Endpoint]:  # noqa: A002
        """See `AppContext`."""
        found: dict[str, Endpoint] = {}
        while True:
            page = await self._mesh.endpoints(id=id, name=name, limit=PAGE, offset=len(found))
            fresh = {one.id: one for one in page if one.id not in found}
            found |= fresh
            if len(page) < LEAST_PAGE or not fresh:
                return list(found.values())

    async def users(self) -> list[User]:
        """See `AppContext`."""
        found: dict[str, User] = {}
        while True:
            query = {"limit": PAGE, "offset": len(found)}
            page = codec.decode_users(await self._mesh.link().ask("GET", paths.fill(paths.USERS, query)))
            fresh = {one.name: one for one in page if one.name not in found}
            found |= fresh
            if len(page) < LEAST_PAGE or not fresh:
                return list(found.values())

    def directory(self) -> Path:
        """See `AppContext`."""
        return self._room.directory_of(self._provider, self._app)

    async def ask(self, app: str, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> Answer:
        """See `AppContext`."""
        provider, _, name = app.rpartition("/")
        own = AppName.parse(self._provider, self._app)
        return await self._room.ask(own, provider or PROVIDER, name, method, target, body, headers)

    async def connect(self, endpoint: str) -> Exchange:
        """See `AppContext`."""
        return await self._mesh.connect_app(endpoint, self._provider, self._app)

    async def request(
        self, endpoint: str, method: str, target: str, body: bytes = b"", headers: Headers = ()
    ) -> Answer:
        """See `AppContext`; HTTP/1.1 on a stream of its own."""
        stream = await self.connect(endpoint)
        try:
            async with asyncio.timeout(ANSWER):
                status, _ = await stream.response()
            if status != 200:
                refusal = error_of(Answer(status, [], await _text(stream)), "its agent")
                refusal.message = f"endpoint {endpoint}: {refusal.message}"
                raise refusal
            return await call_stream(stream, method, target, body=body, timeout=ANSWER, headers=headers)
        except TimeoutError as error:
            raise DeadlineError(f"endpoint {endpoint} did not answer within {ANSWER:.0f} s") from error
        finally:
            if not stream.is_over:
                stream.abort("answered")

    def tell(self, kind: str, name: str, state: str, reason: str = "") -> None:
        """See `AppContext`; the event's type is the app's name."""
        told = Event(type=self._app, mesh=self.mesh, kind=kind, name=name, state=state, reason=reason)
        self._mesh.events.publish(told)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """See `AppContext`."""
        task = asyncio.ensure_future(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            self.log.exception("a task of app %s failed", self._app)

    async def close(self) -> None:
        """End all tasks that the app spawned."""
        self._files.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _text(stream: Exchange) -> bytes:
    """The beginning of a refusal's body; nothing if the stream breaks."""
    try:
        return (await stream.read())[:500]
    except BrokenStreamError:
        return b""
