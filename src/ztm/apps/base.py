"""What an app is, and all that it may see of its agent.

An app imports neither the agent nor another app: it is given an `AppContext` and nothing else.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ztm.apps.audit import Audit
from ztm.apps.command import Console
from ztm.model import Endpoint, FileInfo
from ztm.net.asgi import ASGIApp
from ztm.net.base import Exchange, Headers, Network
from ztm.net.http1 import Answer
from ztm.wire.records import User

MAX_FILE = 8 << 20
"""Bytes of a mesh file that an app reads at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint as people name it."""

    id: str
    name: str


class AppFiles(Protocol):
    """An app's files: its own on this agent, and those that are in the mesh.

    In the mesh an app sees ``/users/{own user}/...`` and ``/shared/{any user}/...``, which are its own part of the
    mesh's files. Source: spec app-framework 4.1.
    """

    def read_local(self, path: str) -> bytes | None:
        """The content of ``/local/{path}`` of this agent, or None."""

    def write_local(self, path: str, data: bytes) -> None:
        """Store ``/local/{path}``; it is on disk when this returns.

        Raises:
            StorageError: it is not.
        """

    def erase_local(self, path: str) -> bool:
        """Delete ``/local/{path}``; whether there was one."""

    def list_local(self) -> list[str]:
        """The paths below ``/local/``, sorted."""

    def share(self, path: str, data: bytes) -> None:
        """Store ``/shared/{own user}/{path}`` and advertise it; others see it within about a second.

        Raises:
            StorageError: it could not be stored.
        """

    def unshare(self, path: str) -> None:
        """Mark ``/shared/{own user}/{path}`` as deleted, mesh-wide. Nothing happens if it never was."""

    def shared(self) -> Mapping[str, FileInfo]:
        """All live files below ``/shared/`` of this app in the mesh, by app path; from memory, no question asked."""

    def known(self) -> Mapping[str, FileInfo]:
        """The same, and those below ``/users/{own user}/``."""

    async def read(self, path: str) -> bytes | None:
        """The newest content of ``/users/{own user}/...`` or ``/shared/...``, fetched if need be, or None.

        Raises:
            UnreachableError: there is one, and no endpoint that has it can be reached.
            TooLargeError: it is larger than `MAX_FILE`.
            UsageError: the path is not one of these.
        """

    async def write(self, path: str, data: bytes) -> None:
        """Make `data` the newest content of ``/users/{own user}/...`` or ``/shared/{own user}/...``.

        It is on disk, and known to the hub if one is connected, when this returns.

        Raises:
            ForbiddenError: the path is another user's.
            StorageError: the disk did not take it.
        """

    async def erase(self, path: str) -> bool:
        """Delete a file of the own user mesh-wide; whether there was one.

        Raises:
            ForbiddenError: the path is another user's.
        """

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever `shared` or `known` may have changed."""


class AppContext(Protocol):
    """One app's view of its agent, for one mesh."""

    mesh: str
    network: Network
    files: AppFiles
    log: logging.LoggerAdapter[logging.Logger]
    audit: Audit

    @property
    def place(self) -> Place:
        """The own endpoint."""

    @property
    def user(self) -> str:
        """The owner: the user of the agent's certificate."""

    async def endpoints(self, *, id: str = "", name: str = "") -> list[Endpoint]:  # noqa: A002
        """Endpoints of the mesh by id or name; all of them without either.

        Raises:
            UnreachableError: no hub is connected.
        """

    async def users(self) -> list[User]:
        """Users of the mesh as the hub lists them.

        Raises:
            UnreachableError: no hub is connected.
        """

    def directory(self) -> Path:
        """The app's own directory on this machine, mode 0700, made when first asked for.

        Raises:
            StorageError: it cannot be made.
        """

    async def connect(self, endpoint: str) -> Exchange:
        """Open a stream to the same app on another endpoint, without waiting for its answer.

        Bytes may be written at once and leave together with the request. `Exchange.response` then tells
        whether the other side took it: 200, or the status of whoever refused.

        Raises:
            UnreachableError: no hub leads there now.
        """

    async def request(
        self, endpoint: str, method: str, target: str, body: bytes = b"", headers: Headers = ()
    ) -> Answer:
        """Ask the same app on another endpoint. `headers` are names in lower case and values, like ``content-type``.

        Raises:
            UnreachableError: no hub leads there now.
            RefusedError: the way there refused it.
            DeadlineError: no answer in time.
            BrokenStreamError: the stream was cut.
        """

    async def ask(self, app: str, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> Answer:
        """Ask another app of this endpoint, ``name`` or ``provider/name``; one that is stopped is started.

        Raises:
            NotFoundError: there is no such app, or it answers no other app.
            UnreachableError: it is disabled, does not start, or waits for this app while it starts or stops.
        """

    def tell(self, kind: str, name: str, state: str, reason: str = "") -> None:
        """Tell who follows this agent's live events how a thing of this app is doing; never fails or waits."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it ends or the app stops; what it raises is logged."""


class App(Protocol):
    """A running app, once per joined mesh."""

    @property
    def user_api(self) -> ASGIApp:
        """For the local user: below ``/api/meshes/{mesh}/apps/{provider}/{app}``."""

    @property
    def peer_api(self) -> ASGIApp:
        """For other endpoints; the verified `Peer` is in the scope's extensions as ``ztm.peer``."""

    async def command(self, console: Console) -> int:
        """Run one of the app's commands for the local user; its exit status.

        Raises:
            BrokenStreamError: the caller went away.
        """

    async def start(self) -> None:
        """Take up what was configured before."""

    async def stop(self) -> None:
        """End listeners and streams."""


@runtime_checkable
class Neighbourly(Protocol):
    """An app that answers other apps of the same endpoint (`AppContext.ask`); it need not."""

    @property
    def self_api(self) -> ASGIApp:
        """For other apps here; the extension ``ztm.peer`` is None."""


@runtime_checkable
class Measured(Protocol):
    """An app that counts something; it need not."""

    def figures(self) -> Mapping[str, float]:
        """Name (``a-z_``) to number as it is now; those that only grow end with ``_total``. Must not wait."""


@runtime_checkable
class Draining(Protocol):
    """An app with clients of this machine, whom it does not cut when the agent stops; it need not."""

    async def drain(self) -> None:
        """Take no new client, and return when it is done with those it has. May be cancelled; `stop` follows."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How an app with a process of its own is doing."""

    state: str
    """``starting``, ``running``, ``restarting`` or ``failed``."""
    reason: str = ""
    restarts: int = 0
    """Since it was started by somebody."""
    confinement: str = ""
    """What holds it, in words."""


@runtime_checkable
class Supervised(Protocol):
    """An app with a process of its own, which may fail while the app counts as running; it need not."""

    @property
    def condition(self) -> Condition:
        """How it is doing now."""


AppFactory = Callable[[AppContext], App]
"""Makes an app; does no I/O yet."""
