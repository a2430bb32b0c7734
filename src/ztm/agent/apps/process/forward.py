"""Requests of the user, of peers and of other apps on their way to an app's process, and the answers back.

Nothing of a request is kept but what is on its way: who reads slowly holds the other side back. What callers write
about themselves is dropped; who they are is said by the agent alone.
"""

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from ztm.agent.apps.process.answers import check_answer, check_message
from ztm.apps.audit import Trail
from ztm.errors import BrokenStreamError, UnreachableError
from ztm.net.base import Exchange, Headers, Meter, Network, Session
from ztm.net.reply import RawHeaders
from ztm.net.scope import UPGRADE, Message, Receive, Scope, Send, Upgrade, is_websocket
from ztm.wire import processes

_DROPPED = frozenset((
    *(b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"),
    *(b"content-length", b"authorization", b"cookie", b"proxy-authorization"),
))  # fmt: skip
"""Of requests: what belongs to the hop, and what opened the agent's own door."""
_KEPT_BACK = frozenset((
    *("set-cookie", "clear-site-data", "strict-transport-security", "service-worker-allowed"),
    *("connection", "keep-alive", "transfer-encoding", "upgrade", "ztm-agent"),
))  # fmt: skip
"""Of answers: what would speak for the agent's own address to a browser."""


class Forward:
    """Carries requests to whichever session leads to the process now."""

    def __init__(self, name: str, network: Network, session: Callable[[], Session]) -> None:
        self._name = name
        self._network = network
        self._session = session

    async def serve(
        self, door: str, scope: Scope, receive: Receive, send: Send, *, told: Headers = (), trail: Trail | None = None
    ) -> None:
        """Pass one request to `door` of the process, with header fields that tell who calls; notes bytes in `trail`.

        Raises:
            UnreachableError: no process is ready, or it ended before it answered.
            BrokenStreamError: it ended within its answer, answered with what is none, or the caller left.
        """
        session, meter = self._session(), trail.meter if trail is not None else Meter()
        upgrade = scope["extensions"].get(UPGRADE)
        if isinstance(upgrade, Upgrade):
            await self._connect(session.open(_head(door, scope, told)), upgrade, send, meter, trail)
            return
        first = await receive()
        if first["type"] != "http.request":
            raise BrokenStreamError("the caller left")
        body, has_more = first.get("body", b""), first.get("more_body", False)
        exchange = session.open(_head(door, scope, told), end=not (body or has_more))
        sending = asyncio.ensure_future(_send_body(exchange, body, has_more, receive, meter))
        try:
            await self._answer(exchange, send, meter, trail)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if not exchange.is_over:
                exchange.abort("the caller left")

    async def _answer(self, exchange: Exchange, send: Send, meter: Meter, trail: Trail | None) -> None:
        status, headers = await self._response(exchange)
        _note(status, headers, trail)
        await send({"type": "http.response.start", "status": status, "headers": _answered(headers)})
        while data := await exchange.read():
            meter.received += len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _response(self, exchange: Exchange) -> tuple[int, Headers]:
        try:
            status, headers = await exchange.response()
        except BrokenStreamError as error:
            raise UnreachableError(f"app {self._name} ended before it answered: {error}") from error
        check_answer(self._name, status, headers)
        return status, headers

    async def _connect(
        self, exchange: Exchange, upgrade: Upgrade, send: Send, meter: Meter, trail: Trail | None
    ) -> None:
        is_taken = False
        try:
            status, headers = await self._response(exchange)
            _note(status, headers, trail)
            if status == 200:
                is_taken = True
                fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in _answered(headers)]
                await self._network.splice(upgrade.accept(fields), exchange, meter)
                return
            await send({"type": "http.response.start", "status": status, "headers": _answered(headers)})
            while data := await exchange.read():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            if not is_taken and not exchange.is_over:
                exchange.abort("the caller left")


async def _send_body(exchange: Exchange, body: bytes, has_more: bool, receive: Receive, meter: Meter) -> None:
    """Send a request's body on, and then cut the stream if the caller leaves before the answer."""
    try:
        while True:
            if body:
                meter.sent += len(body)
                await exchange.write(body)
            if not has_more:
                break
            message = await receive()
            if message["type"] != "http.request":
                exchange.abort("the caller left within its body")
                return
            body, has_more = message.get("body", b""), message.get("more_body", False)
        exchange.end()
    except BrokenStreamError:
        return  # whoever reads the answer finds out


def _note(status: int, headers: Headers, trail: Trail | None) -> None:
    """What the app decided about a peer."""
    if trail is None:
        return
    trail.is_allowed = status not in (401, 403)
    told = next((value for name, value in headers if name == processes.RULE), "")
    trail.rule = told[:200] or ("the app's own" if trail.is_allowed else "refused by the app")
    if status >= 400:
        trail.reason = f"answered {status}"


def _head(door: str, scope: Scope, told: Headers) -> Headers:
    """The head of the request to the process."""
    query = scope["query_string"].decode("latin-1")
    target = f"{door}{scope['raw_path'].decode('latin-1')}{'?' + query if query else ''}"
    method = "CONNECT" if is_websocket(scope) else scope["method"]
    pseudo = [(":method", method), (":scheme", "http"), (":path", target)]
    return [*pseudo, *_passed(scope["headers"]), *_where(scope), *told]


def _passed(headers: RawHeaders) -> Headers:
    prefix = processes.PREFIX.encode()
    kept = [(name.lower(), value) for name, value in headers]
    return [
        (name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
        for name, value in kept
        if name not in _DROPPED and not name.startswith((prefix, b":", b"sec-websocket-"))
    ]


def _where(scope: Scope) -> Headers:
    """Below which path the app is mounted, and where the request comes from."""
    told = [(processes.ROOT, quote(scope["root_path"], safe="/%"))]
    client = scope.get("client")
    if client is not None:
        host = f"[{client[0]}]" if ":" in client[0] else client[0]
        told.append((processes.ADDRESS, f"{host}:{client[1]}"))
    return told


def _answered(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("utf-8"), value.encode("utf-8"))
        for name, value in headers
        if name not in _KEPT_BACK and not name.startswith((":", processes.PREFIX))
    ]


def head_of_websocket(door: str, scope: Scope, told: Headers) -> Headers:
    """The head of the request by which a WebSocket is opened."""
    offered = ",".join(quote(one, safe="") for one in scope["subprotocols"])
    return [*_head(door, scope, told), (processes.SOCKET, offered)]


def websocket_answer(app: str, message: Message) -> Message:
    """A message of the process of `app` with no header field that would speak for the agent.

    Raises:
        BrokenStreamError: it is none that a WebSocket's application may send.
    """
    check_message(app, message)
    if "headers" not in message:
        return message
    kept = [(name, value) for name, value in message["headers"] if name.lower().decode("latin-1") not in _KEPT_BACK]
    return {**message, "headers": kept}
