"""Sessions that lead to agents: control sessions with their pings, and passive ones for app streams.

Each session has one task, which ends with it; a session that stops answering is closed, so that its
agent notices and dials again, and no session's trouble delays another's pings.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from functools import partial

from ztm.errors import DeadlineError, NotFoundError, RefusedError, UnreachableError, ZtmError
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.logs import about, bind
from ztm.model import check_name, check_uuid
from ztm.net.base import Exchange, Headers, Session
from ztm.rest.client import call, call_ok
from ztm.rest.message import Request, Response
from ztm.wire import paths

log = logging.getLogger("ztm.hub")

LOOK_AGAIN = 0.1
"""Seconds between two looks for a session that answers."""
UNRESPONSIVE = 2.5
"""Seconds of an unanswered PING after which another session is preferred."""
OFFER = 3.0
"""Seconds that much data waits for a session of its own."""
ASK_AGAIN = 30.0
"""Seconds for which an agent that offered no passive session is not asked for one again."""


class AgentSessions:
    """Accepts the CONNECTs by which agents offer sessions, and picks one when a stream is to be opened."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        self._wanted: dict[str, str] = {}
        """Passive sessions asked for and not yet come: sid to endpoint id."""
        self._asking: dict[str, asyncio.Task[None]] = {}
        """By endpoint id."""
        self._ask_at: dict[str, float] = {}
        """Not before this time, by endpoint id, where asking was in vain."""
        self._unused: set[Session] = set()
        """Passive sessions that were not picked since they were last looked at."""

    # ------------------------------------------------------------------ accepting

    async def accept(self, request: Request) -> None:
        """CONNECT ``/api/endpoints/{ep}?name=`` or ``?sid=``. Source: spec mesh-protocol 6 and 7.

        Raises:
            ForbiddenError: the endpoint id belongs to another user or key.
            LimitError: the hub takes no more endpoints.
            StorageError: the endpoint is new and its owner cannot be written down.
        """
        link: Link = request.link
        endpoint = check_uuid("endpoint", request.params["ep"])
        self._state.registry.may_claim(endpoint, link.owner)
        sid = request.query.get("sid")
        bind(endpoint=endpoint, session=sid[:36] if sid else "")
        session = self._passive(request, link, endpoint, sid) if sid else self._control(request, link, endpoint)
        request.upgrade.kept = partial(self._keep, link, endpoint, session, sid)

    def _control(self, request: Request, link: Link, endpoint: str) -> Session:
        state, now = self._state, self._state.network.wall()
        name = check_name("endpoint", request.query.get("name", ""))
        state.registry.check_room(endpoint, now)
        link.check_speaks_for(endpoint)
        if state.registry.is_new(endpoint):
            state.store.save_owner(endpoint, link.user, link.identity.key)
        link.endpoint = endpoint
        session = self._session(request, link)
        state.registry.attach(endpoint, name, link.owner, session, link.remote, now)
        state.counts.sessions += 1
        log.info("endpoint %s (%s of %s) connected from %s", endpoint, name, link.user, link.remote)
        return session

    def _passive(self, request: Request, link: Link, endpoint: str, sid: str) -> Session:
        if self._wanted.pop(sid, None) != endpoint:
            raise NotFoundError(f"no session {sid[:64]} was asked for")
        session = self._session(request, link)
        now = self._state.network.wall()
        self._state.registry.attach(endpoint, "", link.owner, session, link.remote, now, passive=True)
        return session

    def _session(self, request: Request, link: Link) -> Session:
        config = self._state.config
        return self._state.network.session(request.upgrade.accept(), "client", limits=config.sessions, own=link.is_own)

    # ------------------------------------------------------------------ keeping

    async def _keep(self, link: Link, endpoint: str, session: Session, sid: str | None) -> None:
        """Hold a session for as long as it is of use, and forget it."""
        try:
            await (self._until_idle(session) if sid else self._keep_pinging(link, endpoint, session))
        finally:
            self._state.registry.detach(endpoint, session, self._state.network.wall())
            session.close("the hub closes this session")
            self._unused.discard(session)
            self._ask_at.pop(endpoint, None)
            with about(user=link.user, remote=link.remote, endpoint=endpoint, session=sid[:36] if sid else ""):
                log.info("endpoint %s: %s session ended", endpoint, "passive" if sid else "control")

    async def _keep_pinging(self, link: Link, endpoint: str, session: Session) -> None:
        """Ping until the session ends or fails to answer."""
        is_well = True
        while is_well and session.is_open:
            with about(user=link.user, remote=link.remote, endpoint=endpoint):
                is_well = await self._ping(endpoint, session)
            if is_well:
                await _pause(session, self._state.config.ping_every)

    async def _ping(self, endpoint: str, session: Session) -> bool:
        config, network = self._state.config, self._state.network
        begin = network.now()
        try:
            answer = await call(session, "GET", paths.PING, timeout=config.ping_timeout)
        except ZtmError as error:
            log.info("endpoint %s did not answer a ping: %s", endpoint, error)
            return False
        if answer.status != 200:
            log.info("endpoint %s answered a ping with status %d", endpoint, answer.status)
            return False
        self._state.registry.pinged(endpoint, round((network.now() - begin) * 1000))
        return True

    async def _until_idle(self, session: Session) -> None:
        """Hold a passive session for as long as it is used now and then."""
        while session.is_open and (session.streams or session not in self._unused):
            self._unused.add(session)
            await _pause(session, self._state.config.passive_idle)

    # ------------------------------------------------------------------ picking

    async def pick(self, endpoint: str) -> Session:
        """The session to open an app stream on: one that answers. Where none does, the agent may be just about
        to dial again, so another is waited for a little.

        Raises:
            UnreachableError: no session leads to the endpoint.
        """
        session = self._best(endpoint)
        network, wait = self._state.network, self._state.config.session_wait
        deadline = network.now() + wait
        while session is None or session.silence >= UNRESPONSIVE:
            is_long_gone = session is None and self._state.registry.absent_for(endpoint, network.wall()) > wait
            if is_long_gone or network.now() >= deadline:
                break
            await asyncio.sleep(LOOK_AGAIN)
            session = self._best(endpoint)
        if session is None:
            raise UnreachableError("Agent not found")
        return session

    def _best(self, endpoint: str) -> Session | None:
        """A passive session if there is one that answers, for the next stream at least; else the control session."""
        registry = self._state.registry
        control: Session | None = registry.control(endpoint)
        if control is None or not control.is_open:
            return None
        passives: list[Session] = registry.passives(endpoint)
        for passive in reversed(passives):
            if passive.is_open and passive.silence < UNRESPONSIVE:
                self._unused.discard(passive)
                return passive
        self._want_passive(endpoint, control)
        return control

    def control(self, endpoint: str) -> Session:
        """The session to ask the agent something on.

        Raises:
            UnreachableError: no session leads to the endpoint now.
        """
        session: Session | None = self._state.registry.control(endpoint)
        if session is None or not session.is_open:
            raise UnreachableError("Agent not found")
        return session

    async def _roomy(self, endpoint: str) -> Session:
        """The session for much data: a passive one if the agent soon offers one, so that pings need not wait for it.

        Raises:
            UnreachableError: no session leads to the endpoint now.
        """
        control = self.control(endpoint)
        session = self._best(endpoint)
        asking = self._asking.get(endpoint)
        if session is control and asking is not None:
            await asyncio.wait((asking,), timeout=OFFER)
            session = self._best(endpoint)
        return session or control

    def _want_passive(self, endpoint: str, control: Session) -> None:
        if endpoint in self._asking or self._state.network.now() < self._ask_at.get(endpoint, 0.0):
            return
        task = asyncio.get_running_loop().create_task(self._ask_passive(endpoint, control))
        self._asking[endpoint] = task
        task.add_done_callback(lambda _: self._asking.pop(endpoint, None))

    async def _ask_passive(self, endpoint: str, control: Session) -> None:
        sid = str(uuid.uuid4())
        self._wanted[sid] = endpoint
        try:
            await call_ok(control, "GET", paths.fill(paths.SESSION, sid=sid), timeout=self._state.config.ping_timeout)
        except ZtmError as error:
            log.info("endpoint %s offers no session for app streams: %s", endpoint, error)
            if control.is_open:
                self._ask_at[endpoint] = self._state.network.now() + ASK_AGAIN
        finally:
            self._wanted.pop(sid, None)

    # ------------------------------------------------------------------ asking an agent

    async def ask(
        self, endpoint: str, method: str, target: str, body: bytes = b"", *, timeout: float | None = None
    ) -> Response:
        """Pass a request on to an agent, and its answer back. Source: spec mesh-protocol 7, last paragraph.

        Raises:
            UnreachableError: no session leads there.
            DeadlineError: no answer in time (`timeout` seconds, or as configured).
            BrokenStreamError: the session ended first.
            RefusedError: the agent's answer is none.
        """
        seconds = timeout or self._state.config.answer_timeout
        answer = await call(self.control(endpoint), method, target, body=body, timeout=seconds)
        return Response(check_status(answer.status), answer.body, content_type=_kind(answer.headers))

    async def fetch(self, endpoint: str, target: str) -> Response:
        """The same for a GET whose answer may be long: it is passed on as the caller takes it.

        Raises:
            ZtmError: as `ask`.
        """
        head = ((":method", "GET"), (":scheme", "http"), (":path", target))
        exchange = (await self._roomy(endpoint)).open(head, end=True)
        seconds = self._state.config.answer_timeout
        try:
            async with asyncio.timeout(seconds):
                status, headers = await exchange.response()
            return Response(check_status(status), _pieces(exchange, seconds), content_type=_kind(headers))
        except BaseException as error:
            exchange.abort("no longer wanted")
            if isinstance(error, TimeoutError):
                raise DeadlineError(f"endpoint {endpoint} did not answer within {seconds:g} s") from error
            raise


async def _pause(session: Session, seconds: float) -> None:
    """Wait for so long, or until the session ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await session.closed()


async def _pieces(exchange: Exchange, seconds: float) -> AsyncIterator[bytes]:
    try:
        while True:
            async with asyncio.timeout(seconds):
                data = await exchange.read()
            if not data:
                return
            yield data
    except TimeoutError as error:
        raise DeadlineError(f"nothing more came within {seconds:g} s") from error
    finally:
        exchange.abort("no longer wanted")


def _kind(headers: Headers) -> str | None:
    return dict(headers).get("content-type")


def check_status(status: int) -> int:
    """Return the status of a final answer, as an agent gave it.

    Raises:
        RefusedError: it is not one that can be passed on.
    """
    if not 200 <= status <= 599:
        raise RefusedError(f"the agent answered with status {status}, which means nothing", answer=status)
    return status
