"""An app's files, as it asks its agent for them. Source: spec app-framework 4.1 and 10.3."""

from urllib.parse import unquote

import msgspec

from ztm.agent.apps.process.refusals import Permissions
from ztm.apps.base import MAX_FILE, AppContext
from ztm.core.access import check_path
from ztm.errors import NotFoundError, UsageError
from ztm.rest.message import BINARY, JSON, Request, Response
from ztm.wire.processes import FileRecord

LOCAL, SHARED = "/local/", "/shared/"


class FileCalls:
    """Reading, writing, deleting and listing."""

    def __init__(self, context: AppContext, permissions: Permissions) -> None:
        self._context = context
        self._permissions = permissions

    async def all(self, _request: Request) -> Response:
        """All files that the app may see."""
        if not any(self._permissions.allows(one) for one in ("files.local", "files.user", "files.shared")):
            await self._permissions.check("files.local", "see its files")
        files, found = self._context.files, []
        if self._permissions.allows("files.local"):
            found += [FileRecord(f"{LOCAL}{path}") for path in files.list_local()]
        for path, file in files.known().items():
            if self._permissions.allows("files.shared" if path.startswith(SHARED) else "files.user"):
                found.append(FileRecord(path, file.size, file.time_ms / 1000))
        return Response(200, msgspec.json.encode(found), JSON)

    async def one(self, request: Request) -> Response:
        """One file."""
        path, method = check_path(unquote(request.raw_path)), request.method
        await self._check(path, method)
        if method == "GET":
            return await self._read(path)
        if method == "PUT":
            return await self._write(path, await request.body(MAX_FILE))
        if method == "DELETE":
            return await self._erase(path)
        raise UsageError(f"a file is read, written or erased, not: {method}")

    async def _check(self, path: str, method: str) -> None:
        what = f"{_VERBS.get(method, method)} {path}"
        if path.startswith(LOCAL):
            await self._permissions.check("files.local", what)
        elif path.startswith(f"/users/{self._context.user}/"):
            await self._permissions.check("files.user", what)
        elif path.startswith(SHARED):
            await self._permissions.check("files.shared", what)
        else:
            raise UsageError(f"an app has no files at {path}: use /local, /users/{self._context.user} or /shared")

    async def _read(self, path: str) -> Response:
        files = self._context.files
        is_local = path.startswith(LOCAL)
        data = files.read_local(path.removeprefix(LOCAL)) if is_local else await files.read(path)
        if data is None:
            raise NotFoundError(f"there is no {path}")
        return Response(200, data, BINARY)

    async def _write(self, path: str, data: bytes) -> Response:
        if path.startswith(LOCAL):
            self._context.files.write_local(path.removeprefix(LOCAL), data)
        else:
            await self._context.files.write(path, data)
        return Response(201)

    async def _erase(self, path: str) -> Response:
        files = self._context.files
        is_local = path.startswith(LOCAL)
        was_there = files.erase_local(path.removeprefix(LOCAL)) if is_local else await files.erase(path)
        if not was_there:
            raise NotFoundError(f"there is no {path}")
        return Response(204)


_VERBS = {"GET": "read", "PUT": "write", "DELETE": "erase"}
