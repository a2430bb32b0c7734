"""One script as a process of the system: started, fed, listened to, and ended with all that it has started.

No more of its output is read than its client takes, so that a script with a slow client waits. However a run is left,
its process group is gone when it is.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from ztm.apps.guard import Guard
from ztm.apps.script.client import Client
from ztm.apps.script.limits import ScriptLimits
from ztm.errors import BrokenStreamError, RefusedError
from ztm.net.base import Meter

CHUNK = 64 << 10
"""Bytes read at a time, and half of what is held of one output."""
LEFT = 2 << 20
"""Bytes of an output still taken from a script that has ended: more than a pipe can hold."""
TIMED_OUT = 124
"""Exit status of a script that took too long, as timeout(1) has it."""
BY_SIGNAL = 128
"""Added to the number of the signal that ended a script, as shells have it."""


class Process:
    """A script that runs."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        protocol: "_Protocol",
        limits: ScriptLimits,
        meter: Meter,
        guard: Guard,
    ) -> None:
        self._transport = transport
        self._guard = guard
        self._protocol = protocol
        self._limits = limits
        self._meter = meter
        self._timers: list[asyncio.TimerHandle] = []
        self._is_swept = False
        """Whether nobody of its process group is left."""
        self.reason = ""
        """Why it was stopped, if it was."""

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        directory: Path,
        variables: Mapping[str, str],
        limits: ScriptLimits,
        meter: Meter,
        guard: Guard,
    ) -> "Process":
        """Start a command in a process group of its own, which `guard` ends if this process is killed.

        Raises:
            RefusedError: the system does not start it.
        """
        if not hasattr(os, "killpg"):
            raise RefusedError("scripts are not run on Windows yet: choose an endpoint on Linux or macOS")
        loop, pipe = asyncio.get_running_loop(), asyncio.subprocess.PIPE
        try:
            guard.ready()
            transport, protocol = await loop.subprocess_exec(
                _Protocol, *command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=directory, env=variables,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise RefusedError(f"cannot start {command[0]}: {error.strerror or error}") from error
        guard.watch(transport.get_pid())
        return cls(transport, protocol, limits, meter, guard)

    async def run(self, client: Client, seconds: float) -> int:
        """Let it run for at most `seconds`; its exit status. Cancelling it ends the script.

        Raises:
            BrokenStreamError: the client went away, or takes nothing; the script was ended.
        """
        client.on_interrupt(lambda: self._signal(signal.SIGINT))
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, self._stop, f"stopped after {seconds:g} seconds"))
        try:
            async with asyncio.timeout(seconds + 2 * self._limits.grace_seconds):
                await self._attended(client)
                if self.reason:
                    await client.err(f"ztm: the script was {self.reason}\n".encode())
                    return TIMED_OUT
            status = self._transport.get_returncode() or 0
            return status if status >= 0 else BY_SIGNAL - status
        except TimeoutError:
            raise BrokenStreamError("the caller did not take the script's output in time") from None
        finally:
            await self._end()

    async def _attended(self, client: Client) -> None:
        """Carry everything until the process has ended and all its output is taken."""
        stdin, stdout, stderr = self._protocol.pipes
        pumps = [_Pump(stdout, client.out, self._meter), _Pump(stderr, client.err, self._meter)]
        outputs = [asyncio.ensure_future(pump.run()) for pump in pumps]
        feeding = asyncio.ensure_future(self._feed(stdin, client))
        try:
            await _until(self._protocol.exited, {*outputs, feeding})
            self._sweep()
            await self._rest(pumps, outputs)
        finally:
            for task in (*outputs, feeding):
                task.cancel()
            await asyncio.gather(*outputs, feeding, return_exceptions=True)

    async def _feed(self, stdin: asyncio.StreamWriter, client: Client) -> None:
        """Pass on the client's input until its end; a script that reads no more is fed no more."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data := await client.read():
                self._meter.sent += len(data)
                stdin.write(data)
                await stdin.drain()
        stdin.close()

    async def _rest(self, pumps: Sequence["_Pump"], outputs: Sequence["asyncio.Task[None]"]) -> None:
        """Carry the rest of the output. Who holds one open, and writes nothing or for ever, has escaped the script."""
        for pump in pumps:
            pump.most = pump.count + LEFT
        while any(not task.done() for task in outputs):
            before = [pump.count for pump in pumps]
            await asyncio.wait(outputs, timeout=self._limits.linger_seconds)
            for pump, task, count in zip(pumps, outputs, before, strict=True):
                if not task.done() and pump.is_reading and pump.count == count:
                    task.cancel()
        for task in outputs:
            if not task.cancelled():
                task.result()

    def _stop(self, reason: str) -> None:
        """End it, politely first; whoever attends it sees it end."""
        self.reason = reason
        self._signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self._limits.grace_seconds, self._signal, signal.SIGKILL))

    def _sweep(self) -> None:
        """It has ended: end whatever it has left behind, and the clock."""
        self._signal(signal.SIGKILL)
        self._is_swept = True
        for timer in self._timers:
            timer.cancel()

    async def _end(self) -> None:
        """End what is left, politely first."""
        try:
            if not self._protocol.exited.done():
                self._signal(signal.SIGTERM)
                await asyncio.wait((self._protocol.exited,), timeout=self._limits.grace_seconds)
        finally:
            self._sweep()
            await asyncio.wait((self._protocol.exited,))
            self._guard.release(self._transport.get_pid())
            self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; there may be nobody left."""
        if not self._is_swept:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), number)


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells the end of the process itself: some versions of Python tell it only when all its pipes are closed too."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(limit=CHUNK, loop=loop)
        self.exited: asyncio.Future[None] = loop.create_future()

    @property
    def pipes(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader, asyncio.StreamReader]:
        """Standard input, output and error of the process."""
        assert self.stdin is not None
        assert self.stdout is not None
        assert self.stderr is not None
        return self.stdin, self.stdout, self.stderr

    def process_exited(self) -> None:
        """See `asyncio.SubprocessProtocol`."""
        super().process_exited()
        if not self.exited.done():
            self.exited.set_result(None)


class _Pump:
    """One output on its way to the client."""

    def __init__(self, source: asyncio.StreamReader, sink: Callable[[bytes], Awaitable[None]], meter: Meter) -> None:
        self._source = source
        self._sink = sink
        self._meter = meter
        self.count = 0
        """Bytes so far."""
        self.most: int | None = None
        """How many there may be."""
        self.is_reading = False
        """Whether it waits for the script, and not for the client."""

    async def run(self) -> None:
        while self.most is None or self.count < self.most:
            self.is_reading = True
            data = await self._source.read(CHUNK)
            self.is_reading = False
            if not data:
                return
            self.count += len(data)
            self._meter.received += len(data)
            await self._sink(data)


async def _until(wanted: "asyncio.Future[None]", beside: "set[asyncio.Task[None]]") -> None:
    """Wait for `wanted`, unless one of the tasks `beside` it fails.

    Raises:
        BrokenStreamError: one has failed so.
    """
    while not wanted.done():
        done, _ = await asyncio.wait({wanted, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for task in done & beside:
            task.result()
            beside.discard(task)
