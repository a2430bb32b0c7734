"""The text of a systemd unit, from a `Unit`; and the options that were written into one.

Pure: nothing is read, written or run here.

Source: systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ztm.cli.services.unit import SYSTEM_DATA, Unit

WATCHDOG = 60
"""Seconds without a sign of life from the event loop after which the process is replaced."""
START = 90
"""Seconds to come up: a hub may first make its CA, or ask a slow service for a certificate."""
AGAIN = 3
"""Seconds before a failed process is started again."""
AFTER_DRAIN = 15
"""Seconds that a process may take to end once the time of its streams is over."""
FILES = 655360
"""Open files, as v1: each session and each stream of a tunnel is one."""
WRONG_USAGE = 2
"""The exit status that no restart mends."""
_MARK = "# options: "
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+\[\]-]+")


def unit_text(unit: Unit) -> str:
    """The unit file."""
    sections = (("Unit", _unit(unit)), ("Service", _service(unit)), ("Install", _install(unit)))
    head = (
        f"# Written by `ztm start {unit.kind}`, and written anew when that is given options.\n"
        f"# Put settings of your own into a drop-in: systemctl {'' if unit.is_system else '--user '}edit {unit.name}\n"
        f"{_MARK}{json.dumps(list(unit.options))}\n"
    )
    return head + "".join(f"\n[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections)


def options_in(text: str) -> tuple[str, ...] | None:
    """The options that a unit file of ours was written with; None if it is somebody else's."""
    for line in text.splitlines():
        if line.startswith(_MARK):
            try:
                words = json.loads(line.removeprefix(_MARK))
            except ValueError:
                return None
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                return tuple(words)
    return None


def quoted(word: str, *, is_program: bool = False) -> str:
    """One word of a command line, so that systemd takes it as it is (systemd.service(5), COMMAND LINES).

    Variables are not expanded in the program's own name, so a ``$`` there stands for itself.
    """
    if _PLAIN.fullmatch(word):
        return word
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if not is_program:
        text = text.replace("$", "$$")
    return '"' + "".join(f"\\x{ord(one):02x}" if ord(one) < 0x20 or ord(one) == 0x7F else one for one in text) + '"'


def command_line(words: Sequence[str]) -> str:
    """All words of a command line, quoted."""
    return " ".join([quoted(words[0], is_program=True), *(quoted(word) for word in words[1:])])


def _unit(unit: Unit) -> list[str]:
    title = {"hub": "ztm hub: agents of a mesh meet here", "agent": "ztm agent: this machine's place in its meshes"}
    network = ["Wants=network-online.target", "After=network-online.target"] if unit.is_system else []
    # A port that is taken, or a disk that is full, may be mended at any time: no number of tries is the last.
    return [f"Description={title[unit.kind]}", f"Documentation=man:{unit.name}(8)", *network, "StartLimitIntervalSec=0"]


def _service(unit: Unit) -> list[str]:
    lines = [
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={command_line(unit.words)}",
        "Restart=on-failure",
        f"RestartSec={AGAIN}",
        f"RestartPreventExitStatus={WRONG_USAGE}",
        f"TimeoutStartSec={START}",
        f"TimeoutStopSec={round(unit.drain) + AFTER_DRAIN}",
        f"WatchdogSec={WATCHDOG}",
        "KillMode=mixed",
        "StandardOutput=journal",
        "StandardError=journal",
        f"SyslogIdentifier={unit.name}",
        "UMask=0077",
        "NoNewPrivileges=yes",
    ]
    return [*lines, *_owner(unit), *_walls(unit)] if unit.is_system else lines


def _owner(unit: Unit) -> list[str]:
    lines = [f"User={unit.user}", f"LimitNOFILE={FILES}"]
    if unit.kind == "agent":
        # Where root's `ztm` finds the token of an agent that is not root's own.
        lines += ["RuntimeDirectory=ztm-agent", "RuntimeDirectoryMode=0700"]
    if unit.data == SYSTEM_DATA:
        lines += [f"StateDirectory={SYSTEM_DATA.name}", "StateDirectoryMode=0700"]
    return lines


def _walls(unit: Unit) -> list[str]:
    """What it cannot touch, whatever becomes of it."""
    capability = "CAP_NET_BIND_SERVICE" if unit.has_low_port else ""
    writable = [*([] if unit.data == SYSTEM_DATA else [unit.data]), *unit.writable]
    needs_home = any(_is_below(path, "home", "root") for path in (*unit.reads, *writable))
    private_tmp = [] if any(_is_below(path, "tmp") for path in (*unit.reads, *writable)) else ["PrivateTmp"]
    return [
        *(f"ReadWritePaths={quoted(str(path))}" for path in writable),
        f"CapabilityBoundingSet={capability}",
        f"AmbientCapabilities={capability}",
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if needs_home else 'yes'}",
        *(
            f"{wall}=yes"
            for wall in (
                *(*private_tmp, "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules"),
                *("ProtectKernelLogs", "ProtectControlGroups", "ProtectClock", "ProtectHostname"),
                *("RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "RemoveIPC"),
            )
        ),
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
    ]


def _is_below(path: Path, *tops: str) -> bool:
    return path.is_absolute() and path.parts[1:2] in [(top,) for top in tops]


def _install(unit: Unit) -> list[str]:
    return [f"WantedBy={'multi-user' if unit.is_system else 'default'}.target"]
