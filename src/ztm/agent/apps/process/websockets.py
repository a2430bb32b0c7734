"""A WebSocket of the user's browser, carried to the process of an app: its messages as frames on one stream."""

import asyncio

from ztm.agent.apps.process.forward import head_of_websocket, websocket_answer
from ztm.errors import BrokenStreamError, UnreachableError, UsageError
from ztm.net.base import Exchange, Headers, Session
from ztm.net.scope import Receive, Scope, Send
from ztm.wire import websockets

RESTART = 1012
"""Close code: the service restarts (IANA WebSocket Close Code Number Registry)."""


async def carry_websocket(
    session: Session, door: str, scope: Scope, receive: Receive, send: Send, told: Headers
) -> None:
    """Carry one WebSocket until either side closes it; one whose app ends is closed with 1012.

    Raises:
        UnreachableError: the app did not take the stream.
    """
    exchange = session.open(head_of_websocket(door, scope, told))
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
        await _pull(exchange, send)
    finally:
        if pushing is not None:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
        if not exchange.is_over:
            exchange.abort("the WebSocket is over")


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


async def _pull(exchange: Exchange, send: Send) -> None:
    """From the app to the browser."""
    messages, is_accepted, is_over = websockets.Messages(), False, False
    try:
        while data := await exchange.read():
            for message in messages.feed(data):
                is_accepted = is_accepted or message["type"] == "websocket.accept"
                is_over = is_over or message["type"] == "websocket.close"
                await send(websocket_answer(message))
    except (BrokenStreamError, UsageError, RuntimeError):
        if is_accepted and not is_over:
            await _close(send)


async def _close(send: Send) -> None:
    try:
        await send({"type": "websocket.close", "code": RESTART, "reason": "the app ended"})
    except (BrokenStreamError, RuntimeError):
        return  # it was closed before
