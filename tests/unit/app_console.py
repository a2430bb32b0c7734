"""An app's commands run without an agent: a console in memory, and an app whose answers are canned."""

import json
from collections.abc import Callable
from typing import Any, cast

from ztm.apps.base import AppContext
from ztm.apps.command import AppCommands, Call, EndpointRef
from ztm.apps.commandline import run_command
from ztm.model import Endpoint
from ztm.net.scope import Receive, Scope, Send
from ztm.wire.console import Window


class MemoryConsole:
    """Keeps what is printed; `typed` is its standard input."""

    window: Window | None = None

    def __init__(self, call: Call, typed: bytes = b"") -> None:
        self.call = call
        self.out = self.err = b""
        self._typed = [typed] if typed else []

    def on_window(self, changed: Callable[[Window], None]) -> None: ...

    def on_interrupt(self, interrupted: Callable[[], None]) -> None: ...

    async def read(self) -> bytes:
        return self._typed.pop() if self._typed else b""

    async def write(self, data: bytes) -> None:
        self.out += data

    async def complain(self, data: bytes) -> None:
        self.err += data

    async def pass_keys(self, raw: bool) -> None: ...


class CannedApp:
    """An app's API: answers by method and target, and keeps what was asked; and the mesh it is in."""

    mesh = "m"

    def __init__(self, *endpoints: EndpointRef) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self._places = endpoints
        self._answers: dict[tuple[str, str], tuple[int, Any]] = {}

    def answer(self, method: str, target: str, body: Any = None, status: int = 200) -> None:
        """Answer this from now on."""
        self._answers[method, target] = (status, body)

    def sent(self, method: str) -> list[tuple[str, Any]]:
        """Target and body of every request of `method`."""
        return [(target, body) for asked, target, body in self.requests if asked == method]

    async def endpoints(self, *, id: str = "", name: str = "") -> list[Endpoint]:  # noqa: A002
        chosen = [one for one in self._places if not (id or name) or one.id == id or one.name == name]
        return [Endpoint(id=one.id, name=one.name, user="root") for one in chosen]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = scope["raw_path"].decode() + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        body = (await receive())["body"]
        self.requests.append((scope["method"], target, json.loads(body) if body else ""))
        missing = (404, {"status": 404, "message": ""})
        status, answer = self._answers.get((scope["method"], target), missing)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"" if answer is None else json.dumps(answer).encode()})

    async def run(
        self, program: str, line: str, at: EndpointRef, commands: AppCommands, notes: str
    ) -> tuple[int, str, str]:
        """Run one command line; its exit status, output and complaints."""
        console = MemoryConsole(Call(program=program, words=tuple(line.split()), endpoint=at, environment={}))
        status = await run_command(cast("AppContext", self), self, console, commands, notes)
        return status, console.out.decode(), console.err.decode()
