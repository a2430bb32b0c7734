"""The process of one app: ``python -I -m ztm_app.process``, started by an agent and by nobody else.

It confines itself before the app's first line runs, tells the agent whether the app has started, and serves it
until the agent says that it is over, or is gone. Whatever comes of that, the agent is not harmed.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys

import msgspec

from ztm.errors import ConflictError, UsageError, ZtmError
from ztm.net.aio import AioNetwork, run
from ztm.net.asgi import answer_exchange
from ztm.net.base import Exchange, Session, SessionLimits
from ztm.net.scope import HttpLimits
from ztm.wire.processes import MAX_START, Ready, Start
from ztm_app.agenthost import AgentHost
from ztm_app.app import App, app_of
from ztm_app.confine import wall
from ztm_app.doors import Doors
from ztm_app.output import log_to_agent
from ztm_app.runtime import Runtime

log = logging.getLogger("app")

_WALLED = (("exec", "other programs"), ("net", "sockets"))
"""What a permission opens that an app may try by itself."""
_HTTP = HttpLimits(idle_seconds=0.0, body_bytes=0)
_SESSIONS = SessionLimits(streams=1024, held=32 << 20)


def main() -> int:
    """Run the app that standard input describes; the exit status."""
    log_to_agent()
    try:
        start = msgspec.json.decode(sys.stdin.buffer.read(MAX_START), type=Start)
    except msgspec.DecodeError as error:
        log.error("this is started by an agent, and by nobody else: %s", error)
        return 2
    _leave_input()
    app, reason = None, ""
    try:
        wall.bound(start)
        if start.is_confined:
            wall.confine(start)
        app = _load(start)
    except (ZtmError, OSError) as error:
        reason = str(error)
    return run(_serve(start, app, reason))


def _leave_input() -> None:
    """Standard input is nothing from now on."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _load(start: Start) -> App:
    """Import the app.

    Raises:
        ConflictError: it cannot be; the log has the stack.
    """
    sys.path.insert(0, start.folder)
    sys.dont_write_bytecode = True
    module, _, name = start.entry.partition(":")
    try:
        return app_of(getattr(importlib.import_module(module), name))
    except (Exception, SystemExit) as error:
        log.exception("the app cannot be loaded")
        what = f"cannot load {start.entry}: {type(error).__name__}: {error}{_lacking(error, start)}"
        raise ConflictError(what) from error


def _lacking(error: BaseException, start: Start) -> str:
    """What to do about an error that is the walls', for the app's author."""
    if not start.is_confined or not isinstance(error, PermissionError):
        return ""
    asks = [f"{what} need {name!r} among the permissions" for name, what in _WALLED if name not in start.permissions]
    return f" (an app is confined: {'; '.join([*asks, 'it reads its package and writes its data only'])})"


async def _serve(start: Start, app: App | None, reason: str) -> int:
    # Never the native network: all that it would carry is two Unix sockets, and its threads would be one more thing
    # within the walls.
    network, doors, stopping = AioNetwork(), Doors(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    async def answer(exchange: Exchange) -> None:
        await answer_exchange(exchange, doors, {}, _HTTP)

    asked = network.session(
        await network.adopt(_socket(start.asked)), "server", answer=answer, limits=_SESSIONS, own=True
    )
    asking = network.session(await network.adopt(_socket(start.asking)), "client", limits=_SESSIONS, own=True)
    runtime = None
    if app is not None:
        host = AgentHost(start, asking, network)
        runtime = Runtime(app, host, log)
        app.bind(host, runtime.tasks)
        reason = await _started(runtime)
    if runtime is None or reason:
        doors.open(Ready(error=reason or "it did not start", is_confined=start.is_confined), None, None)
    else:
        commands = [spec.usage for spec in app.commands] if app is not None else []
        ready = Ready(is_confined=start.is_confined, routes=runtime.shown_routes(), commands=commands)
        doors.open(ready, runtime, host)
    await _until(stopping, asked, asking)
    if runtime is not None:
        await runtime.stop()
    for session in (asked, asking):
        session.close("the app was stopped")
    await network.flushed(1.0)
    return 1 if reason else 0


async def _started(runtime: Runtime) -> str:
    """Why the app did not start; nothing if it did."""
    try:
        await runtime.start()
    except ZtmError as error:
        return str(error)
    return ""


async def _until(stopping: asyncio.Event, *sessions: Session) -> None:
    """Wait until the app is to stop, or the agent is gone."""
    waits = [asyncio.ensure_future(stopping.wait()), *(asyncio.ensure_future(one.closed()) for one in sessions)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _socket(number: int) -> socket.socket:
    """An inherited socket.

    Raises:
        UsageError: there is none of that number.
    """
    try:
        opened = socket.socket(fileno=number)
    except OSError as error:
        raise UsageError(f"no socket was inherited as {number}: {error}") from error
    opened.setblocking(False)
    os.set_inheritable(number, False)
    return opened


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
