"""What carries an app: the agent, seen from the app's process, or a small mesh in memory, in tests.

It is what `App` asks for everything; authors do not meet it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ztm.apps.base import Place
from ztm.model import Address, Endpoint
from ztm.net.base import Headers, Network, Stream
from ztm.net.http1 import Answer
from ztm.wire.processes import FileRecord
from ztm.wire.records import User

Taken = Callable[[Stream], Awaitable[None]]
"""Owns one accepted connection."""


class Port(Protocol):
    """An open port."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    async def close(self) -> None:
        """Listen no more; accepted connections live on."""


class Host(Protocol):
    """What an app runs in. Whatever it was not granted raises `ForbiddenError`."""

    name: str
    provider: str
    mesh: str
    place: Place
    owner: str
    network: Network
    directory: Path

    async def request(self, endpoint: str, method: str, target: str, body: bytes, headers: Headers) -> Answer:
        """Ask the same app on another endpoint.

        Raises:
            ZtmError: it could not be asked.
        """

    async def connect(self, endpoint: str, target: str) -> Stream:
        """Open a stream to the same app on another endpoint, which has accepted it.

        Raises:
            ZtmError: it could not be reached, or refused.
        """

    async def endpoints(self, word: str) -> Sequence[Endpoint]:
        """Endpoints by id or name; all without.

        Raises:
            ZtmError: they are not known.
        """

    async def users(self) -> Sequence[User]:
        """Users of the mesh.

        Raises:
            ZtmError: they are not known.
        """

    async def ask(self, app: str, method: str, target: str, body: bytes, headers: Headers) -> Answer:
        """Ask another app of this endpoint.

        Raises:
            ZtmError: it could not be asked.
        """

    async def read(self, path: str) -> bytes | None:
        """The content of a file, or None.

        Raises:
            ZtmError: it could not be read.
        """

    async def write(self, path: str, data: bytes) -> None:
        """Store a file.

        Raises:
            ZtmError: it was not stored.
        """

    async def erase(self, path: str) -> bool:
        """Delete a file; whether there was one.

        Raises:
            ZtmError: it was not deleted.
        """

    async def files(self) -> Mapping[str, FileRecord]:
        """All of the app's files by path.

        Raises:
            ZtmError: they are not known.
        """

    async def listen(self, address: Address, taken: Taken) -> Port:
        """Accept connections.

        Raises:
            ZtmError: the address is in use, or it may not.
        """
