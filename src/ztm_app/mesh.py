"""What an app does in its mesh and with its files, each call a question to the agent that carries it.

What the manifest does not ask for is refused by the agent with a `ForbiddenError`, and noted in the app's log.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ztm.errors import ConflictError, NotFoundError, UsageError
from ztm.model import Endpoint
from ztm.rest.client import check
from ztm.wire.processes import FileRecord
from ztm.wire.records import User
from ztm_app.host import Host
from ztm_app.replies import Reply, body_of, fields_of, reply_of
from ztm_app.streams import Stream

Here = Callable[[], Host]


class Mesh:
    """The same app on other endpoints, and who is there. Permission: ``mesh.connect``."""

    def __init__(self, here: Here) -> None:
        self._here = here

    @property
    def name(self) -> str:
        """The mesh's name."""
        return self._here().mesh

    async def request(
        self,
        endpoint: str,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        any_status: bool = False,
    ) -> Reply:
        """Ask the app on `endpoint` (an id); `body` is sent as it is, or as JSON if it is neither bytes nor text.

        JSON is called that by a ``content-type``, unless `headers` has one.

        Raises:
            ForbiddenError: it refused, or this app has no ``mesh.connect``.
            NotFoundError: it does not run there, or has no such path.
            UnreachableError: no way leads there now.
            DeadlineError: it did not answer in time.
            ZtmError: any other refusal; with `any_status` the app's own refusals are replies.
        """
        answer = await self._here().request(endpoint, method, path, body_of(body), fields_of(body, headers))
        return reply_of(answer, f"{method} {path} on endpoint {endpoint}", any_status=any_status)

    async def connect(self, endpoint: str, path: str) -> Stream:
        """Open a stream to ``connect(path)`` of the app on `endpoint`; it was accepted there when this returns.

        Raises:
            ZtmError: it was refused, or no way leads there now.
        """
        host = self._here()
        return Stream(await host.connect(endpoint, path), host.network)

    async def endpoints(self) -> list[Endpoint]:
        """All endpoints of the mesh.

        Raises:
            UnreachableError: no hub is connected.
        """
        return list(await self._here().endpoints(""))

    async def endpoint(self, word: str) -> Endpoint:
        """The endpoint with this id or name.

        Raises:
            NotFoundError: there is none.
            ConflictError: several have this name.
        """
        found = await self._here().endpoints(word)
        named = [one for one in found if one.id == word] or [one for one in found if one.name == word]
        if not named:
            raise NotFoundError(f"endpoint '{word}' not found (see 'ztm get ep')")
        if len(named) > 1:
            raise ConflictError(f"ambiguous endpoint name '{word}': use one of {', '.join(one.id for one in named)}")
        return named[0]

    async def users(self) -> list[User]:
        """All users of the mesh.

        Raises:
            UnreachableError: no hub is connected.
        """
        return list(await self._here().users())


class Files:
    """The app's files, by path.

    * ``/local/...``: on this machine only. Permission ``files.local``.
    * ``/users/{owner}/...``: on all endpoints of the own user. Permission ``files.user``.
    * ``/shared/{user}/...``: to be read by all; written by that user. Permission ``files.shared``.
    """

    def __init__(self, here: Here) -> None:
        self._here = here

    async def read(self, path: str) -> bytes | None:
        """The newest content, fetched if need be; None if there is no such file.

        Raises:
            ForbiddenError: the app has no permission for these files.
            UnreachableError: nobody who has it can be reached.
            TooLargeError: it exceeds 8 MiB.
        """
        return await self._here().read(path)

    async def read_json(self, path: str, default: Any = None) -> Any:
        """The content from JSON; `default` if there is no such file.

        Raises:
            UsageError: it is no JSON.
            ZtmError: as `read`.
        """
        data = await self.read(path)
        try:
            return default if data is None else json.loads(data)
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}") from error

    async def write(self, path: str, data: object) -> None:
        """Store bytes, a text, or anything else as JSON. It is on disk when this returns.

        Raises:
            ForbiddenError: the app has no permission, or the path is another user's.
            StorageError: the disk did not take it.
            TooLargeError: it exceeds 8 MiB.
        """
        await self._here().write(path, body_of(data))

    async def erase(self, path: str) -> bool:
        """Delete it; whether there was one.

        Raises:
            ForbiddenError: the app has no permission, or the path is another user's.
        """
        return await self._here().erase(path)

    async def list(self, prefix: str = "/") -> list[FileRecord]:
        """All files whose path begins with `prefix` and that the app may see, sorted by path.

        Raises:
            ForbiddenError: the app has no permission for files at all.
        """
        found = await self._here().files()
        return [found[path] for path in sorted(found) if path.startswith(prefix)]


async def ask(host: Host, app: str, method: str, path: str, body: object) -> Reply:
    """Ask another app of the same endpoint.

    Raises:
        ZtmError: it refused, or may not be asked.
    """
    answer = await host.ask(app, method, path, body_of(body), fields_of(body))
    return reply_of(check(answer, f"{method} {path} of app {app}"), path, any_status=True)
