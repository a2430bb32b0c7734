"""Checks of this machine: the agent's port, data directories and their modes, disk space, services.

It reads modes and names, and no content of a data directory but where its agent listens.
"""

import json
import os
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ztm.cli.checkup.findings import Check, Finding
from ztm.cli.checkup.services import Service
from ztm.cli.settings import home
from ztm.model import Address

LEAST_SPACE = 100 << 20
"""Bytes free below which a warning is given; a tenth of it is a failure, since settings can soon not be stored."""
PATIENCE = 2.0
"""Seconds for a connection on this machine."""
HUB_FILE = "ztm-hub.db"
PRIVATE = ("ztm.db*", HUB_FILE + "*", "api.token", "*.key", "*.json", "*.pem")
"""Files of a data directory that only their owner may read."""


def port_check(agent: Mapping[str, Any], address: Address | None) -> Check:
    """Whether the agent answers where it is looked for, and if not, what does."""
    what = f"agent at {agent['address']}"
    return Check(what, lambda: [_port(agent, address, what)])


def _port(agent: Mapping[str, Any], address: Address | None, what: str) -> Finding:
    if agent["reachable"]:
        return Finding("ok", what, f"answers as ztm {agent['version'].get('tag') or '(unknown version)'}")
    if agent["refused"]:
        return Finding("fail", what, agent["error"], "ztm config show, and see who runs the agent")
    if address is not None and not _is_bindable(address):
        return Finding("fail", what, agent["error"], "see what uses that port, or run the agent on another: --listen")
    return Finding("fail", what, agent["error"], "ztm start agent, or ztm run agent")


def _is_bindable(address: Address) -> bool:
    """Whether an agent could listen at an address of this machine; True for addresses elsewhere."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        import errno

        return error.errno != errno.EADDRINUSE
    return True


def data_directories(named: Path | None) -> list[Path]:
    """Where hub and agents keep their data: the one that was named, else the usual one and those of this user's agents.

    That of services of the machine is among them only if this user may look into it.
    """
    if named is not None:
        return [named]
    from ztm.cli.services.unit import SYSTEM_DATA

    found = [home() / ".ztm"]
    for pointer in sorted((home() / ".ztm" / "agents").glob("*.json")):
        try:
            found.append(Path(str(json.loads(pointer.read_text(encoding="utf-8"))["data"])))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    if os.access(SYSTEM_DATA, os.R_OK | os.X_OK):
        found.append(SYSTEM_DATA)
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def directory_check(path: Path) -> Check:
    """Whether a data directory is private and has room."""
    what = f"data directory {path}"
    return Check(what, lambda: list(_directory(path, what)))


def _directory(path: Path, what: str) -> Iterator[Finding]:
    if not path.is_dir():
        yield Finding("fail", what, "there is no such directory", "name the one that --data was given")
        return
    yield from _modes(path, what)
    if not os.access(path, os.W_OK):
        yield Finding("warn", what, "this user may not write there", "run ztm as the user who runs the agent or hub")
    free = shutil.disk_usage(path).free
    why, do = f"{free >> 20} MiB free", f"make room: df -h {path}"
    if free >= LEAST_SPACE:
        yield Finding("ok", f"{what}: disk", why)
    else:
        yield Finding("warn" if free >= LEAST_SPACE // 10 else "fail", f"{what}: disk", why, do)


def _modes(path: Path, what: str) -> Iterator[Finding]:
    names = {one for pattern in PRIVATE for one in path.glob(pattern)}
    wide = sorted(str(one.name) for one in names if one.is_file() and stat.S_IMODE(one.stat().st_mode) & 0o077)
    mode = stat.S_IMODE(path.stat().st_mode)
    if wide:
        listed = ", ".join(wide[:3]) + (", ..." if len(wide) > 3 else "")
        yield Finding("fail", f"{what}: modes", f"others may read {listed}", f"chmod go= {path}/*")
    elif mode & 0o077:
        yield Finding("warn", f"{what}: modes", f"its mode is {mode:04o}, not 0700", f"chmod 700 {path}")
    else:
        yield Finding("ok", f"{what}: modes", "private")


def hub_here_check(path: Path) -> Check | None:
    """Whether the hub whose data are in `path` listens; None where there is none."""
    if not (path / HUB_FILE).is_file():
        return None
    what = f"hub of {path}"
    return Check(what, lambda: [_hub_here(path, what)])


def _hub_here(path: Path, what: str) -> Finding:
    pid = _holder(path / "hub.lock")
    if pid is None:
        return Finding("warn", what, "it is not running, as far as can be told", "ztm start hub, if it is to run here")
    address = _listens(pid)
    try:
        socket.create_connection((address.host, address.port), PATIENCE).close()
    except OSError as error:
        why = f"process {pid} does not answer at {address}: {error.strerror or error}"
        return Finding("fail", what, why, "see its log")
    return Finding("ok", what, f"process {pid} listens at {address}")


def _holder(lock: Path) -> int | None:
    """The process that holds a lock file, by what Linux tells of locks."""
    try:
        inode = lock.stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeError):
        return None
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            return int(words[4])
    return None


def _listens(pid: int) -> Address:
    """Where a hub's process was told to listen, on this machine's own side."""
    from ztm.cli.commands import commands
    from ztm.errors import UsageError

    default = "0.0.0.0:8888"
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        _, arguments = commands().parse(words[words.index("run") :])
        address = Address.parse(arguments.value("--listen") or default, "0.0.0.0")
    except (OSError, ValueError, UsageError):
        address = Address.parse(default)
    return Address("127.0.0.1", address.port) if address.host in ("0.0.0.0", "::") else address


_LEVELS: dict[str, Literal["ok", "warn", "fail"]] = {"failed": "fail", "active": "ok"}


def service_findings(services: list[Service]) -> list[Finding]:
    """How the installed services are doing."""
    found = []
    for one in services:
        why = ", ".join(filter(None, (one.state, one.detail, one.boot)))
        level = _LEVELS.get(one.state, "warn")
        do = "" if level == "ok" else f"{one.journal} -e, then {one.manager} restart {one.name}"
        found.append(Finding(level, f"service {one.name}", why, do))
    return found
