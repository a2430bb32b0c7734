"""Metadata of the mesh's files, and who may see it. The files themselves live on agents."""

import asyncio
import logging

from ztm.core.access import may_read, merge_acls, owner_of
from ztm.errors import ForbiddenError, NotFoundError, UsageError
from ztm.hub.link import Link
from ztm.hub.sessions import AgentSessions
from ztm.hub.state import HubState
from ztm.rest.message import JSON, Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths

log = logging.getLogger("ztm.hub")

SETTLE = 0.5
"""Seconds by which an answer with changes waits for more of them (spec mesh-protocol 11)."""
MAX_MAP = 64 << 20
"""Bytes of one advertisement: some 400,000 files."""


class Files:
    """Handlers of ``/api/filesystem``, ``/api/acl`` and file data. Source: spec mesh-protocol 11 and 12."""

    def __init__(self, state: HubState, sessions: AgentSessions) -> None:
        self._state = state
        self._sessions = sessions
        self._changed = asyncio.Event()

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add("GET", paths.FILES, self.listing)
        router.add("POST", paths.FILES, self.advertise)
        router.add("GET", paths.FILE, self.info)
        router.add("POST", paths.ACLS, self.set_acls)
        router.add("GET", paths.ACL, self.acl)
        router.add("GET", paths.ENDPOINT_FILE, self.data)

    async def advertise(self, request: Request) -> Response:
        """An agent says what it stores; answered when it is on disk."""
        link: Link = request.link
        endpoint = link.require_session()
        offered = codec.decode_files(await request.body(MAX_MAP))
        changed = self._state.files.advertise(endpoint, link.user, offered, self._state.now_ms(), self._state.acls)
        if changed:
            self._announce()
        self._state.keep_files(changed)
        return Response(201)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def listing(self, request: Request) -> Response:
        """The files a user may see, or the changes since then; with `wait`, as soon as there are any."""
        if "since" not in request.query:
            return self._json(request, None)
        since = _milliseconds(request.query["since"])
        if "wait" in request.query:
            await self._wait(request, since)
        await asyncio.sleep(SETTLE)
        return self._json(request, since)

    async def _wait(self, request: Request, since: int) -> None:
        """Until a change after `since` is visible, or nobody waits for it any more."""
        await request.body()
        gone = asyncio.ensure_future(request.gone())
        try:
            while not gone.done() and not self._state.files.listing(request.link.user, self._state.acls, since):
                await self._change(gone)
        finally:
            gone.cancel()

    async def _change(self, gone: asyncio.Future[None]) -> None:
        change = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((change, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()

    def _json(self, request: Request, since: int | None) -> Response:
        link: Link = request.link
        files = self._state.files.listing(link.user, self._state.acls, since)
        return Response(200, codec.encode_files(files, since=since is not None), content_type=JSON)

    async def info(self, request: Request) -> Response:
        """One file's metadata and where it is now."""
        link: Link = request.link
        found = self._state.files.lookup(_path(request), link.user, self._state.acls, self._is_online)
        if found is None:
            raise NotFoundError("")
        return Response(200, codec.encode_file(found), content_type=JSON)

    def _is_online(self, endpoint: str) -> bool:
        found = self._state.registry.endpoint(endpoint, self._state.network.wall())
        return found is not None and found.online

    async def data(self, request: Request) -> Response:
        """A file's content from an endpoint that has it, for who may see that file (spec W24).

        The endpoint is told who asks; v1's ignore that.
        """
        link: Link = request.link
        endpoint, digest = request.params["ep"], request.params["hash"]
        path = self._state.files.path_of(digest)
        if path is None or not may_read(path, link.user, self._state.acls):
            raise NotFoundError("")
        if self._state.registry.control(endpoint) is None:
            raise NotFoundError("")
        return await self._sessions.fetch(endpoint, paths.fill(paths.FILE_DATA, {"username": link.user}, hash=digest))

    async def set_acls(self, request: Request) -> Response:
        """An agent says who may see what its user owns; answered when it is on disk."""
        link: Link = request.link
        link.require_session()
        accepted = merge_acls(self._state.acls, codec.decode_acls(await request.body()), link.user)
        if accepted:
            self._state.store.save_acls(accepted)
            self._state.acls.update({acl.path: acl for acl in accepted})
            self._announce()
        return Response(201)

    async def acl(self, request: Request) -> Response:
        """An own path's entry, or whether a user may see a path."""
        link: Link = request.link
        path = _path(request)
        user = request.query.get("username") or link.user
        if user == link.user == owner_of(path):
            return Response(200, codec.encode_acl(self._state.acls.get(path)), content_type=JSON)
        if not may_read(path, user, self._state.acls):
            raise ForbiddenError("")
        return Response()


def _path(request: Request) -> str:
    return "/" + request.params["*"].lstrip("/")


def _milliseconds(text: str) -> int:
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"since is not a time in milliseconds: {text[:40]!r}") from error
