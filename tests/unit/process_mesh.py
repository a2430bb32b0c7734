"""Apps by others on a small mesh: packages written by tests, each run in a real process of its own."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app_mesh import MeshContext, SmallMesh

from ztm.agent.apps.installed import Installed
from ztm.agent.apps.process.app import ProcessApp, process_app
from ztm.agent.apps.process.limits import LIMITS, ProcessLimits
from ztm.apps.base import App
from ztm.apps.manifest import Manifest

ALL = ("mesh.connect", "files.local", "files.user", "files.shared", "listen")


def package(folder: Path, code: str, **manifest: Any) -> Installed:
    """An installed app whose only module is `code`, with its `app`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(code)
    made = Manifest(name="probe", version="1", **{"entry": "main:app", "permissions": ALL, **manifest})
    return Installed(provider="alice", tag="", folder=folder, manifest=made, digest="0")


def process_mesh(directory: Path, installed: Installed, limits: ProcessLimits = LIMITS) -> SmallMesh[ProcessApp]:
    """Endpoints that all run `installed`."""
    made: Callable[[MeshContext], App] = process_app(installed, limits)
    data = directory / "data"
    data.mkdir()
    return SmallMesh(made, data)  # type: ignore[arg-type]


async def until(wanted: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `wanted` is true."""
    async with asyncio.timeout(seconds):
        while not wanted():
            await asyncio.sleep(0.01)
