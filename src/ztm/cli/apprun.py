"""`ztm app run`: an app from its folder, installed and started, with its log, until Ctrl-C.

What was installed under its name before is put back at the end, and so is whether that ran.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ztm.cli import apppack, output
from ztm.cli.app import full_name, path_of
from ztm.cli.context import Context
from ztm.cli.failures import AgentUnreachableError
from ztm.cli.log import fresh
from ztm.errors import NotFoundError, ZtmError

LOOKS = 0.5
"""Seconds between two looks at the log and at the files."""
START_TIMEOUT = 60.0
"""Seconds for an app to be stopped and started."""

App = dict[str, Any]


def run_folder(context: Context, folder: str) -> int:
    """Run the app in `folder` until this process is asked to end; its exit status.

    Raises:
        ZtmError: it cannot be installed or started at first; later failures are told, and the next change waited for.
    """
    manifest = apppack.manifest_of(folder)
    user = str(context.mesh_object["agent"].get("username", ""))
    named: App = {"provider": user, "name": manifest.name, "tag": ""}
    with _put_back(context, named):
        seen = _files(folder)
        context.out(f"app {full_name(_installed(context, folder, named))} runs; Ctrl-C ends it")
        lines: list[Any] = []
        while _passes(context):
            lines = _follow(context, named, lines)
            now = _files(folder)
            if now != seen:
                seen = now
                _again(context, folder, named)
    return 0


def _passes(context: Context) -> bool:
    if context.deadline is not None and context.now() >= context.deadline:
        return False
    context.sleep(LOOKS)
    return True


@contextmanager
def _put_back(context: Context, named: App) -> Iterator[None]:
    """What was installed before, which is so again when this is left; SIGTERM leaves it as Ctrl-C does."""
    before = _lasting(context, named)
    old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
        context.deadline = None
        _restored(context, named, before)


def _shown(context: Context, named: App) -> App | None:
    try:
        found: App = context.ask("GET", path_of(context, named))
    except NotFoundError:
        return None
    return found


def _lasting(context: Context, named: App) -> App | None:
    """What is installed to stay; what a run left that was killed is first undone."""
    found = _shown(context, named)
    if found is not None and found.get("isDevelopment"):
        if not found.get("previous"):
            return None
        context.ask("POST", path_of(context, named), {"isRolledBack": True}, timeout=START_TIMEOUT)
        found = _shown(context, named)
    return found if found is not None and found.get("digest") else None


def _restored(context: Context, named: App, before: App | None) -> None:
    found = _shown(context, named)
    if found is None or not found.get("digest"):
        return
    if before is None:
        context.ask("DELETE", path_of(context, named), timeout=START_TIMEOUT)
        return
    wanted = (
        {"isRunning": True}
        if before["isRunning"]
        else {"isDisabled" if before["isDisabled"] else "isRunning": before["isDisabled"]}
    )
    is_back = found["digest"] == before["digest"]
    context.ask("POST", path_of(context, named), {"isRunning": False}, timeout=START_TIMEOUT)
    context.ask("POST", path_of(context, named), {**wanted, "isRolledBack": not is_back}, timeout=START_TIMEOUT)


def _installed(context: Context, folder: str, named: App) -> App:
    """The app as it is in the folder now, installed and started; what was there before stays the version before."""
    with apppack.signed(context, folder) as file:
        apppack.install(context, file, apppack.inspect(context, file), is_development=True)
    started: App = context.ask("POST", path_of(context, named), {"isRunning": True}, timeout=START_TIMEOUT)
    return started


def _again(context: Context, folder: str, named: App) -> None:
    """Take up a change of the folder; one that does not work is told, and the next one waited for."""
    try:
        _installed(context, folder, named)
    except AgentUnreachableError:
        raise
    except ZtmError as error:
        output.complain(str(error))
    else:
        context.out("the folder has changed: the app runs anew")


def _follow(context: Context, named: App, seen: list[Any]) -> list[Any]:
    """Print what is new in the app's log; all of it as it is now."""
    try:
        lines: list[Any] = context.ask("GET", path_of(context, named) + "/log") or []
    except NotFoundError:
        return seen
    for line in fresh(seen, lines):
        context.out(f"{line.get('time')} {line.get('message')}")
    sys.stdout.flush()
    return lines


def _files(folder: str) -> dict[str, tuple[int, int]]:
    """Times and sizes of the files that would be packed."""
    from ztm.agent.apps.package import listed

    found = {}
    for path in listed(Path(folder).expanduser(), apppack.is_left_out):
        try:
            told = path.stat()
        except OSError:
            continue  # it has just gone
        found[str(path)] = (told.st_mtime_ns, told.st_size)
    return found
