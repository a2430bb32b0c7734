"""Having scripts run: here, on another endpoint of ours, or on one of v1, each time on a stream of its own.

A run's stream is asked for at the endpoint that the run is for, used once and then ended, so that no run can come to
another endpoint (spec apps-network 4.3, S1). Whether a script may be run is decided where it runs.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.script.client import Client
from ztm.apps.script.exit import Exit
from ztm.apps.script.legacy import LOST, run_legacy
from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.model import JS_SUFFIX, Order, check_size, subject_of
from ztm.apps.streams.reach import ERROR_HEADER, check_accepted, refusal
from ztm.errors import BrokenStreamError, DeadlineError, RefusedError, UnreachableError, from_status
from ztm.model import Peer
from ztm.net.base import Exchange, Meter, Stream
from ztm.net.http1 import connect_answer, connect_head
from ztm.wire.console import MAX_PAYLOAD, Frame, Frames, Kind

EXT_HEADER = "ztm-ext"
"""In the answer of an endpoint of ours: frames follow (spec apps-network 4.3)."""
EXT = "1"
LEGACY = "it is of ztm v1, which runs PipyJS files only (name one that ends with .js)"


class Entry:
    """This endpoint as the one where scripts come from."""

    def __init__(self, context: AppContext, exit_: Exit, limits: ScriptLimits) -> None:
        self._context = context
        self._exit = exit_
        self._limits = limits

    async def run(self, endpoint: str, order: Order, script: bytes, client: Client) -> int:
        """Run a script on an endpoint for the own user; its exit status. Cancelling it stops the script there.

        Raises:
            ForbiddenError: the endpoint does not allow it.
            LimitError: it runs too many already.
            RefusedError: it runs no scripts of this language.
            TooLargeError: the script or its arguments are too large.
            UnreachableError: no hub leads there now, or it was lost before the script ended.
            DeadlineError: it does not answer.
            BrokenStreamError: the client went away.
        """
        check_size(script, order.name)
        peer = Peer(self._context.user, self._context.place.id)
        trail = Trail(side="entry", peer=peer, action="run", subject=subject_of(order.name, script), target=endpoint)
        with audited(self._context.audit, trail):
            status = await self._run(endpoint, order, script, client, trail)
            trail.reason = f"exit status {status}"
            return status

    async def _run(self, endpoint: str, order: Order, script: bytes, client: Client, trail: Trail) -> int:
        if endpoint == self._context.place.id:
            if order.language == "js":
                raise RefusedError(f"this endpoint runs Python scripts only, and {order.name} ends with {JS_SUFFIX}")
            return await self._exit.run_here(trail.peer, order, script, client)
        if order.language == "js":
            return await self._run_legacy(endpoint, order, script, client, trail.meter)
        stream = await self._accepted(endpoint, order)
        try:
            return await _Carrier(stream, endpoint, client, trail.meter).run(script)
        finally:
            stream.abort("the run is over")

    async def _run_legacy(self, endpoint: str, order: Order, script: bytes, client: Client, meter: Meter) -> int:
        stream = await self._context.connect(endpoint)
        try:
            with self._answering(endpoint):
                async with asyncio.timeout(self._limits.answer_seconds):
                    check_accepted(*await stream.response())
            meter.sent += len(script)
            return await run_legacy(stream, endpoint, order, script, client, meter)
        finally:
            stream.abort("the run is over")

    async def _accepted(self, endpoint: str, order: Order) -> Exchange:
        """A stream on which the endpoint waits for the script; nothing of the script was sent yet."""
        head = connect_head(order.target)
        stream = await self._context.connect(endpoint)
        is_accepted = False
        try:
            with self._answering(endpoint):
                async with asyncio.timeout(self._limits.answer_seconds):
                    stream.write_now(head)
                    check_accepted(*await stream.response())
                    status, headers = await connect_answer(stream)
            fields = dict(headers)
            if fields.get(EXT_HEADER) != EXT and ERROR_HEADER not in fields:
                raise RefusedError(f"endpoint {endpoint} cannot run {order.name}: {LEGACY}")
            if not 200 <= status < 300:
                raise from_status(status, refusal(status, headers))
            is_accepted = True
            return stream
        finally:
            if not is_accepted:
                stream.abort("not accepted")

    @contextlib.contextmanager
    def _answering(self, endpoint: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            seconds = self._limits.answer_seconds
            raise DeadlineError(f"endpoint {endpoint} did not answer within {seconds:g} seconds") from None
        except BrokenStreamError as error:  # as such, it would mean that the client went away
            raise UnreachableError(f"endpoint {endpoint} cannot be reached: {error}") from None


class _Carrier:
    """Carries one run between its client here and the stream to the endpoint where it runs."""

    def __init__(self, stream: Stream, endpoint: str, client: Client, meter: Meter) -> None:
        self._stream = stream
        self._endpoint = endpoint
        self._client = client
        self._meter = meter
        self._wanted = asyncio.Semaphore(0)
        """Pieces of standard input that the other side has asked for."""

    async def run(self, script: bytes) -> int:
        """Send the script and its input, and pass on what comes; the exit status.

        Raises:
            UnreachableError: the other side was lost before it told the status.
            BrokenStreamError: the client went away.
        """
        loop = asyncio.get_running_loop()
        self._client.on_interrupt(lambda: self._stream.write_now(Frame(Kind.INTERRUPT).encode()))
        sending = loop.create_task(self._send(script))
        receiving = loop.create_task(self._receive())
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                sending.result()
            return await receiving
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send(self, script: bytes) -> None:
        for begin in range(0, len(script), MAX_PAYLOAD):
            await self._write(Kind.FILE, script[begin : begin + MAX_PAYLOAD])
        await self._write(Kind.FILE, b"")
        data = b""
        while True:
            await self._wanted.acquire()
            data = data or await self._client.read()
            await self._write(Kind.STDIN, data[:MAX_PAYLOAD])
            if not data:
                return
            data = data[MAX_PAYLOAD:]

    async def _write(self, kind: Kind, data: bytes) -> None:
        self._meter.sent += len(data)
        try:
            await self._stream.write(Frame(kind, data).encode())
        except BrokenStreamError:
            await asyncio.Event().wait()  # how it ended is told the other way

    async def _receive(self) -> int:
        frames = Frames()
        while data := await self._read():
            for frame in frames.feed(data):
                if frame.kind is Kind.STATUS:
                    return frame.status
                await self._obey(frame)
        raise UnreachableError(f"endpoint {self._endpoint} {LOST}")

    async def _read(self) -> bytes:
        """The next bytes; none where the stream has ended, in whichever way."""
        try:
            return await self._stream.read()
        except BrokenStreamError:
            return b""

    async def _obey(self, frame: Frame) -> None:
        if frame.kind is Kind.WANT:
            self._wanted.release()
            return
        self._meter.received += len(frame.payload)
        if frame.kind is Kind.STDOUT:
            await self._client.out(frame.payload)
        elif frame.kind is Kind.STDERR:
            await self._client.err(frame.payload)
