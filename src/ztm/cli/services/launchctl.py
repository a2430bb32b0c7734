"""Asking launchd of macOS: a property list in the user's own library, loaded into the user's session.

It decides nothing about what the list says; see `launchd`.
"""

import os
import subprocess
from pathlib import Path

from ztm.cli.services.files import write_public
from ztm.cli.services.launchd import label, options_in, plist
from ztm.cli.services.unit import Unit
from ztm.errors import ZtmError

PATIENCE = 60.0
"""Seconds for one call."""


class Launchctl:
    """See `Manager`. Services are always the user's: v1's are as well."""

    is_system = False

    def check(self) -> None:
        """See `Manager`; launchd is always there."""

    def is_installed(self, kind: str) -> bool:
        """See `Manager`."""
        return self._path(kind).is_file()

    def saved(self, kind: str) -> tuple[str, ...] | None:
        """See `Manager`."""
        try:
            return options_in(self._path(kind).read_bytes())
        except OSError:
            return None

    def install(self, unit: Unit) -> bool:
        """See `Manager`."""
        from ztm.cli.settings import home

        return write_public(self._path(unit.kind), plist(unit, home()))

    def start(self, kind: str) -> str:
        """See `Manager`."""
        self._launchctl("bootout", f"{_domain()}/{label(kind)}")  # an older run; there may be none
        self._launchctl("enable", f"{_domain()}/{label(kind)}")
        done = self._launchctl("bootstrap", _domain(), str(self._path(kind)))
        if done.returncode:
            raise ZtmError(f"launchd does not start {label(kind)}: {done.stderr.strip() or done.returncode}")
        return ""

    def stop(self, kind: str, *, for_good: bool) -> bool:
        """See `Manager`."""
        done = self._launchctl("bootout", f"{_domain()}/{label(kind)}")
        if for_good:
            self._launchctl("disable", f"{_domain()}/{label(kind)}")
        return done.returncode == 0

    def _path(self, kind: str) -> Path:
        from ztm.cli.settings import home

        return home() / "Library" / "LaunchAgents" / f"{label(kind)}.plist"

    def _launchctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(  # noqa: S603 (words of our own)
                ["launchctl", *words],  # noqa: S607 (found as the user finds it)
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ZtmError(f"launchctl {words[0]} failed: {error}") from None


def _domain() -> str:
    return f"gui/{os.getuid()}"
