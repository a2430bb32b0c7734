"""A program that runs for a caller: on a pseudo-terminal or on pipes, in a session of its own, until it is reaped.

Every one is awaited by its owner, whatever becomes of its caller: no zombie and no open descriptor is left. It carries
no bytes by itself.

Source: termios(3), pty(7), setsid(2); POSIX.1-2017 11.1 (controlling terminal).
"""

import asyncio
import contextlib
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from ztm.apps.terminal.child import setting_up, watch
from ztm.apps.terminal.descriptor import Descriptor
from ztm.apps.terminal.launch import NOT_FOUND, NOT_RUNNABLE, Launch, LaunchError
from ztm.wire.console import Kind, Window

GRACE = 3.0
"""Seconds from SIGHUP to SIGKILL."""
SIGNALLED = 128
"""What an exit status is more than the signal that ended the program, as shells have it."""
END_OF_INPUT = b"\x04"
"""VEOF, Ctrl-D (termios(3)): how a terminal says that no more comes."""
SIGNALS: Mapping[int, str] = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 9: "SIGKILL", 10: "SIGUSR1", 12: "SIGUSR2", 15: "SIGTERM", 18: "SIGCONT",
    20: "SIGTSTP",
}  # fmt: skip
"""Those that a caller may send, by their numbers on Linux (signal(7))."""


class Program:
    """One started program; made by `start`."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        input_: Descriptor,
        outputs: Mapping[Kind, Descriptor],
        has_terminal: bool,
    ) -> None:
        self.pid = process.pid
        self.outputs = outputs
        """Where it writes to, by what that is to the caller."""
        self.has_terminal = has_terminal
        self._input = input_
        self._is_line_begun = False
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._killing: asyncio.TimerHandle | None = None
        watch(process, self._reaped)

    async def ended(self) -> int:
        """Its exit status, once it is reaped; 128 and the signal's number where a signal has ended it."""
        return await asyncio.shield(self._ended)

    def _reaped(self, status: int) -> None:
        if self._killing is not None:
            self._killing.cancel()
        if not self._ended.done():
            self._ended.set_result(status if status >= 0 else SIGNALLED - status)

    # ------------------------------------------------------------------ what the caller does

    async def write(self, data: bytes) -> None:
        """Give it input, and wait until it has room for it.

        Raises:
            BrokenStreamError: it reads no more.
        """
        await self._input.write(data)
        self._is_line_begun = data[-1:] not in (b"\n", b"\r")

    async def end_input(self) -> None:
        """No more input comes; the program goes on.

        Raises:
            BrokenStreamError: it reads no more.
        """
        if self.has_terminal:  # behind the beginning of a line, the first one ends just that
            await self._input.write(END_OF_INPUT * (2 if self._is_line_begun else 1))
        else:
            self._input.close()

    def resize(self, window: Window) -> None:
        """Its terminal has another size now; it is told by SIGWINCH."""
        if self.has_terminal and not self._ended.done():
            with contextlib.suppress(OSError):
                _set_size(self._input.number, window)

    def signal(self, number: int) -> None:
        """Send one of `SIGNALS` to what runs in front; others are ignored."""
        name = SIGNALS.get(number)
        if name is not None:
            self._send(getattr(signal, name), in_front=True)

    # ------------------------------------------------------------------ its end

    def drain(self) -> None:
        """It has ended: what it has written can still be read, and nothing is waited for."""
        for output in self.outputs.values():
            output.drain()

    def hang_up(self) -> None:
        """The caller is gone: close its terminal or pipes, and end it, by force after `GRACE` seconds. Idempotent."""
        self._send(signal.SIGHUP, in_front=True)
        self._send(signal.SIGHUP)
        self._send(signal.SIGCONT)
        self._input.close()
        for output in self.outputs.values():
            output.close()
        if self._killing is None and not self._ended.done():
            self._killing = asyncio.get_running_loop().call_later(GRACE, self._send, signal.SIGKILL)

    def _send(self, number: int, in_front: bool = False) -> None:
        """Send a signal to the program's process group, or to the one in front of its terminal."""
        if self._ended.done():
            return
        with contextlib.suppress(OSError):
            group = os.tcgetpgrp(self._input.number) if in_front and self.has_terminal else self.pid
            os.killpg(group if group > 0 else self.pid, number)


def start(launch: Launch, window: Window | None) -> Program:
    """Start a program, on a terminal of that size or, with None, on pipes.

    Raises:
        LaunchError: it cannot be started.
    """
    return _on_terminal(launch, window) if window is not None else _on_pipes(launch)


def _on_terminal(launch: Launch, window: Window) -> Program:
    try:
        master, slave = os.openpty()
    except OSError as error:
        raise LaunchError(f"no terminal is left on this endpoint: {error.strerror}", NOT_RUNNABLE) from None
    try:
        _set_size(master, window)
        _give(slave, launch)
        process = _popen(launch, setting_up(has_terminal=True), stdin=slave, stdout=slave, stderr=slave)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    terminal = Descriptor(master)
    return Program(process, terminal, {Kind.STDOUT: terminal}, has_terminal=True)


def _give(slave: int, launch: Launch) -> None:
    """Make a terminal the user's whom it is for, as login(1) does."""
    if not launch.account.is_own:
        os.fchown(slave, launch.account.uid, -1)
    os.fchmod(slave, 0o600)


def _on_pipes(launch: Launch) -> Program:
    pipe = subprocess.PIPE
    process = _popen(launch, setting_up(has_terminal=False), stdin=pipe, stdout=pipe, stderr=pipe)
    files = (process.stdin, process.stdout, process.stderr)
    numbers = [os.dup(file.fileno()) for file in files if file is not None]
    for file in files:
        if file is not None:
            file.close()
    input_, output, errors = map(Descriptor, numbers)
    return Program(process, input_, {Kind.STDOUT: output, Kind.STDERR: errors}, has_terminal=False)


def _popen(launch: Launch, set_up: Callable[[], None], **files: Any) -> "subprocess.Popen[bytes]":
    other: dict[str, Any] = {}
    if not launch.account.is_own:
        account = launch.account
        other = {"user": account.uid, "group": account.gid, "extra_groups": os.getgrouplist(account.name, account.gid)}
    try:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - running what an allowed caller asks for is what this is for
            launch.words,
            executable=launch.executable,
            env=launch.environment,
            cwd=launch.directory,
            start_new_session=True,
            preexec_fn=set_up,  # noqa: PLW1509 - it makes system calls only
            umask=0o022,
            bufsize=0,
            **files,
            **other,
        )
        return process
    except FileNotFoundError as error:
        raise LaunchError(f"{launch.executable}: cannot be started: {error.strerror}", NOT_FOUND) from None
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LaunchError(f"{launch.executable}: cannot be started: {reason}", NOT_RUNNABLE) from None


def _set_size(terminal: int, window: Window) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", window.rows, window.columns, 0, 0))
