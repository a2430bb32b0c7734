"""The audit log of one mesh on this agent: one JSON line for each session of each app, in files that are rotated.

A disk that does not take a line harms no session. Nothing is kept in memory.
"""

import logging
from pathlib import Path

from ztm.apps.audit import Audit, Trail
from ztm.net.base import Network

log = logging.getLogger("ztm.agent")


class AuditLog:
    """The files."""

    def __init__(self, directory: Path, network: Network, endpoint: str) -> None:
        self._directory = directory
        self._network = network
        self._endpoint = endpoint

    def of(self, app: str) -> Audit:
        """The log as ``provider/name`` sees it."""
        return _AppAudit(self, app)


class _AppAudit:
    """See `Audit`."""

    def __init__(self, whole: AuditLog, app: str) -> None:
        self._whole = whole
        self._app = app

    def begin(self, trail: Trail) -> None:
        """See `Audit`."""

    def end(self, trail: Trail) -> None:
        """See `Audit`."""
