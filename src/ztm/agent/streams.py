"""The sessions of a hub link that carry app streams: one for those going out, passive ones for those coming in.

They are opened on demand, closed when idle, and may outlive the control session of their link: a stream that still
moves is not cut because something else broke.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from ztm.agent.config import AgentConfig
from ztm.agent.dial import LinkSelf, dial_hub
from ztm.errors import BrokenStreamError, DeadlineError, ZtmError, from_status
from ztm.model import Address
from ztm.net.asgi import ASGIApp, Receive, Scope, Send, serve_stream
from ztm.net.base import Exchange, Network, Session, Stream
from ztm.net.http1 import connect_answer, connect_head
from ztm.wire import paths

log = logging.getLogger("ztm.agent")

LOOK_EVERY = 0.1
"""Seconds between two looks at whether streams are left."""


class StreamSessions:
    """What one link has for app streams, besides its control session."""

    def __init__(self, network: Network, config: AgentConfig, address: Address, own: LinkSelf, app: ASGIApp) -> None:
        self._network = network
        self._config = config
        self._address = address
        self._self = own
        self._app = app
        self._out: Session | None = None
        self._old: list[Session] = []
        """Sessions that went silent: not used for new streams, kept for those they carry."""
        self._used = 0.0
        self._entered = 0
        """Requests now served on passive sessions."""
        self._first: set[Exchange] = set()
        """Streams that went by the control session, since the own one was not open yet."""
        self._opening: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ going out

    def open(self, path: str, control: Session) -> Exchange:
        """Open a CONNECT to `path` at the hub, on the session kept for app streams where there is one.

        The first stream does not wait for that session: it goes by `control` (spec mesh-protocol 8.2).

        Raises:
            BrokenStreamError: the session is over.
        """
        head = ((":method", "CONNECT"), (":scheme", "http"), (":path", path))
        session = self._out
        if session is None or not session.is_open or session.silence >= self._config.suspect_after:
            self._renew()
            stream = control.open(head)
            self._first = {one for one in (*self._first, stream) if not one.is_over}
            return stream
        self._used = self._network.now()
        return session.open(head)

    async def roomy(self, control: Session) -> Session:
        """The session kept for app streams, opened first where there is none: for much data, which `control` carries
        only where the hub gives no other.
        """
        if self._out is None or not self._out.is_open or self._out.silence >= self._config.suspect_after:
            self._renew()
            if self._opening is not None:
                await asyncio.wait((self._opening,))
        self._used = self._network.now()
        return self._out if self._out is not None and self._out.is_open else control

    def _renew(self) -> None:
        if self._out is not None:
            self._old = [old for old in (*self._old, self._out) if old.is_open]
            self._out = None
        if self._opening is None or self._opening.done():
            self._opening = self._spawn(self._open_out())

    async def _open_out(self) -> None:
        try:
            stream = await self._dial()
        except ZtmError as error:
            log.info("no session for app streams with hub %s: %s", self._address, error)
            return
        self._out = self._network.session(stream, "client", limits=self._config.sessions, own=stream.is_own)
        self._used = self._network.now()

    def close_idle(self) -> None:
        """Close what has had no stream for a while."""
        now, session = self._network.now(), self._out
        for old in self._old:
            if not old.streams:
                old.close("replaced")
        self._old = [old for old in self._old if old.is_open]
        if session is None:
            return
        if session.streams:
            self._used = now
        elif now - self._used > self._config.idle:
            self._out = None
            session.close("idle")

    async def _dial(self) -> Stream:
        config = self._config
        return await dial_hub(
            self._network, self._address, self._self.tls, timeout=config.dial_timeout, again=config.dial_again
        )

    # ------------------------------------------------------------------ coming in

    async def offer(self, sid: str) -> None:
        """Open the passive session that the hub asked for; returns when the hub has taken it.

        Our own hub takes it as an HTTP/1.1 CONNECT, which leaves no second HTTP/2 around every frame; v1's as
        v1 agents do it, one sid a TLS connection. Source: spec mesh-protocol 4.3, 7 and 8.2.

        Raises:
            ZtmError: the hub did not take it.
        """
        path = paths.fill(paths.ENDPOINT, {"sid": sid}, ep=self._self.id)
        stream = await self._dial()
        is_taken = False
        try:
            async with asyncio.timeout(self._config.answer_timeout):
                passive, outer, status = await self._offered(stream, path)
            if status != 200:
                raise from_status(status, f"the hub refused the session with {status}")
            is_taken = True
        except TimeoutError as error:
            raise DeadlineError("the hub did not take the session in time") from error
        finally:
            if not is_taken:
                stream.abort("not taken as a session")
        self._spawn(self._serve(passive, outer, is_own=stream.is_own))

    async def _offered(self, stream: Stream, path: str) -> tuple[Stream, Session | None, int]:
        if stream.is_own:
            stream.write_now(connect_head(path))
            status, _ = await connect_answer(stream)
            return stream, None, status
        outer = self._network.session(stream, "client", limits=self._config.sessions)
        passive = outer.open(((":method", "CONNECT"), (":scheme", "http"), (":path", path)))
        status, _ = await passive.response()
        return passive, outer, status

    async def _serve(self, passive: Stream, outer: Session | None, *, is_own: bool) -> None:
        config = self._config
        try:
            await serve_stream(
                self._network,
                passive,
                self._counted,
                {},
                http_limits=config.http,
                session_limits=config.sessions,
                own=is_own,
            )
        except BrokenStreamError:
            return
        finally:
            if outer is not None:
                outer.close("its session ended")  # a v1 hub leaves it open
            else:
                passive.end()

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._entered += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._entered -= 1

    # ------------------------------------------------------------------ ending

    @property
    def streams(self) -> int:
        """App streams carried now, both ways."""
        return self._entered + sum(session.streams for session in (self._out, *self._old) if session is not None)

    async def drained(self) -> None:
        """Wait until no app stream is left."""
        while self.streams:
            await asyncio.sleep(LOOK_EVERY)

    async def control_drained(self) -> None:
        """Wait until the control session carries no stream that went out by it."""
        while any(not stream.is_over for stream in self._first):
            await asyncio.sleep(LOOK_EVERY)

    def close(self, reason: str) -> None:
        """End all sessions with what they carry. Idempotent."""
        for session in (self._out, *self._old):
            if session is not None:
                session.close(reason)
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("a session for app streams failed")
