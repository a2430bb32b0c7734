"""The small mesh with the terminal app on every endpoint, and people who type at it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app_mesh import OWN_IDS, SmallMesh, ask

from ztm.apps.audit import Trail
from ztm.apps.command import Call, EndpointRef
from ztm.apps.terminal.api import TerminalApp
from ztm.apps.terminal.model import USUAL_WINDOW
from ztm.errors import BrokenStreamError
from ztm.model import Peer
from ztm.wire.console import Window

PROMPT = "ztm-test$ "
SHELL = "/bin/sh"


class Person:
    """Somebody at a terminal or with pipes; see `apps.command.Console`."""

    def __init__(self, call: Call, window: Window | None) -> None:
        self.call = call
        self.window = window
        self.out, self.err = bytearray(), b""
        self.modes: list[bool] = []
        self.interrupt: Callable[[], None] = lambda: None
        self._resized: list[Callable[[Window], None]] = []
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._shown = asyncio.Event()
        self.room = asyncio.Event()
        """Cleared while nothing more is looked at."""
        self.room.set()
        self.has_left = False

    def type(self, text: str | bytes) -> None:
        """Type, without waiting; an empty text is the end of the input."""
        self._typed.put_nowait(text.encode() if isinstance(text, str) else text)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self.window = Window(columns, rows)
        for changed in self._resized:
            changed(self.window)

    async def sees(self, text: str) -> str:
        """Wait until `text` was shown; all that was shown."""
        while text.encode() not in self.out:
            self._shown.clear()
            await self._shown.wait()
        return self.out.decode(errors="replace")

    def on_window(self, changed: Callable[[Window], None]) -> None:
        self._resized.append(changed)

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        self.interrupt = interrupted

    async def read(self) -> bytes:
        return await self._typed.get()

    async def write(self, data: bytes) -> None:
        await self.room.wait()
        if self.has_left:
            raise BrokenStreamError("left")
        self.out += data
        self._shown.set()

    async def complain(self, data: bytes) -> None:
        self.err += data
        self._shown.set()

    async def pass_keys(self, raw: bool) -> None:
        self.modes.append(raw)


class Seat:
    """One command under way."""

    def __init__(self, person: Person, work: "asyncio.Task[int]") -> None:
        self.person = person
        self.work = work

    async def ended(self) -> int:
        """Its exit status."""
        return await self.work

    async def leave(self) -> None:
        """Go away, as when the command line is killed."""
        self.work.cancel()
        await asyncio.gather(self.work, return_exceptions=True)


class TerminalMesh(SmallMesh[TerminalApp]):
    """Endpoints with terminals; their shells are `SHELL`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(TerminalApp, directory)

    async def desk(self, name: str, user: str = "alice", **settings: Any) -> TerminalApp:
        """An endpoint whose shell is a plain one."""
        self.local[name] = {"config.json": json.dumps({"shell": SHELL, "users": [], **settings}).encode()}
        return await self.join(name, user)

    def ref(self, name: str) -> EndpointRef:
        place = self.context(name).place
        return EndpointRef(place.id, place.name)

    def sit(
        self,
        at: str,
        *words: str,
        window: Window | None = USUAL_WINDOW,
        typed: bool = True,
        on: str = "",
        **environment: str,
    ) -> Seat:
        """Type ``ztm terminal words...`` at an endpoint; with `on`, for another endpoint."""
        call = Call(
            program="ztm terminal",
            words=words,
            endpoint=self.ref(on or at),
            environment={"TERM": "xterm-256color", **environment},
            is_typed=typed,
        )
        person = Person(call, window)
        work = asyncio.get_running_loop().create_task(self.apps[self.context(at).place.id].command(person))
        return Seat(person, work)

    async def run(self, at: str, *words: str, typed: bytes = b"", on: str = "") -> tuple[int, bytes, str]:
        """Run a command to its end with pipes; its status, output and complaints."""
        seat = self.sit(at, *words, window=None, typed=False, on=on)
        if typed:
            seat.person.type(typed)
        seat.person.type(b"")
        return await seat.ended(), bytes(seat.person.out), seat.person.err.decode()

    async def begun(self, name: str) -> Trail:
        """The first session that an endpoint notes."""
        trail = self.context(name).trail
        while not trail.begun:
            await asyncio.sleep(0.005)
        return trail.begun[0]

    async def trail(self, name: str) -> Trail:
        """The one thing that an endpoint has noted to its end."""
        trail = self.context(name).trail
        while not trail.trails:
            await asyncio.sleep(0.005)
        (found,) = trail.trails
        return found

    async def ask(self, name: str, method: str, path: str, body: Any = None, *, user: str = "") -> tuple[int, Any]:
        """Ask an endpoint's app: as its owner, or as a peer of that user."""
        app = self.apps[self.context(name).place.id]
        peer = Peer(user, OWN_IDS[9]) if user else None
        data = b"" if body is None else json.dumps(body).encode()
        status, _, answer = await ask(app.peer_api if user else app.user_api, method, path, data, peer)
        return status, json.loads(answer or b"null")
