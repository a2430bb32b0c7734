"""The agent as its app's process sees it: every wish is a request on the socket pair, which the agent may refuse.

Nothing is decided here; what is refused there is an error here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ztm.apps.base import Place
from ztm.apps.streams.reach import check_accepted
from ztm.errors import DeadlineError, NotFoundError
from ztm.model import Address, Endpoint
from ztm.net.base import Exchange, Headers, Network, Session, Stream
from ztm.net.http1 import Answer
from ztm.net.scope import check_target
from ztm.rest.client import call, check, error_of
from ztm.wire import processes
from ztm.wire.processes import FileRecord, Start
from ztm.wire.records import User
from ztm_app.host import Taken

ANSWER = 30.0
"""Seconds for the agent's answer: longer than what it waits for itself."""
T = TypeVar("T")


class AgentHost:
    """See `ztm_app.host.Host`."""

    def __init__(self, start: Start, session: Session, network: Network) -> None:
        self.name = start.name
        self.provider = start.provider
        self.mesh = start.mesh
        self.place = Place(start.endpoint_id, start.endpoint_name)
        self.owner = start.owner
        self.network = network
        self.directory = Path(start.data)
        self.ports: dict[str, Taken] = {}
        """What is done with connections, by the id of the port they came by."""
        self._session = session
        self._last = 0

    async def request(self, endpoint: str, method: str, target: str, body: bytes, headers: Headers) -> Answer:
        """See `Host`."""
        path = f"{processes.MESH}/{quote(endpoint, safe='')}{check_target(target)}"
        return await self._ask(method, path, body, headers)

    async def connect(self, endpoint: str, target: str) -> Stream:
        """See `Host`."""
        stream, _ = await self._connect(f"{processes.MESH}/{quote(endpoint, safe='')}{check_target(target)}")
        return stream

    async def endpoints(self, word: str) -> Sequence[Endpoint]:
        """See `Host`."""
        query = f"?{urlencode({'word': word})}" if word else ""
        return await self._told(f"{processes.ENDPOINTS}{query}", list[Endpoint])

    async def users(self) -> Sequence[User]:
        """See `Host`."""
        return await self._told(processes.USERS, list[User])

    async def ask(self, app: str, method: str, target: str, body: bytes, headers: Headers) -> Answer:
        """See `Host`."""
        provider, _, name = app.rpartition("/")
        path = f"{processes.ASK}/{quote(provider or 'ztm', safe='')}/{quote(name, safe='')}"
        return await self._ask(method, path + check_target(target), body, headers)

    async def read(self, path: str) -> bytes | None:
        """See `Host`."""
        try:
            return check(await self._ask("GET", _file(path)), f"reading {path}").body
        except NotFoundError:
            return None

    async def write(self, path: str, data: bytes) -> None:
        """See `Host`."""
        check(await self._ask("PUT", _file(path), data), f"writing {path}")

    async def erase(self, path: str) -> bool:
        """See `Host`."""
        try:
            check(await self._ask("DELETE", _file(path)), f"erasing {path}")
        except NotFoundError:
            return False
        return True

    async def files(self) -> Mapping[str, FileRecord]:
        """See `Host`."""
        return {one.path: one for one in await self._told(processes.FILES, list[FileRecord])}

    async def listen(self, address: Address, taken: Taken) -> "AgentPort":
        """See `Host`."""
        self._last += 1
        id_ = str(self._last)
        self.ports[id_] = taken
        query = urlencode({"id": id_, "host": address.host, "port": address.port})
        try:
            stream, bound = await self._connect(f"{processes.LISTEN}?{query}")
        except BaseException:
            del self.ports[id_]
            raise
        return AgentPort(self, id_, stream, Address.parse(bound))

    async def _told(self, target: str, kind: type[T]) -> T:
        return msgspec.json.decode(check(await self._ask("GET", target), target).body, type=kind)

    async def _ask(self, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> Answer:
        """The answer, of whomever the agent passed the question to.

        Raises:
            ZtmError: the agent refused, or could not pass it on.
        """
        limit = processes.MAX_BODY
        answer = await call(self._session, method, target, body=body, timeout=ANSWER, limit=limit, headers=headers)
        if any(name == processes.FAILED for name, _ in answer.headers):
            raise error_of(answer, f"{method} {target}")
        return answer

    async def _connect(self, target: str) -> tuple[Exchange, str]:
        """A stream that was accepted, and the address that its answer names.

        Raises:
            ZtmError: it was not.
        """
        stream = self._session.open([(":method", "CONNECT"), (":scheme", "http"), (":path", target)])
        is_accepted = False
        try:
            async with asyncio.timeout(ANSWER):
                status, headers = await stream.response()
            check_accepted(status, headers)
            is_accepted = True
        except TimeoutError as error:
            raise DeadlineError(f"CONNECT {target}: no answer within {ANSWER:g} seconds") from error
        finally:
            if not is_accepted:
                stream.abort("not accepted")
        return stream, next((value for name, value in headers if name == processes.ADDRESS), "")


class AgentPort:
    """See `ztm_app.host.Port`."""

    def __init__(self, host: AgentHost, id_: str, stream: Stream, address: Address) -> None:
        self._host = host
        self._id = id_
        self._stream = stream
        self.address = address

    async def close(self) -> None:
        """See `Port`; returns once it is closed."""
        self._stream.end()
        await self._stream.ended()
        self._host.ports.pop(self._id, None)


def _file(path: str) -> str:
    """The request target of an app path."""
    return processes.FILES + quote(path if path.startswith("/") else f"/{path}")
