"""A real systemd of its own for tests: one user's manager, that sees the machine read-only and no units but the test's.

Everything but the test's own directory is mounted read-only before systemd is started, and that is checked by trying
to write; so nothing that a unit or systemd itself does is seen outside. It needs root, systemd and cgroup version 2.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from world import START, until

SYSTEMD = next(
    (path for path in map(Path, ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")) if path.exists()), None
)
INSIDE = """
set -eu
here=$1; shift
mount --make-rprivate /
mount --bind "$here" "$here"
mount -t proc proc /proc
mount -o remount,bind,ro /
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/systemd/system
for place in / /tmp /var/tmp /etc /var/lib "$HOME_BEFORE"; do
  if touch "$place/.ztm-probe" 2>/dev/null; then rm -f "$place/.ztm-probe"; echo "writable: $place"; exit 97; fi
done
exec "$@"
"""
"""Run in fresh namespaces; ends before it starts anything if a write outside of the test's directory is possible."""
TARGETS = ("basic", "sysinit", "shutdown", "default")
"""Empty ones: systemd's own would start the machine's services."""


def missing() -> str:
    """What a manager of our own needs and this machine has not; empty if all is there."""
    if os.geteuid() != 0:
        return "only root may make namespaces"
    for tool in ("systemctl", "unshare", "nsenter", "mount"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    if SYSTEMD is None:
        return "there is no systemd"
    return "" if _cgroups() else "no cgroup (version 2) may be made"


def _cgroups() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(place)
    return None


@dataclass(frozen=True)
class UserManager:
    """A running manager."""

    home: Path
    pid: int
    log: Path

    @property
    def prefix(self) -> list[str]:
        """What runs a command inside."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--cgroup"]

    @property
    def variables(self) -> dict[str, str]:
        """The environment of such a command."""
        return {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home / "run"), "LC_ALL": "C.UTF-8"}

    def unit(self, name: str) -> Path:
        """The file of a unit."""
        return self.home / ".config" / "systemd" / "user" / f"{name}.service"

    def show(self, name: str, key: str) -> str:
        """A property of a unit, as systemd has it."""
        return self.run("systemctl", "--user", "show", f"--property={key}", "--value", name).strip()

    def run(self, *words: str) -> str:
        """What a command says that must succeed."""
        done = subprocess.run(
            [*self.prefix, *words],
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, (words, done)
        return done.stdout


@contextmanager
def user_manager(path: Path) -> Iterator[UserManager]:
    """A manager whose home, the only place that it and its services can write to, is below `path`."""
    home = path / "home"
    units, empty = home / ".config" / "systemd" / "user", home / "empty"
    units.mkdir(parents=True)
    empty.mkdir()
    (home / "run").mkdir(mode=0o700)
    for target in TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDescription=nothing\nDefaultDependencies=no\n")
    around = _cgroups()
    assert around is not None
    group = around / f"ztm-test-{secrets.token_hex(4)}"
    group.mkdir()
    log = path / "systemd.log"
    process = _start(home, units, empty, group, log)
    try:
        private = home / "run" / "systemd" / "private"
        until(lambda: private.exists() or process.poll() is not None, within=START, what="systemd is up")
        assert process.poll() is None, log.read_text()
        yield UserManager(home, _first_child(process.pid), log)
    finally:
        process.kill()
        process.wait(10)
        until(lambda: "populated 0" in (group / "cgroup.events").read_text(), what="all of its processes have ended")
        for directory, _, _ in os.walk(group, topdown=False):
            Path(directory).rmdir()


def _start(home: Path, units: Path, empty: Path, group: Path, log: Path) -> "subprocess.Popen[bytes]":
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ZTM_"))},
        "HOME": str(home),
        "HOME_BEFORE": os.environ.get("HOME", "/root"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "SYSTEMD_UNIT_PATH": str(units),  # no others: not even systemd's own
        "SYSTEMD_GENERATOR_PATH": str(empty),
        "SYSTEMD_ENVIRONMENT_GENERATOR_PATH": str(empty),
    }
    enter = f'echo $$ > "{group}/cgroup.procs"; exec "$@"'
    apart = ["unshare", "--mount", "--cgroup", "--pid", "--fork", "--kill-child"]
    inside = ["sh", "-c", INSIDE, "inside", str(home), str(SYSTEMD), "--user", "--unit=default.target"]
    with log.open("wb") as output:
        # A shell between, since as the first process of a namespace systemd takes itself for the machine's.
        return subprocess.Popen(
            ["sh", "-c", enter, "enter", *apart, "sh", "-c", '"$@"; exit $?', "init", *inside],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _first_child(pid: int) -> int:
    """The process in whose namespaces systemd runs."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    deeper = Path(f"/proc/{found[0]}/task/{found[0]}/children").read_text().split()
    return int(deeper[0])
