"""A command of an app, run in its process for a console of the agent's: frames both ways on one stream.

Input goes over piece by piece as the app asks for it, so that none is taken that it does not read.
"""

import asyncio

from ztm.apps.command import Console
from ztm.apps.streams.reach import check_accepted
from ztm.errors import BrokenStreamError, UnreachableError
from ztm.net.base import Exchange, Session
from ztm.wire.console import MAX_PAYLOAD, Frame, Frames, Kind, Window, window_frame
from ztm.wire.processes import CALL, CLI, CallRecord, encode_call


async def carry_command(session: Session, console: Console) -> int:
    """Run the command that `console` was opened for; its exit status. Cancelling it ends the command.

    Raises:
        UsageError: the command line is too long.
        UnreachableError: the app ended before the command did.
        BrokenStreamError: the caller went away.
    """
    head = [(":method", "CONNECT"), (":scheme", "http"), (":path", CLI), (CALL, encode_call(_record(console)))]
    exchange = session.open(head)
    carrying = _Carrying(exchange, console)
    try:
        try:
            check_accepted(*await exchange.response())
        except BrokenStreamError as error:
            raise UnreachableError(f"the app ended before it took the command: {error}") from error
        return await carrying.until_status()
    finally:
        await carrying.close()


def _record(console: Console) -> CallRecord:
    call, window = console.call, console.window
    return CallRecord(
        program=call.program,
        words=list(call.words),
        directory=call.directory,
        endpoint_id=call.endpoint.id,
        endpoint_name=call.endpoint.name,
        environment=dict(call.environment),
        columns=window.columns if window else 0,
        rows=window.rows if window else 0,
        is_typed=call.is_typed,
    )


class _Carrying:
    """One command on its way."""

    def __init__(self, exchange: Exchange, console: Console) -> None:
        self._exchange = exchange
        self._console = console
        self._typed = b""
        self._feeding: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        console.on_window(self._resized)
        console.on_interrupt(self._interrupted)

    def _resized(self, window: Window) -> None:
        self._exchange.write_now(window_frame(window).encode())

    def _interrupted(self) -> None:
        self._exchange.write_now(Frame(Kind.INTERRUPT).encode())

    async def until_status(self) -> int:
        frames = Frames()
        while True:
            try:
                data = await self._exchange.read()
            except BrokenStreamError as error:
                raise UnreachableError(f"the app ended before its command did: {error}") from error
            if not data:
                raise UnreachableError("the app ended before its command did")
            for frame in frames.feed(data):
                if frame.kind is Kind.STATUS:
                    return frame.status
                await self._taken(frame)

    async def _taken(self, frame: Frame) -> None:
        if frame.kind is Kind.STDOUT:
            await self._console.write(frame.payload)
        elif frame.kind is Kind.STDERR:
            await self._console.complain(frame.payload)
        elif frame.kind is Kind.RAW:
            await self._console.pass_keys(frame.payload == b"\1")
        elif frame.kind is Kind.WANT and (self._feeding is None or self._feeding.done()):
            self._feeding = asyncio.ensure_future(self._feed())

    async def _feed(self) -> None:
        """One piece of input, or its end."""
        try:
            data = self._typed or await self._console.read()
            self._typed = data[MAX_PAYLOAD:]
            await self._exchange.write(Frame(Kind.STDIN, data[:MAX_PAYLOAD]).encode())
        except BrokenStreamError as error:
            self._exchange.abort(str(error))

    async def close(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.gather(self._feeding, return_exceptions=True)
        if not self._exchange.is_over:
            self._exchange.abort("the command is over")
