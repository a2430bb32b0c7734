"""The caller's side of a session: the way to an endpoint, this one included, and whoever sits at it.

Whether the caller may is decided where the session is served.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.streams.reach import check_accepted
from ztm.apps.terminal.links import Link, StreamLink, local_pair
from ztm.apps.terminal.model import EXTENSION, VERSION, Ask
from ztm.apps.terminal.plain import PlainEndpoint
from ztm.apps.terminal.service import Terminals
from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    ForbiddenError,
    RefusedError,
    UnreachableError,
    ZtmError,
    from_status,
)
from ztm.model import Peer
from ztm.net.base import Meter
from ztm.net.http1 import connect_answer, connect_head
from ztm.wire.console import MAX_PAYLOAD, Frame, Kind
from ztm.wire.paths import SHELL, fill

ANSWER_SECONDS = 15.0
"""For an endpoint to answer; it may have to start its app first."""


class Face(Protocol):
    """Whoever sits at a session: a command line's terminal, or a web page."""

    async def attached(self, send_now: Callable[[Frame], None]) -> None:
        """The session is open; windows and signals go to `send_now` from now on."""

    async def room(self, credit: asyncio.Semaphore) -> None:
        """Acquire `credit`: wait until another piece of input is wanted.

        Raises:
            BrokenStreamError: the user left.
        """

    async def read(self) -> bytes:
        """The next input; ``b""`` at its end.

        Raises:
            BrokenStreamError: the user left.
        """

    async def linger(self) -> None:
        """The input has ended: take what else the user does, where there is anything.

        Raises:
            BrokenStreamError: the user left.
        """

    async def show(self, kind: Kind, data: bytes) -> None:
        """Show output; `kind` is STDOUT or STDERR.

        Raises:
            BrokenStreamError: the user left.
        """


class Entry:
    """Opens sessions for the local user."""

    def __init__(self, context: AppContext, terminals: Terminals) -> None:
        self._context = context
        self._terminals = terminals

    async def attend(self, endpoint: str, name: str, ask: Ask, face: Face) -> int:
        """Open a session on an endpoint, and carry it to its end; the exit status. Cancelling it ends the session.

        Raises:
            ZtmError: it was refused, cannot be reached, or was lost before its end; the message names the endpoint.
            BrokenStreamError: the user left.
        """
        peer = Peer(self._context.user, self._context.place.id)
        trail = Trail(side="entry", peer=peer, action=ask.action, subject=f"terminal of {name}", target=endpoint)
        with audited(self._context.audit, trail):
            way = await self._open(endpoint, name, ask)
            try:
                status = await _Attendance(way, face, trail.meter, name).run()
            finally:
                way.abort("the session is over")
            trail.reason = f"exit status {status}"
            return status

    async def _open(self, endpoint: str, name: str, ask: Ask) -> Link:
        if endpoint == self._context.place.id:
            return await self._open_here(ask)
        try:
            return await self._open_there(endpoint, ask)
        except ZtmError as error:
            raise _naming(name, error) from None

    async def _open_here(self, ask: Ask) -> Link:
        here, there = local_pair()
        accepted = asyncio.Event()

        def accept() -> Link:
            accepted.set()
            return there

        async def serve() -> None:
            try:
                await self._terminals.serve(ask, Peer(self._context.user, self._context.place.id), accept)
            except ZtmError as error:
                refused.append(error)
            finally:
                there.abort("the session is over")
                accepted.set()

        refused: list[ZtmError] = []
        self._context.spawn(serve())
        await accepted.wait()
        if refused:
            raise refused[0]
        return here

    async def _open_there(self, endpoint: str, ask: Ask) -> Link:
        stream = await self._context.connect(endpoint)
        is_open = False
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                stream.write_now(connect_head(fill(SHELL, ask.query())))
                check_accepted(*await stream.response())
                status, headers = await connect_answer(stream)
            check_accepted(status, headers)
            is_framed = (EXTENSION, VERSION) in headers
            if not is_framed and ask.action == "run":
                raise RefusedError("it runs ZTM v1, which opens shells only and runs no commands")
            is_open = True
        except TimeoutError:
            raise DeadlineError(f"no answer within {ANSWER_SECONDS:g} seconds") from None
        finally:
            if not is_open:
                stream.abort("not accepted")
        return StreamLink(stream) if is_framed else PlainEndpoint(stream)


def _naming(name: str, error: ZtmError) -> ZtmError:
    """The same error with the endpoint's name in front."""
    message = f"endpoint {name}: {error}"
    if isinstance(error, BrokenStreamError):  # that one means that the user has left
        return UnreachableError(message)
    return type(error)(message) if isinstance(error, RefusedError) else from_status(error.status, message)


class _Attendance:
    """One session with its face."""

    def __init__(self, way: Link, face: Face, meter: Meter, name: str) -> None:
        self._way = way
        self._face = face
        self._meter = meter
        self._name = name

    async def run(self) -> int:
        await self._face.attached(self._way.send_now)
        feeding = asyncio.ensure_future(self._feed())
        showing = asyncio.ensure_future(self._show())
        try:
            await asyncio.wait((feeding, showing), return_when=asyncio.FIRST_COMPLETED)
            if feeding.done() and not showing.done():
                feeding.result()  # the user left, or the input has just ended
            return await showing
        finally:
            for task in (feeding, showing):
                task.cancel()
            await asyncio.gather(feeding, showing, return_exceptions=True)

    async def _feed(self) -> None:
        """Send input, as much as is wanted, until its end."""
        while True:
            await self._face.room(self._way.credit)
            data = await self._face.read()
            for begin in range(0, len(data), MAX_PAYLOAD):
                if begin:
                    await self._face.room(self._way.credit)
                await self._send(data[begin : begin + MAX_PAYLOAD])
            if not data:
                await self._send(b"")
                await self._face.linger()
                return

    async def _send(self, data: bytes) -> None:
        try:
            await self._way.send(Frame(Kind.STDIN, data))
        except BrokenStreamError:
            await asyncio.Event().wait()  # why it ended is told the other way
        self._meter.sent += len(data)

    async def _show(self) -> int:
        while frame := await self._next():
            if frame.kind is Kind.STATUS:
                return frame.status
            if frame.kind in (Kind.STDOUT, Kind.STDERR):
                self._meter.received += len(frame.payload)
                await self._face.show(frame.kind, frame.payload)
        raise UnreachableError(f"endpoint {self._name} ended the session, or was lost, before the program's end")

    async def _next(self) -> Frame | None:
        try:
            return await self._way.receive()
        except BrokenStreamError:
            return None
        except ForbiddenError as error:
            raise _naming(self._name, error) from None
