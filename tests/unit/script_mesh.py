"""Endpoints that run scripts, and a caller in memory, for tests of the script app."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app_mesh import OWN_IDS, SmallMesh, ask

from ztm.apps.script.api import ScriptApp
from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.model import Order

A, B, C = OWN_IDS[:3]

LIMITS = ScriptLimits(grace_seconds=0.3, linger_seconds=0.3, kept_output=1 << 20)
Mesh = SmallMesh[ScriptApp]


class Caller:
    """A client in memory, which tells when something has come."""

    def __init__(self, *typed: bytes) -> None:
        self.typed: asyncio.Queue[bytes] = asyncio.Queue()
        for piece in (*typed, b""):
            self.typed.put_nowait(piece)
        self.stdout, self.stderr = bytearray(), bytearray()
        self.came = asyncio.Event()
        self.taking = asyncio.Event()
        self.taking.set()
        self.interrupt: Callable[[], None] = lambda: None

    async def read(self) -> bytes:
        return await self.typed.get()

    async def out(self, data: bytes) -> None:
        await self.taking.wait()
        self.stdout += data
        self.came.set()

    async def err(self, data: bytes) -> None:
        self.stderr += data
        self.came.set()

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        self.interrupt = interrupted

    async def until(self, text: bytes) -> None:
        """Return once standard output holds `text`."""
        while text not in self.stdout:
            self.came.clear()
            await self.came.wait()


async def allowed(mesh: Mesh, name: str, user: str = "alice", **more: object) -> ScriptApp:
    """An endpoint where scripts are allowed."""
    app = await mesh.join(name, user)
    own = mesh.context(name).place.id
    status, _, _ = await ask(
        app.user_api, "POST", f"/api/endpoints/{own}/config", json.dumps({"allow": True, **more}).encode()
    )
    assert status == 201
    return app


async def run(
    app: ScriptApp, endpoint: str, text: str, *arguments: str, caller: Caller | None = None, **more: Any
) -> Caller:
    """Run a script to its end; the exit status is then in `caller.status`."""
    client = caller or Caller()
    client.status = await app.entry.run(endpoint, Order("s.py", arguments, **more), text.encode(), client)  # type: ignore[attr-defined]
    return client


def status(caller: Caller) -> int:
    return int(caller.status)  # type: ignore[attr-defined]


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return (
            "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
            if Path("/proc").exists()
            else True
        )
    return False


async def gone(pid: int) -> None:
    """Return once the process is no more."""
    while is_alive(pid):
        await asyncio.sleep(0.01)


# ---------------------------------------------------------------- what comes back


# ---------------------------------------------------------------- limits


FLOOD = "import os, sys\nfor n in range(640): os.write(1, b'x' * 65536); open(sys.argv[1], 'w').write(f'{n:8}')"


async def wrote(file: Path) -> int:
    """How many pieces of the flood have been written, once there are some."""
    while len(text := await asyncio.to_thread(_text, file)) < 8:
        await asyncio.sleep(0.01)
    return int(text)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


# ---------------------------------------------------------------- nothing stays


# ---------------------------------------------------------------- who may


# ---------------------------------------------------------------- what is told


# ---------------------------------------------------------------- foreign peers
