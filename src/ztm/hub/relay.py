"""App streams: a caller's CONNECT joined to one that the target agent takes, byte for byte.

Every decision is made before the 200: whose endpoint the caller is, whether the hub has room, whether the target
takes the stream. What the caller sends meanwhile goes on to the target at once, so that a new connection
costs one round trip of the whole way (spec mesh-protocol 8.5).
"""

import asyncio
import logging

from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    ForbiddenError,
    LimitError,
    NotFoundError,
    UnreachableError,
    UsageError,
    ZtmError,
)
from ztm.hub.link import Link
from ztm.hub.sessions import AgentSessions, check_status
from ztm.hub.state import HubState
from ztm.logs import about
from ztm.model import check_uuid
from ztm.net.base import Exchange, Headers
from ztm.rest.message import Request, Response
from ztm.wire import paths

log = logging.getLogger("ztm.hub")

REASON = 4096
"""Bytes of a refusal's text that are passed back."""


class Relay:
    """The handler of app CONNECTs."""

    def __init__(self, state: HubState, sessions: AgentSessions) -> None:
        self._state = state
        self._sessions = sessions

    async def connect(self, request: Request) -> Response:
        """CONNECT ``/api/endpoints/{ep}/apps/[{provider}/]{app}?src=``. Source: spec mesh-protocol 7.

        Raises:
            NotFoundError: the endpoint is unknown.
            ForbiddenError: `src` is not the caller's endpoint.
            LimitError: too many app streams are open.
            UnreachableError: no session leads to the endpoint.
            DeadlineError: the target neither took nor refused the stream in time.
        """
        try:
            return await self._connect(request)
        except ZtmError as error:
            if not request.upgrade.accepted:
                self._state.counts.refuse(error)
            raise

    async def _connect(self, request: Request) -> Response:
        state = self._state
        if state.is_stopping:
            raise UnreachableError("the hub is stopping and takes no new streams")
        target = request.params["ep"]
        if target not in state.registry:
            raise NotFoundError("Endpoint not found")
        source = self._source(request)
        if state.relayed >= state.config.max_sessions:
            raise LimitError("Too many forwarding sessions")
        state.relayed += 1
        try:
            state.counts.asked += 1
            with about(endpoint=source, target=target, stream=state.counts.asked):
                return await self._join(request, source, target)
        finally:
            state.relayed -= 1

    def _source(self, request: Request) -> str:
        """The caller's endpoint: what it says, if that is its own (spec mesh-protocol W6)."""
        link: Link = request.link
        source = request.query.get("src") or link.endpoint
        if not source:
            raise UsageError("the query says no src, and this connection speaks for no endpoint")
        if source != link.endpoint:
            check_uuid("endpoint", source)
        if self._state.registry.owner_of(source) != link.owner:
            raise ForbiddenError(f"endpoint {source} is not yours")
        return source

    async def _join(self, request: Request, source: str, target: str) -> Response:
        network, traffic, counts = self._state.network, self._state.traffic, self._state.counts
        caller = request.upgrade.stream
        stream = (await self._sessions.pick(target)).open(self._head(request, source))
        relayed = traffic.begin(source, target)
        try:
            joining = network.pipe(caller, stream, relayed.meter)
            status, headers = await self._answer(stream)
            if not 200 <= status <= 299:
                counts.streams_refused["target"] += 1
                return await self._refusal(check_status(status), headers, stream)
            counts.streams += 1
            log.debug("an app stream begins")
            request.upgrade.accept([field for field in headers if field[0].startswith("ztm-")])
            await joining.joined(relayed.meter)
            return Response()
        except BrokenStreamError as error:
            if request.upgrade.accepted:
                raise
            raise BrokenStreamError(f"the target's agent went away: {error}") from error
        finally:
            if not stream.is_over:
                stream.abort("no longer relayed")
            traffic.end(relayed)
            log.debug("an app stream is over")

    def _head(self, request: Request, source: str) -> Headers:
        """What the target is told, all of it as the hub knows it and not as the caller wrote it."""
        link: Link = request.link
        params, app = request.params, request.params["app"]
        if "provider" in params:
            path = paths.fill(paths.APP, provider=params["provider"], app=app)
        else:
            path = paths.fill(paths.APP_ANY, app=app)
        return ((":method", "CONNECT"), (":scheme", "http"), (":path", f"{path}?{link.query(source)}"))

    async def _answer(self, stream: Exchange) -> tuple[int, Headers]:
        seconds = self._state.config.answer_timeout
        try:
            async with asyncio.timeout(seconds):
                return await stream.response()
        except TimeoutError as error:
            raise DeadlineError(f"the target did not answer within {seconds:g} s") from error

    async def _refusal(self, status: int, headers: Headers, stream: Exchange) -> Response:
        text = b""
        try:
            async with asyncio.timeout(self._state.config.answer_timeout):
                while len(text) < REASON and (more := await stream.read()):
                    text += more
        except (BrokenStreamError, TimeoutError):
            log.debug("a refusal came without its reason")
        said = {name: value for name, value in headers if name.startswith("ztm-")}
        return Response(status, text[:REASON].decode("utf-8", "replace"), headers=tuple(said.items()))
