"""`ztm app check`: an app as its package would be, started in its confined process, and what it says that it offers.

No agent is asked, and nothing stays.
"""

import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ztm.cli import apppack, output
from ztm.cli.context import Context
from ztm.errors import UnreachableError

LINES = 30
"""Of what the app printed, where it does not start."""


def checked(context: Context, folder: str, *, is_confined: bool = True) -> int:
    """Check the app in `folder`, and show what it offers; 0 if it would run where it is installed, else 1.

    Raises:
        NotFoundError: there is no app.
        UsageError: its manifest is malformed, or a file cannot be packed.
    """
    from ztm.agent.apps.requirements import missing

    manifest = apppack.manifest_of(folder)
    title = f": {manifest.title}" if manifest.title else ""
    context.out(f"App {manifest.name} {manifest.version}{title}")
    problems = missing(manifest.requires)
    with tempfile.TemporaryDirectory(prefix="ztm-app-check-") as directory:
        count, size = _unpacked(folder, Path(directory))
        context.out(f"Files: {count}, {size} bytes")
        _show_permissions(context, manifest)
        problems = problems or _tried(context, manifest, Path(directory), is_confined=is_confined)
    for problem in problems:
        output.complain(f"app {manifest.name} would not run: {problem}")
    return 1 if problems else 0


def _unpacked(folder: str, directory: Path) -> tuple[int, int]:
    """The files as they would be packed, in ``package`` below `directory`; how many they are, and their bytes."""
    from ztm.agent.apps.package import pack, unpack
    from ztm.agent.files.content import Content

    file, target = directory / "packed", directory / "package"
    target.mkdir(mode=0o700)
    with file.open("wb") as packed:
        for piece in pack(Path(folder).expanduser(), apppack.is_left_out):
            packed.write(piece)
    count = unpack(Content(file), target)
    file.unlink()
    return count, sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _show_permissions(context: Context, manifest: Any) -> None:
    from ztm.apps.manifest import describe_permission

    context.out("It asks to:" if manifest.permissions else "It asks for no permission.")
    widest = max(map(len, manifest.permissions), default=0)
    for one in manifest.permissions:
        context.out(f"  {one:<{widest}}  {describe_permission(one)}")


def _tried(context: Context, manifest: Any, directory: Path, *, is_confined: bool) -> list[str]:
    """Start it, and show what it offers; why it does not start."""
    from ztm.agent.apps.installed import Installed
    from ztm.net.aio import run

    installed = Installed(provider="check", tag="", folder=directory / "package", manifest=manifest, digest="")
    said = _Lines()
    log = logging.Logger("ztm.app.check")
    log.addHandler(said)
    try:
        run(_started(context, installed, directory / "data", log, is_confined=is_confined))
    except UnreachableError as error:
        for line in said.lines[-LINES:]:
            sys.stderr.write(f"{line}\n")
        return [str(error)]
    return []


class _Lines(logging.Handler):
    """What the app logs and prints."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines = [*self.lines[-LINES:], record.getMessage()]


async def _started(context: Context, installed: Any, data: Path, log: logging.Logger, *, is_confined: bool) -> int:
    from ztm.agent.apps.rehearsal import rehearsed

    began = time.monotonic()
    async with rehearsed(installed, data, log, is_confined=is_confined) as (app, _):
        seconds = time.monotonic() - began
        ready = app.ready
        for what, found in (("Routes", ready.routes), ("Commands", ready.commands)) if ready is not None else ():
            program = f"ztm {installed.manifest.name} " if what == "Commands" else ""
            context.out(f"{what}:" if found else f"{what}: none")
            for one in found:
                context.out(f"  {program}{one}")
        if (installed.folder / "gui" / "index.html").is_file():
            context.out("Page: gui/index.html")
        context.out(f"It runs on two endpoints, {app.condition.confinement}; started in {seconds:.2f} s")
    return 0
