"""Landlock: which files a process may read, write and execute from now on, and whom it may signal.

A ruleset can only take away, and is passed on to all that the process starts.
Source: landlock(7); https://docs.kernel.org/userspace-api/landlock.html.
"""

import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ztm_app.confine.system import buffer, syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""System calls; the same on every architecture."""
_VERSION_FLAG = 1
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TREE = 0x7FF0
"""Bits 4 to 14: removing, making and moving what is in a directory, and (bit 14) truncating; bit 13 is moving."""
_IOCTL_DEV = 1 << 15
_ALL = (0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
"""Rights to files that there are, by version from 1 on; the last for all later ones."""
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT, _SCOPE_SIGNAL = 1, 2
NETWORK_SINCE, SIGNALS_SINCE = 4, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What stays allowed. Paths that do not exist are left out."""

    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    executable: tuple[Path, ...]
    """Readable as well."""
    may_connect: bool
    """Whether TCP connections may be opened."""


def version() -> int:
    """The version of Landlock here; 0 where there is none."""
    try:
        return syscall(_CREATE, 0, 0, _VERSION_FLAG)
    except OSError:
        return 0


def restrict(rules: Rules) -> None:
    """Hold this process to `rules`; ``no_new_privs`` must be set before.

    Raises:
        OSError: the kernel refused.
    """
    found = version()
    files = _ALL[min(found, len(_ALL)) - 1]
    network = 0 if found < NETWORK_SINCE else _BIND_TCP if rules.may_connect else _BIND_TCP | _CONNECT_TCP
    scoped = _SCOPE_ABSTRACT | _SCOPE_SIGNAL if found >= SIGNALS_SINCE else 0
    form = struct.pack("=QQQ", files, network, scoped)
    size = 8 if found < NETWORK_SINCE else 16 if found < SIGNALS_SINCE else 24
    ruleset = syscall(_CREATE, buffer(form), size, 0)
    try:
        read = READ_FILE | READ_DIR
        _allow(ruleset, rules.readable, read & files)
        _allow(ruleset, rules.executable, (read | EXECUTE) & files)
        _allow(ruleset, rules.writable, (read | WRITE_FILE | _TREE) & files)
        syscall(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, paths: Iterable[Path], rights: int) -> None:
    for path in paths:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            kept = rights if stat.S_ISDIR(os.fstat(opened).st_mode) else rights & _OF_FILES
            syscall(_ADD, ruleset, _PATH_BENEATH, buffer(struct.pack("=Qi", kept, opened)), 0)
        finally:
            os.close(opened)
