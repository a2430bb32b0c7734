"""``GET /api/endpoints/{ep}/shell`` as a WebSocket: a session for the web page.

Binary messages are input and output. Texts are JSON: ``{"resize": [columns, rows]}``, ``{"signal": number}`` and
``{"end": true}`` (of the input) come, ``{"exit": status}`` and ``{"error": reason, "status": HTTP status}`` go, and
``{"waiting": true}`` now and then while a program does not take its input. A refusal comes as such a text too: a page
cannot see the status of a handshake.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ztm.apps.base import AppContext
from ztm.apps.terminal.entry import Entry
from ztm.apps.terminal.model import Ask
from ztm.errors import BrokenStreamError, UsageError, ZtmError
from ztm.model import check_uuid
from ztm.net.asgi import Receive, Scope, Send, is_websocket
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire.console import Frame, Kind, Window, window_frame
from ztm.wire.paths import split

NORMAL, REFUSED = 1000, 4000
"""Codes of a close (RFC 6455 section 7.4); those from 4000 are an application's own."""
LOOK_EVERY = 15.0
"""Seconds between two looks at whether a page is still there whose input waits."""

_Size = Annotated[int, Meta(ge=0, le=0xFFFF)]


class Told(Struct, forbid_unknown_fields=True):
    """What a text of the page says."""

    resize: tuple[_Size, _Size] | UnsetType = UNSET
    signal: Annotated[int, Meta(ge=1, le=64)] | UnsetType = UNSET
    end: bool = False


class Page:
    """The web page's form of a session; an ASGI application, mounted where ``{ep}`` is known."""

    def __init__(self, context: AppContext, entry: Entry) -> None:
        self._context = context
        self._entry = entry
        self._refusing = Router(local=True)
        self._refusing.add("GET", "/", _refuse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket; anything else is refused."""
        if not is_websocket(scope):
            await self._refusing(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        face = _PageFace(receive, send)
        try:
            status = await self._attend(scope, face)
            await face.tell({"exit": status})
            await send({"type": "websocket.close", "code": NORMAL})
        except BrokenStreamError:
            return  # the page was left
        except ZtmError as error:
            await face.tell({"error": str(error), "status": error.status})
            await send({"type": "websocket.close", "code": REFUSED})

    async def _attend(self, scope: Scope, face: "_PageFace") -> int:
        endpoint = check_uuid("endpoint", scope["path_params"]["ep"])
        _, query = split(f"/?{scope['query_string'].decode('utf-8', 'replace')}")
        ask = Ask.read(query)
        if endpoint == self._context.place.id:
            return await self._entry.attend(endpoint, self._context.place.name, ask, face)
        return await self._entry.attend(endpoint, endpoint, ask, face)


async def _refuse(request: Request) -> Response:
    raise UsageError(f"{request.raw_path} is a WebSocket: ask for it with Upgrade (RFC 6455)")


class _PageFace:
    """See `entry.Face`."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._send_now: Callable[[Frame], None] = lambda _frame: None

    async def attached(self, send_now: Callable[[Frame], None]) -> None:
        self._send_now = send_now

    async def read(self) -> bytes:
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive":
                raise BrokenStreamError("the page was left")
            if message.get("bytes"):
                return bytes(message["bytes"])
            if message.get("text") is not None and self._obey(message["text"]):
                return b""

    def _obey(self, text: str) -> bool:
        """Whether the text ends the input."""
        try:
            told = msgspec.json.decode(text, type=Told)
        except msgspec.DecodeError as error:
            raise UsageError(f"not a message of a terminal: {error}") from None
        if told.resize is not UNSET:
            self._send_now(window_frame(Window(*told.resize)))
        if told.signal is not UNSET:
            self._send_now(Frame(Kind.SIGNAL, bytes([told.signal])))
        return told.end

    async def room(self, credit: asyncio.Semaphore) -> None:
        # a page whose messages are not received cannot be heard to leave: look now and then
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await credit.acquire()
                    return
            except TimeoutError:
                await self.tell({"waiting": True})

    async def linger(self) -> None:
        while True:  # signals, sizes, and that the page is left
            await self.read()

    async def show(self, kind: Kind, data: bytes) -> None:  # noqa: ARG002 - a page has one screen
        await self._send({"type": "websocket.send", "bytes": data})

    async def tell(self, told: dict[str, object]) -> None:
        """Send a text."""
        await self._send({"type": "websocket.send", "text": msgspec.json.encode(told).decode()})
