"""Whether hub and agent are services of this machine, and how these are doing.

A service manager is asked only where a unit of ours is installed, and for a bounded time; nothing is changed.
"""

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

NAMES = ("hub", "agent")
PATIENCE = 2.0
"""Seconds for one call of the service manager: it answers from memory."""
SYSTEM_UNITS = Path("/etc/systemd/system")
USER_UNITS = Path(".config/systemd/user")
"""Below the home directory."""


@dataclass(frozen=True, slots=True)
class Service:
    """One installed unit."""

    name: str
    """``ztm-hub`` or ``ztm-agent``."""
    scope: str
    """``system`` or ``user``."""
    state: str
    """As the service manager says: active, inactive, failed, activating; or unknown."""
    detail: str = ""
    """The manager's finer word, such as running or exited."""
    boot: str = ""
    """Whether it starts at boot: enabled, disabled."""

    def as_object(self) -> dict[str, str]:
        """The fields, for JSON."""
        return asdict(self)

    @property
    def manager(self) -> str:
        """What a person types to reach its manager."""
        return "systemctl --user" if self.scope == "user" else "systemctl"

    @property
    def journal(self) -> str:
        """What a person types to read its log."""
        return f"journalctl {'--user ' if self.scope == 'user' else ''}-u {self.name}"


def services() -> list[Service]:
    """The installed services of ours, those of the whole system first."""
    if sys.platform != "linux":
        return []
    from ztm.cli.settings import home

    places = (("system", SYSTEM_UNITS), ("user", home() / USER_UNITS))
    return [
        _asked(f"ztm-{name}", scope)
        for scope, directory in places
        for name in NAMES
        if (directory / f"ztm-{name}.service").is_file()
    ]


def _asked(name: str, scope: str) -> Service:
    properties = "ActiveState,SubState,UnitFileState"
    words = ["systemctl", *(["--user"] if scope == "user" else []), "show", f"--property={properties}", name]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return Service(name, scope, "unknown")
    said = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if done.returncode or not said.get("ActiveState"):
        return Service(name, scope, "unknown")
    return Service(name, scope, said["ActiveState"], said.get("SubState", ""), said.get("UnitFileState", ""))
