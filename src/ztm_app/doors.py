"""What an app's process answers its agent: one ASGI application with a door for each kind of caller.

Only the agent has the other end of the socket, so what it says about callers is true; nobody else is believed.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from ztm.apps.command import Call, Console, EndpointRef
from ztm.apps.consoles import serve_framed
from ztm.errors import BrokenStreamError, NotFoundError, UsageError
from ztm.model import Address
from ztm.net.scope import PEER, UPGRADE, Message, Receive, Scope, Send, Upgrade, websocket_scope
from ztm.rest.message import JSON, Request, Response
from ztm.rest.router import Router
from ztm.wire import processes, websockets
from ztm.wire.console import Window
from ztm.wire.processes import Ready
from ztm_app.agenthost import AgentHost
from ztm_app.runtime import Runtime


class Doors:
    """See above; `open` once the app has started, or has failed to."""

    def __init__(self) -> None:
        self._opened: asyncio.Future[tuple[Ready, Runtime | None, AgentHost | None]] = (
            asyncio.get_running_loop().create_future()
        )
        self._router = Router()
        self._router.add("GET", processes.READY, self._ready)
        self._router.add("GET", processes.ALIVE, _alive)
        self._router.add("CONNECT", processes.CLI, self._command)
        self._router.add("CONNECT", f"{processes.ACCEPTED}/{{id}}", self._accepted)
        for prefix, of in _APPS.items():
            self._router.mount(prefix, self._door(of, is_peer=prefix == processes.PEER))

    def open(self, ready: Ready, runtime: Runtime | None, host: AgentHost | None) -> None:
        """Answer from now on."""
        self._opened.set_result((ready, runtime, host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the agent."""
        await self._router(scope, receive, send)

    async def _ready(self, _request: Request) -> Response:
        ready, _, _ = await asyncio.shield(self._opened)
        return Response(200, msgspec.json.encode(ready), JSON)

    def _door(self, of: Callable[[Runtime], Any], *, is_peer: bool) -> Any:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            _, runtime, _ = await asyncio.shield(self._opened)
            if runtime is None:
                raise NotFoundError("the app has not started")
            inner = _scope(scope, is_peer=is_peer)
            offer = next((value for name, value in scope["headers"] if name == processes.SOCKET.encode()), None)
            if offer is None:
                await of(runtime)(inner, receive, send)
            else:
                await _serve_websocket(of(runtime), inner, offer.decode("latin-1"))

        return serve

    async def _command(self, request: Request) -> None:
        _, runtime, _ = await asyncio.shield(self._opened)
        if runtime is None:
            raise NotFoundError("the app has not started")
        told = processes.decode_call(request.headers.get(processes.CALL, ""))
        call = Call(
            program=told.program,
            words=tuple(told.words),
            directory=told.directory,
            endpoint=EndpointRef(told.endpoint_id, told.endpoint_name),
            environment=told.environment,
            is_typed=told.is_typed,
        )
        window = Window(told.columns, told.rows) if told.columns and told.rows else None
        running: Callable[[Console], Any] = runtime.command
        await serve_framed(request.upgrade.accept(), running, call, window)

    async def _accepted(self, request: Request) -> None:
        _, runtime, host = await asyncio.shield(self._opened)
        taken = host.ports.get(request.params["id"]) if host is not None else None
        if taken is None or runtime is None:
            raise NotFoundError("the app does not listen there any more")
        stream = request.upgrade.accept()
        try:
            await runtime.here(_owned(taken, stream))
        except BrokenStreamError:
            stream.abort("its other side was cut")


async def _owned(taken: Any, stream: Any) -> None:
    await taken(stream)


_APPS: dict[str, Callable[[Runtime], Any]] = {
    processes.USER: lambda runtime: runtime.user_api,
    processes.PEER: lambda runtime: runtime.peer_api,
    processes.SELF: lambda runtime: runtime.self_api,
}


async def _alive(_request: Request) -> Response:
    return Response(204)


def _scope(scope: Scope, *, is_peer: bool) -> Scope:
    """The scope as the app shall see it: its own headers only, who calls, and where it is mounted.

    Raises:
        UsageError: the agent did not say who calls.
    """
    headers = scope["headers"]
    told = {name: value.decode("latin-1") for name, value in headers if name.startswith(processes.PREFIX.encode())}
    came = told.get(processes.ADDRESS.encode())
    client = Address.parse(came) if came else None
    return {
        **scope,
        "headers": [field for field in headers if field[0] not in told],
        "root_path": unquote(told.get(processes.ROOT.encode(), "")),
        "client": (client.host, client.port) if client else None,
        "server": None,
        "extensions": {PEER: processes.peer_of(headers) if is_peer else None, **_upgrade(scope)},
    }


def _upgrade(scope: Scope) -> dict[str, object]:
    upgrade = scope["extensions"].get(UPGRADE)
    return {UPGRADE: upgrade} if isinstance(upgrade, Upgrade) else {}


async def _serve_websocket(app: Any, scope: Scope, offered: str) -> None:
    """A WebSocket whose messages come as frames on the request's stream."""
    upgrade = scope["extensions"].get(UPGRADE)
    if not isinstance(upgrade, Upgrade):
        raise UsageError("a WebSocket that did not come by CONNECT")
    subprotocols = [unquote(one) for one in offered.split(",") if one]
    extensions = {name: value for name, value in scope["extensions"].items() if name != UPGRADE}
    whole = websocket_scope({**scope, "extensions": extensions}, subprotocols)
    conversation = _Conversation(upgrade)
    await app(whole, conversation.receive, conversation.send)


class _Conversation:
    """ASGI's `receive` and `send` of one WebSocket."""

    def __init__(self, upgrade: Upgrade) -> None:
        self._stream = upgrade.accept()
        self._messages = websockets.Messages()
        self._waiting: list[Message] = [{"type": "websocket.connect"}]

    async def receive(self) -> Message:
        while not self._waiting:
            try:
                data = await self._stream.read()
            except BrokenStreamError:
                data = b""
            self._waiting += self._messages.feed(data) if data else [_GONE]
        return self._waiting.pop(0)

    async def send(self, message: Message) -> None:
        await self._stream.write(websockets.encode(message))


_GONE: Message = {"type": "websocket.disconnect", "code": 1006, "reason": "the agent cut it"}
