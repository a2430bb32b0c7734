"""Log lines of one mesh and its apps as events.

It passes on what was logged and adds nothing; whoever logs keeps secrets out (see `ztm.logs`).
"""

import asyncio
import logging
import threading

from ztm.agent.events.bus import Bus, Event
from ztm.logs import redact

MESSAGE = 2000
"""Characters of a log line that an event carries."""
PROVIDER = "ztm"
"""Of the built-in apps, whose loggers are named by the app alone."""


class LogTap(logging.Handler):
    """Publishes what the loggers of one mesh are told, between `attach` and `detach`."""

    def __init__(self, bus: Bus, mesh: str) -> None:
        super().__init__(logging.INFO)
        self._bus = bus
        self._mesh = mesh
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        escaped = mesh.replace(".", "_")
        self._apps = f"ztm.app.{escaped}"
        self._loggers = [logging.getLogger(f"ztm.agent.mesh.{escaped}"), logging.getLogger(self._apps)]

    def attach(self) -> None:
        """Begin to listen; the bus is told on this event loop, whichever thread logs. Idempotent."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        for logger in self._loggers:
            logger.addHandler(self)

    def detach(self) -> None:
        """Stop listening. Idempotent."""
        for logger in self._loggers:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Publish one record."""
        name = record.name.removeprefix(self._apps + ".")
        event = Event(
            type="log",
            mesh=self._mesh,
            app=f"{PROVIDER}/{name}" if name != record.name else "",
            level="error" if record.levelno >= logging.ERROR else "info",
            message=redact(record.getMessage())[:MESSAGE],
        )
        if threading.get_ident() == self._thread:
            self._bus.publish(event)
        elif self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._bus.publish, event)
