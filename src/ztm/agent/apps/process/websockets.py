"""WebSockets of the user's browsers, carried to the process of an app: their messages as frames on one stream each.

How many there are, and what their unfinished messages hold, is bounded; what the app sends is checked first.
"""

import asyncio

from ztm.agent.apps.process.forward import head_of_websocket, websocket_answer
from ztm.agent.apps.process.load import Load
from ztm.errors import BrokenStreamError, LimitError, UnreachableError, UsageError
from ztm.net.base import Exchange, Headers, Session
from ztm.net.scope import Receive, Scope, Send
from ztm.wire import websockets

RESTART, FAILED = 1012, 1011
"""Close codes: the service restarts; it failed (IANA WebSocket Close Code Number Registry)."""


class WebSockets:
    """Those of one app."""

    def __init__(self, app: str, most: int, load: Load) -> None:
        self._app = app
        self._most = most
        self._load = load
        self._open = 0

    async def carry(
        self, session: Session, door: str, scope: Scope, receive: Receive, send: Send, told: Headers
    ) -> None:
        """Carry one until either side closes it; one whose app ends is closed with 1012, one that it abuses with 1011.

        Raises:
            LimitError: there are too many.
            UnreachableError: the app did not take the stream.
            BrokenStreamError: it answered with what is no answer.
        """
        if self._open >= self._most:
            raise LimitError(f"app {self._app} has {self._most} WebSockets open: close other pages of it first")
        self._open += 1
        try:
            await self._carry(session.open(head_of_websocket(door, scope, told)), receive, send)
        finally:
            self._open -= 1

    async def _carry(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        pushing: asyncio.Future[None] | None = None
        try:
            await receive()  # its "connect", which the process makes by itself
            try:
                status, _ = await exchange.response()
            except BrokenStreamError as error:
                raise UnreachableError(f"the app ended before it took a WebSocket: {error}") from error
            if status != 200:
                raise UnreachableError(f"the app does not take WebSockets now (it answered {status})")
            pushing = asyncio.ensure_future(_push(exchange, receive))
            await self._pull(exchange, send)
        finally:
            if pushing is not None:
                pushing.cancel()
                await asyncio.gather(pushing, return_exceptions=True)
            if not exchange.is_over:
                exchange.abort("the WebSocket is over")

    async def _pull(self, exchange: Exchange, send: Send) -> None:
        """From the app to the browser."""
        carried = _Carried(self._app, send)
        try:
            with self._load.part() as unfinished:
                while data := await _read(exchange):
                    unfinished.become(carried.held + len(data))
                    await carried.take(data)
                    unfinished.become(carried.held)
            await carried.end(RESTART, "the app ended")
        except (BrokenStreamError, LimitError, UsageError, RuntimeError) as error:
            if not carried.is_accepted:
                raise BrokenStreamError(f"app {self._app} did not take the WebSocket: {error}") from error
            await carried.end(FAILED, "the app sent what no WebSocket does, or too much of it")


class _Carried:
    """What the app sent, on its way to the browser."""

    def __init__(self, app: str, send: Send) -> None:
        self._app = app
        self._send = send
        self._messages = websockets.Messages()
        self._is_over = False
        self.is_accepted = False

    @property
    def held(self) -> int:
        """Bytes of an unfinished message."""
        return self._messages.held

    async def take(self, data: bytes) -> None:
        for message in self._messages.feed(data):
            await self._send(websocket_answer(self._app, message))
            kind = message["type"]
            self.is_accepted = self.is_accepted or kind == "websocket.accept"
            self._is_over = self._is_over or kind == "websocket.close" or not message.get("more_body", True)

    async def end(self, code: int, reason: str) -> None:
        """Close what is open, if it was not closed before."""
        if self._is_over or not self.is_accepted:
            return
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (BrokenStreamError, RuntimeError):
            return  # it was closed before


async def _read(exchange: Exchange) -> bytes:
    """The next bytes; nothing once the app has ended or is gone."""
    try:
        return await exchange.read()
    except BrokenStreamError:
        return b""


async def _push(exchange: Exchange, receive: Receive) -> None:
    """From the browser to the app."""
    try:
        while True:
            message = await receive()
            await exchange.write(websockets.encode(message))
            if message["type"] == "websocket.disconnect":
                exchange.end()
                return
    except BrokenStreamError:
        return
