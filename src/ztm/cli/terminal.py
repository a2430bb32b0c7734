"""This process as the terminal of a command that runs in the agent: input and window sizes to it, output from it.

The terminal is put back as it was, however the call ends. What an app prints is passed on untouched.
"""

import contextlib
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from ztm.errors import BrokenStreamError
from ztm.wire.console import Frame, Frames, Kind, Window, window_frame

CHUNK = 64 << 10
"""Bytes read at a time, and held for an agent that is behind before standard input is left alone."""
STDIN, STDOUT, STDERR = 0, 1, 2


class Terminal:
    """One call on one connection; `first` is what came together with the answer's head."""

    def __init__(self, connection: socket.socket, first: bytes, time_left: Callable[[], float | None]) -> None:
        self._connection = connection
        self._first = first
        self._time_left = time_left
        self._is_plain = False
        self._is_wanted = False
        """Whether standard input is read: for v1 until its end, for us one piece whenever the app asks."""
        self._is_ending = False
        """Whether the stream's own side ends once all is sent."""
        self._interrupts = 0
        self._keys: Any = None
        """The terminal's own settings while it passes keys through."""
        self._out = bytearray()
        """Waiting to be sent to the agent."""

    # ------------------------------------------------------------------ our own form

    def framed(self) -> int:
        """Carry the call until the agent tells its exit status.

        Raises:
            BrokenStreamError: the agent closed before that.
            DeadlineError: the time of ``--timeout`` is over.
        """
        frames = Frames()
        with self._attended():
            self._tell_window()
            data = self._first or self._next(self._typed)
            while data:
                for frame in frames.feed(data):
                    if frame.kind is Kind.STATUS:
                        return frame.status
                    self._obey(frame)
                data = self._next(self._typed)
        raise BrokenStreamError("the agent closed before the command was over")

    def _obey(self, frame: Frame) -> None:
        if frame.kind is Kind.STDOUT:
            _write_all(STDOUT, frame.payload)
        elif frame.kind is Kind.STDERR:
            _write_all(STDERR, frame.payload)
        elif frame.kind is Kind.WANT:
            self._is_wanted = True
        elif frame.kind is Kind.RAW:
            self._pass_keys(frame.payload == b"\x01")

    def _typed(self, data: bytes) -> None:
        self._out += Frame(Kind.STDIN, data).encode()

    def _tell_window(self) -> None:
        if self._is_plain:
            return
        for descriptor in (STDOUT, STDIN):
            if os.isatty(descriptor):
                size = os.get_terminal_size(descriptor)
                self._out += window_frame(Window(size.columns, size.lines)).encode()
                return

    def _interrupt(self) -> None:
        """Have the app end, or do what it does at Ctrl-C. v1's form has no word for that."""
        if self._is_plain:
            raise KeyboardInterrupt
        self._out += Frame(Kind.INTERRUPT).encode()

    # ------------------------------------------------------------------ v1's form

    def plain(self) -> int:
        """Carry the call as v1 does, until the agent closes; the status is always 0.

        Raises:
            DeadlineError: the time of ``--timeout`` is over.
        """
        self._is_plain = self._is_wanted = True
        with self._attended():
            self._pass_keys(raw=True)
            data = self._first or self._next(self._piped)
            while data:
                _write_all(STDOUT, data)
                data = self._next(self._piped)
        return 0

    def _piped(self, data: bytes) -> None:
        self._out += data
        self._is_ending = not data
        self._send()

    # ------------------------------------------------------------------ waiting

    def _next(self, typed: Callable[[bytes], None]) -> bytes:
        """The next bytes from the agent; what is typed meanwhile goes to `typed`, ``b""`` at its end."""
        while True:
            with selectors.PollSelector() as selector:  # poll also takes regular files and /dev/null
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                selector.register(self._connection, events)
                selector.register(self._wake, selectors.EVENT_READ)
                if self._is_wanted and len(self._out) < CHUNK:
                    selector.register(STDIN, selectors.EVENT_READ)
                ready = {key.fd: mask for key, mask in selector.select(self._time_left())}
            if self._wake.fileno() in ready:
                self._woken()
            if STDIN in ready:
                self._take_input(typed)
            mask = ready.get(self._connection.fileno(), 0)
            if mask & selectors.EVENT_WRITE:
                self._send()
            if mask & selectors.EVENT_READ:
                return self._received()

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if self._out:
                del self._out[: self._connection.send(self._out)]
            if self._is_ending and not self._out:
                self._connection.shutdown(socket.SHUT_WR)
                self._is_ending = False

    def _received(self) -> bytes:
        try:
            return self._connection.recv(CHUNK)
        except ConnectionError:
            return b""

    def _take_input(self, typed: Callable[[bytes], None]) -> None:
        try:
            data = os.read(STDIN, CHUNK)
        except OSError:
            data = b""
        self._is_wanted = self._is_plain and bool(data)
        typed(data)

    def _woken(self) -> None:
        for number in self._wake.recv(64):
            if number == signal.SIGINT:
                self._interrupts += 1
                if self._interrupts > 1:  # the app does not care: leave it
                    raise KeyboardInterrupt
                self._interrupt()
            else:
                self._tell_window()

    # ------------------------------------------------------------------ the terminal

    @contextlib.contextmanager
    def _attended(self) -> Iterator[None]:
        """Have signals wake the loop, and put everything back at the end."""
        self._wake, writing = socket.socketpair()
        writing.setblocking(False)
        before = {number: signal.signal(number, _ignore) for number in (signal.SIGWINCH, signal.SIGINT)}
        woken = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        self._connection.setblocking(False)
        try:
            yield
        finally:
            self._pass_keys(raw=False)
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._wake.close()
            writing.close()

    def _pass_keys(self, raw: bool) -> None:
        """Have the terminal pass every key through, or edit lines itself; nothing where there is none."""
        if not os.isatty(STDIN) or raw == (self._keys is not None):
            return
        import termios
        import tty

        if raw:
            self._keys = termios.tcgetattr(STDIN)
            tty.setraw(STDIN, termios.TCSADRAIN)
            kept = termios.tcgetattr(STDIN)
            kept[1] |= termios.OPOST  # apps send bare line ends (spec cli 12)
            termios.tcsetattr(STDIN, termios.TCSADRAIN, kept)
        else:
            termios.tcsetattr(STDIN, termios.TCSADRAIN, self._keys)
            self._keys = None


def _ignore(_number: int, _frame: object) -> None:
    """The wake-up socket tells it."""


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, also to a pipe that was made non-blocking by somebody else.

    Raises:
        BrokenPipeError: nobody reads it.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            with selectors.PollSelector() as selector:
                selector.register(descriptor, selectors.EVENT_WRITE)
                selector.select()
