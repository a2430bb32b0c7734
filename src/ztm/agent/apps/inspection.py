"""Looking at a package before anything of it is written or run: whose it is, what it asks for, what is wrong with it.

Source: spec app-framework 10.1 (no. 7) and 10.4.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ztm.agent.apps import requirements
from ztm.agent.apps.names import AppName
from ztm.agent.apps.package import Member, head, members
from ztm.agent.apps.signing import (
    MAX_SIGNATURE,
    SIGNATURE,
    Signed,
    Statement,
    check,
    mesh_fingerprint,
    read_signed,
    sign,
)
from ztm.agent.files.content import Content
from ztm.apps.catalog import PROVIDER
from ztm.apps.manifest import MANIFEST, MAX_MANIFEST, Manifest, read_manifest
from ztm.errors import CertificateError, UnusableError

NOT_PYTHON = "app {} is a PipyJS app; this agent runs only Python apps"
"""What is said of v1's packages (spec app-framework 10.1)."""
_LISTED = 5
"""Files that a message names."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A package that is what its publisher signed."""

    app: AppName
    manifest: Manifest
    digest: str
    """See `signing.Statement.digest`."""
    problems: tuple[str, ...]
    """What keeps it from running here, in words; none of them makes it another package."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a user signs with."""

    user: str
    private: str
    certificate: str

    def __repr__(self) -> str:
        return f"Key(user={self.user!r})"


def inspect(package: Content, ca: str, now: datetime, wanted: AppName | None = None) -> Inspected:
    """What `package` is, proven: its signature, every hash, its form and its manifest. Reads all of it.

    `wanted` is whose app it was given out for.

    Raises:
        UnusableError: it is v1's, without a signature, of another mesh or user, or not what was signed.
        UsageError: it is malformed.
        TooLargeError: it is too large.
    """
    found = {member.path: member for member in members(package)}
    manifest = _manifest(package, found, wanted)
    if f"/{SIGNATURE}" not in found:
        raise UnusableError(
            f"app {manifest.name} is not signed: its publisher makes a package by 'ztm app pack FOLDER'"
        )
    signed = read_signed(found[f"/{SIGNATURE}"].read(package, MAX_SIGNATURE))
    try:
        check(signed, ca, now)
    except CertificateError as error:
        raise UnusableError(f"the package cannot be trusted: {error}") from error
    _check_files(package, found, signed)
    app = signed.statement.app
    if (manifest.name, manifest.version) != (app.name, signed.statement.version):
        raise UnusableError(
            f"{MANIFEST} says {manifest.name} {manifest.version}, and the signature another app or version"
        )
    if wanted is not None and app != wanted:
        raise UnusableError(f"the package given out as app {wanted} is one of app {app}")
    if app.provider == PROVIDER:
        raise UnusableError(f"app {app} would be taken for one of ztm's own: no user may publish as {PROVIDER!r}")
    return Inspected(app, manifest, signed.statement.digest, tuple(requirements.missing(manifest.requires)))


def _manifest(package: Content, found: dict[str, Member], wanted: AppName | None) -> Manifest:
    """The manifest of a package.

    Raises:
        UnusableError: there is none.
        UsageError: it is malformed.
    """
    member = found.get(f"/{MANIFEST}")
    if member is not None:
        return read_manifest(member.read(package, MAX_MANIFEST))
    if wanted is not None or "/main.js" in found or "/main.ztm.js" in found:
        raise UnusableError(NOT_PYTHON.format(wanted or "in this package"))
    raise UnusableError(f"the package has no {MANIFEST}: it is no app for ztm")


def _check_files(package: Content, found: dict[str, Member], signed: Signed) -> None:
    """Every file that is listed is there and right, and no other one.

    Raises:
        UnusableError: it is not so.
    """
    listed = dict(signed.statement.files)
    there = found.keys() - {f"/{SIGNATURE}"}
    for what, paths in (
        ("more than was signed", there - listed.keys()),
        ("less than was signed", listed.keys() - there),
    ):
        if paths:
            raise UnusableError(f"the package has {what}: {_some(paths)}")
    changed = [path for path, digest in listed.items() if found[path].digest(package) != digest]
    if changed:
        raise UnusableError(f"the package is not what was signed: {_some(changed)} changed since")


def _some(paths: Iterable[str]) -> str:
    every = sorted(paths)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(path[1:] for path in every[:_LISTED]) + more


def signed_package(package: Content, key: Key, ca: str, tag: str = "") -> tuple[int, Iterator[bytes]]:
    """The same files with a signature of `key`'s user, which replaces one that is there: its size, and its pieces.

    Raises:
        UnusableError: there is no manifest in it.
        UsageError: the package or the manifest is malformed.
        TooLargeError: it is too large.
    """
    found = {member.path: member for member in members(package) if member.path != f"/{SIGNATURE}"}
    manifest = _manifest(package, found, None)
    app = AppName.parse(key.user, f"{manifest.name}@{tag}" if tag else manifest.name)
    if app.provider == PROVIDER:
        raise UnusableError(f"app {app} would be taken for one of ztm's own: no user may publish as {PROVIDER!r}")
    files = tuple(sorted((path, member.digest(package)) for path, member in found.items()))
    statement = Statement(app, manifest.version, mesh_fingerprint(ca), files)
    signature = sign(statement, key.private, key.certificate)
    heads = {path: head(path, member.size) for path, member in found.items()}
    last = head(f"/{SIGNATURE}", len(signature)) + signature
    size = sum(len(heads[path]) + member.size for path, member in found.items()) + len(last)

    def pieces() -> Iterator[bytes]:
        for path in sorted(found):
            yield heads[path]
            yield from found[path].pieces(package)
        yield last

    return size, pieces()


Inspector = Callable[[Content, AppName | None], Inspected]
"""Inspects by the CA and the clock of a mesh."""
