"""Asking systemd: units are written, then reloaded, enabled and started, and its word is waited for.

It decides nothing about what a unit says; see `systemd`.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ztm.cli.checkup.services import SYSTEM_UNITS, USER_UNITS
from ztm.cli.services.systemd import START, options_in, unit_text
from ztm.cli.services.unit import NAMES, Unit
from ztm.errors import ZtmError

BOOTED = Path("/run/systemd/system")
"""There where systemd is the first process (sd_booted(3))."""
PATIENCE = START + 30.0
"""Seconds for one call; systemd itself gives up a start before."""


class Systemctl:
    """See `Manager`."""

    def __init__(self, *, is_system: bool) -> None:
        self.is_system = is_system

    @property
    def directory(self) -> Path:
        """Where units are written."""
        from ztm.cli.settings import home

        return SYSTEM_UNITS if self.is_system else home() / USER_UNITS

    def check(self) -> None:
        """See `Manager`."""
        is_there = BOOTED.is_dir() if self.is_system else (_runtime() / "systemd" / "private").exists()
        if not is_there or not self._is_answering():
            whose = "system" if self.is_system else "user"
            raise ZtmError(
                f"no systemd {whose} manager runs here (a container has none): use 'ztm run hub' or 'ztm run agent', "
                "and let whatever starts your programs keep it running"
            )

    def _is_answering(self) -> bool:
        try:
            state = self._systemctl("is-system-running").stdout.strip()
        except ZtmError:
            return False
        return state not in ("", "offline", "unknown")

    def is_installed(self, kind: str) -> bool:
        """See `Manager`."""
        return self._path(kind).is_file()

    def saved(self, kind: str) -> tuple[str, ...] | None:
        """See `Manager`."""
        try:
            return options_in(self._path(kind).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return None

    def install(self, unit: Unit) -> bool:
        """See `Manager`."""
        from ztm.cli.services.files import write_public

        return write_public(self._path(unit.kind), unit_text(unit).encode())

    def start(self, kind: str) -> str:
        """See `Manager`."""
        name = NAMES[kind]
        self._done("daemon-reload")
        started = self._systemctl("restart", name)
        if started.returncode:
            why = (self._why(name) or _last_line(started.stderr)).rstrip(".") or "systemd does not say why"
            self._systemctl("stop", name)
            raise ZtmError(f"{name} does not start: {why}. It is stopped; see '{self._log(name)}'")
        self._done("enable", name)
        return self._property(name, "StatusText")

    def stop(self, kind: str, *, for_good: bool) -> bool:
        """See `Manager`."""
        name = NAMES[kind]
        was_running = self._property(name, "ActiveState") in ("active", "activating", "reloading", "deactivating")
        self._done("stop", name)
        if for_good:
            self._done("disable", name)
        return was_running

    # ------------------------------------------------------------------ systemd's word

    def _why(self, name: str) -> str:
        """What the process said of itself, else the last line of its log, else systemd's own word."""
        said = self._property(name, "StatusText")
        if said:
            return said
        scope = [] if self.is_system else ["--user"]
        invocation = self._property(name, "InvocationID")
        chosen = [f"_SYSTEMD_INVOCATION_ID={invocation}"] if invocation else ["--unit", name]
        logged = _run(["journalctl", *scope, "--no-pager", "--quiet", "--lines=1", "--output=cat", *chosen])
        if logged is not None and logged.returncode == 0 and logged.stdout.strip():
            return _last_line(logged.stdout)
        result, status = self._property(name, "Result"), self._property(name, "ExecMainStatus")
        return f"{result}, exit status {status}" if result not in ("", "success") else ""

    def _property(self, name: str, key: str) -> str:
        return self._systemctl("show", f"--property={key}", "--value", name).stdout.strip()

    def _log(self, name: str) -> str:
        return f"journalctl {'' if self.is_system else '--user '}-u {name}"

    def _path(self, kind: str) -> Path:
        return self.directory / f"{NAMES[kind]}.service"

    def _done(self, *words: str) -> None:
        """Run systemctl; it must succeed.

        Raises:
            ZtmError: it does not.
        """
        done = self._systemctl(*words)
        if done.returncode:
            raise ZtmError(f"systemctl {' '.join(words)} failed: {_last_line(done.stderr) or done.returncode}")

    def _systemctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        scope = [] if self.is_system else ["--user"]
        done = _run(["systemctl", *scope, "--no-pager", "--no-ask-password", *words])
        if done is None:
            raise ZtmError(f"systemctl {words[0]} cannot be run, or has not answered within {PATIENCE:g} s")
        return done


def _run(words: Sequence[str]) -> "subprocess.CompletedProcess[str] | None":
    """Run a command to its end; None if it is not there or takes too long."""
    variables = {**os.environ, "XDG_RUNTIME_DIR": str(_runtime()), "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
    try:
        return subprocess.run(  # noqa: S603 (words of our own)
            list(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env=variables,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _runtime() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("ztm: ") if lines else ""
