"""The manifest of an app by others, ``ztm-app.toml``: what it is, how it begins, and what it asks to be allowed.

It is read wherever a package is made, checked, installed or run. Nothing here grants anything.
Source: spec app-framework 10.3 and 10.6.
"""

import re
import tomllib
from dataclasses import dataclass
from typing import Any

import msgspec

from ztm.errors import UsageError
from ztm.model import check_name

MANIFEST = "ztm-app.toml"
"""The file's name, at the top of a package."""
API = 1
"""The only version there is of what an app is given."""
MAX_MANIFEST = 64 << 10
"""Bytes of a manifest."""

PERMISSIONS = {
    "mesh.connect": "open streams to the same app on other endpoints",
    "files.local": "keep files on this machine, within the app's own part",
    "files.user": "read and write its files of the own user, on all of that user's endpoints",
    "files.shared": "read its files that users share, and share those of the own user",
    "listen": "have the agent listen on ports of this machine for it",
    "net": "open connections to the network by itself",
    "exec": "start other programs",
}
"""What may be asked for; besides, ``app:PROVIDER/NAME`` for another app of the same endpoint."""
NEIGHBOUR = "app:"

_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!_-]{0,63}")
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_NEIGHBOUR = re.compile(r"app:[^/\s]+/[^/\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A checked manifest."""

    name: str
    version: str
    entry: str
    """``module:object`` below the package: an `ztm_app.App`, or any ASGI application."""
    title: str = ""
    """One line for people."""
    permissions: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    """Distributions (PEP 508) that must be installed beside ztm; nothing is ever fetched for an app."""
    memory_mb: int = 512
    """Address space beyond what Python itself has, at most."""
    files: int = 256
    """Open files, at most."""

    def allows(self, permission: str) -> bool:
        """Whether it asks for `permission`; an installed app was granted what it asks for."""
        return permission in self.permissions


class _File(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    version: str
    entry: str
    api: int
    title: str = ""
    permissions: list[str] = []
    requires: list[str] = []
    memory_mb: int = 512
    files: int = 256


def read_manifest(data: bytes) -> Manifest:
    """The manifest that `data`, a TOML text, holds.

    Raises:
        UsageError: it is no such text; the message says what is wrong in it.
    """
    if len(data) > MAX_MANIFEST:
        raise UsageError(f"{MANIFEST} has {len(data)} bytes; {MAX_MANIFEST} are allowed")
    try:
        found = msgspec.convert(tomllib.loads(data.decode()), _File)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise UsageError(f"{MANIFEST}: {error}") from error
    if found.api != API:
        raise UsageError(f"{MANIFEST}: api {found.api} is not known here; this ztm has api {API}")
    _check(_VERSION, found.version, "version", "as in 1.0.0")
    _check(_ENTRY, found.entry, "entry", "as in hello:app")
    for permission in found.permissions:
        if permission not in PERMISSIONS and not _NEIGHBOUR.fullmatch(permission):
            known = ", ".join((*PERMISSIONS, "app:PROVIDER/NAME"))
            raise UsageError(f"{MANIFEST}: no such permission: {permission!r} ({known})")
    _bounds(found.memory_mb, "memory_mb", 16, 1 << 20)
    _bounds(found.files, "files", 16, 1 << 16)
    return Manifest(
        name=_name(found.name),
        version=found.version,
        entry=found.entry,
        title=" ".join(found.title.split()),
        permissions=tuple(dict.fromkeys(found.permissions)),
        requires=tuple(dict.fromkeys(found.requires)),
        memory_mb=found.memory_mb,
        files=found.files,
    )


def _name(name: str) -> str:
    try:
        if "@" in name:
            raise UsageError(f"a name without '@', which begins a tag: {name!r}")
        return check_name("app", name)
    except UsageError as error:
        raise UsageError(f"{MANIFEST}: {error}") from error


def _check(form: re.Pattern[str], value: str, field: str, example: str) -> None:
    if not form.fullmatch(value):
        raise UsageError(f"{MANIFEST}: not a {field}: {value[:80]!r} ({example})")


def _bounds(value: int, field: str, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{MANIFEST}: {field} is {value}; {least} to {most} are allowed")


def describe_permission(permission: str) -> str:
    """What `permission` lets an app do, for people."""
    if permission.startswith(NEIGHBOUR):
        return f"ask the app {permission.removeprefix(NEIGHBOUR)} of the same endpoint"
    return PERMISSIONS.get(permission, "unknown to this ztm")


def as_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as the API shows it."""
    return {name: getattr(manifest, name) for name in Manifest.__slots__}
