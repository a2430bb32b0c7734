"""What a process tells the service manager that started it: that it is ready, how it is, that it lives, that it stops.

It never fails and never waits: without a manager, or with one that has gone, nothing is told.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping

SOCKET = "NOTIFY_SOCKET"
WATCHDOG_TIME = "WATCHDOG_USEC"
WATCHDOG_PROCESS = "WATCHDOG_PID"
LONGEST_STATUS = 512
"""Characters of a status line; managers show it in one line."""


class Notifier:
    """The way to one service manager; falsy when there is none."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog
        """Seconds without a sign of life after which the manager restarts this process; 0 if it does not."""

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] | None = None) -> "Notifier":
        """The manager that the environment names. Its variables are taken out: they are not for children."""
        variables = os.environ if environment is None else environment
        address, time, process = (variables.pop(name, "") for name in (SOCKET, WATCHDOG_TIME, WATCHDOG_PROCESS))
        is_ours = process in ("", str(os.getpid()))
        watchdog = int(time) / 1e6 if time.isascii() and time.isdigit() and is_ours else 0.0
        return cls(address if address.startswith(("/", "@")) else "", watchdog)

    def __bool__(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Everything that was asked for is up."""
        self._tell("READY=1", _status(status))

    def status(self, status: str) -> None:
        """How it is, in one line for people."""
        self._tell(_status(status))

    def alive(self) -> None:
        """The event loop turns."""
        self._tell("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """It was asked to stop, and does."""
        self._tell("STOPPING=1", _status(status))

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | _CLOEXEC) as way:
            way.setblocking(False)
            way.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


_CLOEXEC = getattr(socket, "SOCK_CLOEXEC", 0)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:LONGEST_STATUS]
