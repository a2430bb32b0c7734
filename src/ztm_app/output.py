"""Log lines of an app's process, on standard error, where its agent reads them: ``<level>text``, as the journal has it.

What an app prints comes without a level and counts as information.
"""

import logging
import sys

LEVELS = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
"""Source: sd-daemon(3)."""


class LineFormat(logging.Formatter):
    """Every line of a record with its level."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, with its stack if it has one."""
        level = LEVELS.get(record.levelno, 6)
        return "\n".join(f"<{level}>{line}" for line in super().format(record).splitlines() or [""])


def log_to_agent() -> None:
    """Send this process's records to the agent: the app's own from information on, libraries' from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormat())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("app").setLevel(logging.INFO)
