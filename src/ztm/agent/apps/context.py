"""One app's view of its agent: the `AppContext` that apps are made with."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from ztm.agent.events.bus import Bus, Event
from ztm.agent.files.sync import FileSync
from ztm.apps.base import AppFiles, Place
from ztm.errors import BrokenStreamError, DeadlineError
from ztm.model import Endpoint, FileInfo
from ztm.net.base import Exchange, Network
from ztm.net.http1 import Answer
from ztm.rest.client import call_stream, error_of
from ztm.store.agent import AgentStore

ANSWER = 20.0
"""Seconds for another endpoint's app to answer a request."""

PAGE = 1000
"""Endpoints asked for at a time."""
LEAST_PAGE = 100
"""A hub that gives fewer has no more (spec agent-api 6: its own bound)."""


class Meshlike(Protocol):
    """What a context needs of its mesh."""

    name: str
    network: Network
    files: FileSync
    events: Bus

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


class MeshFiles(AppFiles):
    """An app's files, mapped as v1 maps them. Source: spec app-framework 4.1."""

    def __init__(self, mesh: Meshlike, store: AgentStore, provider: str, app: str) -> None:
        self._mesh = mesh
        self._store = store
        self._provider = provider
        self._app = app
        self._prefix = f"/apps/{provider}/{app}"
        self._view: dict[str, FileInfo] | None = None
        self._stop: list[Callable[[], None]] = [mesh.files.on_change(self._forget)]

    def read_local(self, path: str) -> bytes | None:
        """See `AppFiles`."""
        return self._store.read_file(self._mesh.name, self._provider, self._app, path)

    def write_local(self, path: str, data: bytes) -> None:
        """See `AppFiles`."""
        self._store.write_file(self._mesh.name, self._provider, self._app, path, data)

    def share(self, path: str, data: bytes) -> None:
        """See `AppFiles`."""
        self._mesh.files.write(f"{self._prefix}/shared/{self._mesh.user}/{path}", data)

    def unshare(self, path: str) -> None:
        """See `AppFiles`."""
        self._mesh.files.erase(f"{self._prefix}/shared/{self._mesh.user}/{path}")

    def shared(self) -> Mapping[str, FileInfo]:
        """See `AppFiles`."""
        if self._view is None:
            cut, below = len(self._prefix), f"{self._prefix}/shared/"
            self._view = {path[cut:]: file for path, file in self._mesh.files.known().items() if path.startswith(below)}
        return self._view

    def _forget(self) -> None:
        self._view = None

    def on_change(self, changed: Callable[[], None]) -> None:
        """See `AppFiles`."""
        self._stop.append(self._mesh.files.on_change(changed))

    def close(self) -> None:
        """Call nobody any more."""
        for stop in self._stop:
            stop()


class MeshContext:
    """See `ztm.apps.base.AppContext`; `close` ends what the app spawned."""

    def __init__(
        self,
        mesh: Meshlike,
        store: AgentStore,
        provider: str,
        app: str,
        log: "logging.LoggerAdapter[logging.Logger]",
    ) -> None:
        self._mesh = mesh
        self._provider = provider
        self._app = app
        self.mesh = mesh.name
        self.network = mesh.network
        self._files = MeshFiles(mesh, store, provider, app)
        self.files: AppFiles = self._files
        self.log = log
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

    async def connect(self, endpoint: str) -> Exchange:
        """See `AppContext`."""
        return await self._mesh.connect_app(endpoint, self._provider, self._app)

    async def request(self, endpoint: str, method: str, target: str, body: bytes = b"") -> Answer:
        """See `AppContext`; HTTP/1.1 on a stream of its own."""
        stream = await self.connect(endpoint)
        try:
            async with asyncio.timeout(ANSWER):
                status, _ = await stream.response()
            if status != 200:
                raise error_of(Answer(status, [], await _text(stream)), f"the way to endpoint {endpoint}")
            return await call_stream(stream, method, target, body=body, timeout=ANSWER)
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
