"""One process of one app: started with nothing of the agent's but two sockets, watched, and ended with all it started.

It decides nothing about starting again; see `supervisor`.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from typing import Any

import msgspec

from ztm.agent.apps.installed import Installed
from ztm.agent.apps.process.launch import Launched, launch
from ztm.agent.apps.process.limits import ProcessLimits
from ztm.agent.apps.process.output import CHUNK, Output
from ztm.apps.base import AppContext
from ztm.apps.text import clean
from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    LimitError,
    UnreachableError,
    ZtmError,
)
from ztm.net.scope import ASGIApp
from ztm.rest.client import call_ok
from ztm.wire import processes
from ztm.wire.processes import Ready

BEATS = 3
"""Heartbeats within the time after which a silent process is killed."""
SHOWN = 500
"""Characters of what an app says about its end."""
GONE = 2.0
"""Seconds in which a killed process must be gone, or its output read."""


class Child:
    """A running process."""

    def __init__(self, made: Launched, output: Output, limits: ProcessLimits) -> None:
        self.session = made.asked
        """On which the agent asks."""
        self.ready = Ready()
        """How it started."""
        self._process = made.process
        self._asking = made.asking
        self._output = output
        self._limits = limits
        self._tasks: list[asyncio.Task[Any]] = []
        self._pipe: asyncio.BaseTransport | None = None

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    @property
    def streams(self) -> int:
        """Streams now open, both ways."""
        return self.session.streams + self._asking.streams

    # ------------------------------------------------------------------ starting

    @classmethod
    async def start(
        cls, installed: Installed, context: AppContext, calls: ASGIApp, limits: ProcessLimits, *, is_confined: bool
    ) -> "Child":
        """Start a process, and wait until the app says that it is ready. Cancelling it kills the process.

        Raises:
            UnreachableError: it did not start; the message says why.
            StorageError: its directory cannot be made.
        """
        made = await launch(installed, context, calls, limits, is_confined=is_confined)
        child = cls(made, Output(context.log, limits), limits)
        is_ready = False
        try:
            await child._read_output(made.pipe)
            child.ready = await child._said_ready()
            is_ready = True
        finally:
            if not is_ready:
                await child.kill()
        if child.ready.error:
            await child.kill()
            raise UnreachableError(_shown(child.ready.error))
        return child

    async def _read_output(self, pipe: int) -> None:
        """Read what it prints, from now on; the descriptor `pipe` is closed at its end."""
        reader, loop = asyncio.StreamReader(limit=CHUNK), asyncio.get_running_loop()
        opened = os.fdopen(pipe, "rb", buffering=0)
        self._pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), opened)
        self._tasks.append(asyncio.ensure_future(self._output.read(reader)))

    async def _said_ready(self) -> Ready:
        try:
            answer = await call_ok(self.session, "GET", processes.READY, timeout=self._limits.ready_seconds)
            return msgspec.json.decode(answer.body, type=Ready)
        except DeadlineError:
            raise UnreachableError(f"it was not ready within {self._limits.ready_seconds:g} s") from None
        except BrokenStreamError as error:
            raise UnreachableError(await self._end_of_it(str(error))) from None
        except (ZtmError, msgspec.DecodeError, RecursionError) as error:
            raise UnreachableError(f"it did not say that it is ready: {error}") from None

    # ------------------------------------------------------------------ while it runs

    async def ended(self) -> str:
        """Wait until it is no use any more; why, for people."""
        watched: list[Coroutine[Any, Any, str]] = [self._exited(), self._silent(), self._cut()]
        tasks = [asyncio.ensure_future(one) for one in watched]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task.result() for task in tasks if task in done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _exited(self) -> str:
        await self._process.wait()
        return await self._end_of_it("")

    async def _cut(self) -> str:
        closed = [asyncio.ensure_future(one.closed()) for one in (self.session, self._asking)]
        try:
            done, _ = await asyncio.wait(closed, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in closed:
                one.cancel()
        return await self._end_of_it(next(iter(done)).result())

    async def _silent(self) -> str:
        """Ask again and again whether its event loop still runs."""
        within = self._limits.heartbeat_seconds
        while True:
            try:
                await call_ok(self.session, "GET", processes.ALIVE, timeout=within)
            except DeadlineError:
                return f"it hung: no sign of life for {within:g} s"
            except LimitError:  # as many streams as may be: then they say whether it lives
                if self.session.silence > within:
                    return f"it hung: no sign of life for {within:g} s"
            except ZtmError as error:
                return await self._end_of_it(str(error))
            await asyncio.sleep(within / BEATS)

    async def _end_of_it(self, reason: str) -> str:
        """Why it ended, from its exit status and its last words, or `reason` if it still runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE):
                status = await self._process.wait()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                last = self._output.last[-1] if self._output.last else ""
                return _meaning(status) + (f"; its last line: {_shown(last)}" if last else "")
        return f"it broke its connection to the agent: {reason}"

    # ------------------------------------------------------------------ the end

    async def stop(self) -> None:
        """Cut its streams, let it end by itself for a moment, and kill what is left of it."""
        self.session.close("the app is stopped")
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.stop_seconds):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """Kill it with all that it started, at once."""
        for session in (self.session, self._asking):
            session.close("the app's process was ended")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE):
                await self._process.wait()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        if self._pipe is not None:
            self._pipe.close()  # somebody else may hold its other end


def _shown(said: str) -> str:
    """What an app says, for people: one line, not without end, and nothing that a terminal would obey."""
    return clean(" ".join(said.split()))[:SHOWN]


def _meaning(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"
