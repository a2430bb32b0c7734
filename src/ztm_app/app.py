"""`App`: what the author of an app writes against."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from ztm.apps.base import Place
from ztm.apps.grammar import Option
from ztm.model import Address
from ztm.net.base import Stream as RawStream
from ztm.net.scope import ASGIApp
from ztm_app import mesh
from ztm_app.commands import CommandSpec, Handler
from ztm_app.host import Host, Port
from ztm_app.mesh import Files, Mesh
from ztm_app.replies import Reply
from ztm_app.routes import PeerRoutes, Routes
from ztm_app.streams import Stream
from ztm_app.tasks import Tasks

Hook = Callable[[], Awaitable[None]]
A = TypeVar("A", bound=Hook)
C = TypeVar("C", bound=Handler)

HERE: ContextVar[tuple[Host, Tasks] | None] = ContextVar("ztm_app_here", default=None)
"""What carries the app in this task: tests run one `App` on several endpoints at once."""


class App:
    """An app: its routes, its commands, and the mesh as it may see it.

    Make one at the top of a module and name it in the manifest, ``entry = "module:app"``. Until the app runs,
    only declaring things works; everything that asks the mesh raises `RuntimeError`.

    Args:
        user: an ASGI application (FastAPI, Starlette) for the local user's requests that no route of `user` takes.
        peer: one for other endpoints' requests; it decides itself who may what, by ``scope["extensions"]["ztm.peer"]``.
    """

    def __init__(self, *, user: ASGIApp | None = None, peer: ASGIApp | None = None) -> None:
        self.user = Routes()
        """Requests of the local user, at ``/api/meshes/{mesh}/apps/{provider}/{app}/...`` of the agent."""
        self.peer = PeerRoutes()
        """Requests of the same app on other endpoints; only the owner's unless ``allow=`` says more."""
        self.self = Routes()
        """Requests of other apps of this endpoint that may ask this one; which one asks is not told."""
        self.mesh = Mesh(self._host)
        self.files = Files(self._host)
        self.log = logging.getLogger("app")
        """Its lines are in ``ztm log app NAME``, as is all that is printed."""
        self.user_asgi = user
        self.peer_asgi = peer
        self.commands: list[CommandSpec] = []
        self.starting: list[Hook] = []
        self.stopping: list[Hook] = []
        self._bound: tuple[Host, Tasks] | None = None

    # ------------------------------------------------------------------ where it runs

    @property
    def name(self) -> str:
        """The app's name."""
        return self._host().name

    @property
    def provider(self) -> str:
        """Who published it."""
        return self._host().provider

    @property
    def endpoint(self) -> Place:
        """The own endpoint: `id` and `name`."""
        return self._host().place

    @property
    def owner(self) -> str:
        """The user that the endpoint belongs to."""
        return self._host().owner

    @property
    def directory(self) -> Path:
        """The one directory that the app may write to; it stays from start to start."""
        return self._host().directory

    # ------------------------------------------------------------------ declaring

    def cli(self, usage: str, *, help: str = "", options: Sequence[Option] = ()) -> Callable[[C], C]:  # noqa: A002
        """Declare a command: ``@app.cli("say <endpoint> [text]", help="Greet an endpoint")``.

        It is called with a `CommandContext` and the positionals by name, and returns its exit status (None is 0).
        """

        def added(handler: C) -> C:
            self.commands.append(CommandSpec(usage, help, handler, tuple(options)))
            return handler

        return added

    def on_start(self, hook: A) -> A:
        """Declare what is done before the first request; if it raises, the app does not start."""
        self.starting.append(hook)
        return hook

    def on_stop(self, hook: A) -> A:
        """Declare what is done when the app is stopped; three seconds later the process is killed."""
        self.stopping.append(hook)
        return hook

    # ------------------------------------------------------------------ doing

    async def ask(self, app: str, method: str, path: str, body: object = None) -> Reply:
        """Ask another app of this endpoint, ``provider/name``. Permission: ``app:provider/name``.

        Raises:
            ForbiddenError: this app has no such permission.
            NotFoundError: there is no such app, or it answers no others.
            ZtmError: it refused.
        """
        return await mesh.ask(self._host(), app, method, path, body)

    async def listen(self, port: int, handler: Callable[[Stream], Awaitable[None]], host: str = "127.0.0.1") -> Port:
        """Have the agent listen on a TCP port (0 is any) and hand over what it accepts. Permission: ``listen``.

        A connection ends when its handler returns. The port closes with `Port.close`, or when the app stops.

        Raises:
            ForbiddenError: this app has no ``listen``.
            ConflictError: the address is in use.
        """
        carrier = self._host()

        async def taken(raw: RawStream) -> None:
            await handler(Stream(raw, carrier.network))

        return await carrier.listen(Address(host, port), taken)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` in the background; it is cancelled when the app stops, and what it raises is logged."""
        return self._here()[1].spawn(work)

    # ------------------------------------------------------------------ for who carries it

    def bind(self, host: Host, tasks: Tasks) -> None:
        """Run on `host` wherever a task does not say otherwise."""
        self._bound = (host, tasks)

    def _here(self) -> tuple[Host, Tasks]:
        found = HERE.get() or self._bound
        if found is None:
            raise RuntimeError("the app does not run: ask the mesh from handlers, commands and on_start only")
        return found

    def _host(self) -> Host:
        return self._here()[0]


def app_of(found: object) -> App:
    """The app that a manifest's entry names: an `App`, or any other ASGI application for the local user alone.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(found, App):
        return found
    if callable(found):
        return App(user=found)
    raise TypeError(f"the entry is {type(found).__name__}, not an App or an ASGI application")
