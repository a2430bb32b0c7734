"""A WebSocket as an ASGI application sees it: the handshake, messages both ways, and the end.

Until the application accepts, all is plain HTTP and a refusal is an answer with a status. An application that does not
receive holds its peer back, one whose peer does not read waits in `send`, and one that fails harms no other.
It decides nothing about who may connect.

Source: RFC 6455 section 4.2; https://asgi.readthedocs.io, WebSocket message format 2.4.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable

from wsproto.utilities import generate_accept_token

from ztm.errors import BrokenStreamError, ForbiddenError, UsageError
from ztm.net.base import Stream
from ztm.net.reply import RawHeaders, Reply, error_body, run
from ztm.net.scope import DENIAL, ASGIApp, Message, Scope, websocket_scope
from ztm.net.websocket_frames import Closed, Frames
from ztm.net.websocket_inbox import Inbox

VERSION = b"13"
NORMAL, FAILED = 1000, 1011

Switch = Callable[[RawHeaders], None]
"""Sends the 101 with these header fields."""


class GoneError(BrokenStreamError, OSError):
    """The peer has left; an OSError, as ASGI promises to applications that know nothing of ztm."""


async def serve_websocket(
    stream: Stream, app: ASGIApp, scope: Scope, denial: Reply, switch: Switch, message_bytes: int
) -> None:
    """Serve the WebSocket whose handshake has the HTTP `scope`, until it is over or denied.

    `denial` answers before it is accepted. Cancelling leaves the stream to its owner.
    """
    try:
        token, subprotocols = _handshake(scope["headers"])
    except UsageError as error:
        headers = [(b"content-type", b"application/json"), (b"sec-websocket-version", VERSION)]
        await denial.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await denial.send({"type": "http.response.body", "body": error_body(error.status, str(error))})
        return
    made = websocket_scope(scope, subprotocols)
    conversation = _Conversation(stream, denial, switch, token, subprotocols, message_bytes)
    listening = asyncio.create_task(conversation.listen())
    try:
        await run(app, made, conversation.receive, conversation)
        if conversation.is_accepted:
            conversation.close(NORMAL)
            await listening
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def _handshake(headers: RawHeaders) -> tuple[bytes, list[str]]:
    """The token that accepts this handshake, and the subprotocols it offers.

    Raises:
        UsageError: it is of another version, or malformed.
    """
    if [value for name, value in headers if name == b"sec-websocket-version"] != [VERSION]:
        raise UsageError(f"a WebSocket of another version: this is version {VERSION.decode()} (RFC 6455)")
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    if len(keys) != 1 or not _is_key(keys[0]):
        raise UsageError("a WebSocket needs one sec-websocket-key, of 16 bytes in base64")
    offers = b",".join([value for name, value in headers if name == b"sec-websocket-protocol"]).split(b",")
    return generate_accept_token(keys[0]), [offer.strip().decode("latin-1") for offer in offers if offer.strip()]


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


class _Conversation:
    """One application with one peer: ASGI's messages on one side, frames on the other."""

    def __init__(
        self, stream: Stream, denial: Reply, switch: Switch, token: bytes, subprotocols: list[str], message_bytes: int
    ) -> None:
        self._denial = denial
        self._switch = switch
        self._token = token
        self._subprotocols = subprotocols
        self._frames = Frames(stream, message_bytes)
        self._inbox = Inbox()
        self._is_told = False
        self._is_denied = False
        self.is_accepted = False
        """Whether the 101 has been sent."""

    @property
    def is_over(self) -> bool:
        """See `reply.Outcome`: an accepted WebSocket needs no closing word of the application."""
        return self.is_accepted or self._denial.is_over

    # ------------------------------------------------------------------ from the peer

    async def listen(self) -> None:
        """Read for the application until the WebSocket is over."""
        end = Closed()
        try:
            while not isinstance(told := await self._frames.read(), Closed):
                await self._inbox.put(told)
            end = told
        except BrokenStreamError as error:
            end = Closed(reason=str(error))
        finally:
            self._inbox.end(end)

    async def receive(self) -> Message:
        """The ASGI `receive`."""
        if not self._is_told:
            self._is_told = True
            return {"type": "websocket.connect"}
        told = await self._inbox.take()
        if isinstance(told, Closed):
            return {"type": "websocket.disconnect", "code": told.code, "reason": told.reason}
        return {"type": "websocket.receive", "text" if isinstance(told, str) else "bytes": told}

    # ------------------------------------------------------------------ from the application

    async def send(self, message: Message) -> None:
        """The ASGI `send`.

        Raises:
            GoneError: the peer has left, or was told that it is over.
            RuntimeError: the message makes no sense here.
        """
        kind: str = message["type"]
        if self.is_accepted:
            await self._say(kind, message)
        elif kind == "websocket.accept" and not self._is_denied:
            self._accept(message)
        elif kind == "websocket.close" and not self._is_denied:
            await self.fail(ForbiddenError.status, "the application does not take this WebSocket")
        elif kind.startswith(f"{DENIAL}."):
            self._is_denied = True
            await self._denial.send({**message, "type": kind.removeprefix("websocket.")})
            self._note_denied()
        else:
            raise RuntimeError(f"{kind} out of order")

    def _accept(self, message: Message) -> None:
        if self._inbox.is_over:
            raise GoneError("the peer left before its WebSocket was accepted")
        headers = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", self._token)]
        chosen = message.get("subprotocol")
        if chosen is not None:
            if chosen not in self._subprotocols:
                raise RuntimeError(f"the subprotocol {chosen!r} was not offered")
            headers.append((b"sec-websocket-protocol", chosen.encode("latin-1")))
        for name, value in message.get("headers") or ():
            if name.lower() in _OURS or name.lower().startswith(b"sec-websocket-"):
                raise RuntimeError(f"the header {name!r} is not for the application to set")
            headers.append((bytes(name), bytes(value)))
        self._switch(headers)
        self.is_accepted = True
        self._frames.begin()

    async def _say(self, kind: str, message: Message) -> None:
        if kind == "websocket.send":
            text, data = message.get("text"), message.get("bytes")
            if (text is None) == (data is None):
                raise RuntimeError("a message is either text or bytes")
            try:
                await self._frames.send(bytes(data or b"") if text is None else text)
            except BrokenStreamError as error:
                raise GoneError(str(error)) from error
        elif kind == "websocket.close":
            code = message.get("code", NORMAL)
            if not _may_send(code):
                raise RuntimeError(f"{code} is not a code to close with")
            self.close(code, message.get("reason") or "")
        else:
            raise RuntimeError(f"{kind} out of order")

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close, and drop what the application has not received. Idempotent."""
        self._frames.close(code, reason)
        self._inbox.shut()

    async def fail(self, status: int, message: str) -> None:
        """Answer with an error; once accepted, close with 1011."""
        if self.is_accepted:
            self.close(FAILED, message)
            return
        self._is_denied = True
        await self._denial.fail(status, message)
        self._note_denied()

    def _note_denied(self) -> None:
        if self._denial.is_over:
            self._inbox.end(Closed())


_OURS = (b"upgrade", b"connection", b"content-length", b"transfer-encoding")
"""Header fields of a 101 that are the server's (RFC 9110 section 7.6.1; an answer without body)."""


def _may_send(code: object) -> bool:
    """Whether a close frame may hold this code (RFC 6455 section 7.4)."""
    return isinstance(code, int) and (1000 <= code <= 1014 or 3000 <= code <= 4999) and code not in (1004, 1005, 1006)
