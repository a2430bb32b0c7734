"""The signature of a package, ``ztm-app.sig``: who publishes which files as which app, in which mesh.

What is signed is a text of lines that holds all of it, so nothing can be added to a package, taken from it or moved
to another app, user or mesh. Its SHA-256 is the package's digest, which an owner's consent is bound to.

A publisher's certificate must be valid when its package is installed; what time a package itself names proves nothing.
What is installed goes on when the certificate has expired. That a user was evicted is the hub's knowledge and not
judged here. Source: spec app-framework 10.4.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ztm import pki
from ztm.agent.apps.names import AppName
from ztm.agent.apps.package import MAX_FILES, check_member
from ztm.errors import CertificateError, UsageError

SIGNATURE = "ztm-app.sig"
"""The file's name, at the top of a package; it is not listed in itself."""
MAX_SIGNATURE = 4 << 20
"""Bytes of it: some 200 for each of the most files that there may be, and a certificate."""
CONTEXT = "ztm app package 1"
"""The first line of what is signed: signed by the same key, nothing else begins so."""

_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a publisher signs."""

    app: AppName
    """Its provider is the publisher."""
    version: str
    mesh: str
    """Fingerprint of the mesh's CA: its key's (`model.Identity.key`)."""
    files: tuple[tuple[str, str], ...]
    """Path in the package, with its leading slash, and SHA-256 in hex, sorted."""

    def text(self) -> bytes:
        """What is signed: unambiguous, since no name, version or path has a line end in it."""
        lines = (CONTEXT, self.mesh, self.app.provider, self.app.name, self.app.tag, self.version)
        files = (f"{digest} {path}" for path, digest in self.files)
        return "".join(f"{line}\n" for line in (*lines, *files)).encode()

    @property
    def digest(self) -> str:
        """The package's: SHA-256 in hex over `text`."""
        return hashlib.sha256(self.text()).hexdigest()


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement with what proves it, well formed but not yet checked."""

    statement: Statement
    certificate: str
    signature: bytes


class _File(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    sha256: str


class _Signed(msgspec.Struct, forbid_unknown_fields=True):
    context: str
    publisher: str
    name: str
    version: str
    mesh: str
    files: list[_File]
    certificates: list[str]
    signature: str
    tag: str = ""


def mesh_fingerprint(ca: str) -> str:
    """What names a mesh in a statement.

    Raises:
        CertificateError: `ca` is no certificate.
    """
    return pki.identity_of(ca).key


def sign(statement: Statement, private_key: str, certificate: str) -> bytes:
    """The content of ``ztm-app.sig``.

    Raises:
        CertificateError: the key is unusable.
    """
    found = _Signed(
        context=CONTEXT,
        publisher=statement.app.provider,
        name=statement.app.name,
        tag=statement.app.tag,
        version=statement.version,
        mesh=statement.mesh,
        files=[_File(path, digest) for path, digest in statement.files],
        certificates=[certificate],
        signature=base64.b64encode(pki.sign(private_key, statement.text())).decode(),
    )
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def read_signed(data: bytes) -> Signed:
    """The statement of a ``ztm-app.sig``.

    Raises:
        UsageError: it is malformed.
    """
    try:
        found = msgspec.json.decode(data, type=_Signed)
        signature = base64.b64decode(found.signature, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, RecursionError) as error:
        raise UsageError(f"{SIGNATURE} is malformed: {error}") from error
    if found.context != CONTEXT or len(found.certificates) != 1:
        raise UsageError(f"{SIGNATURE} is of another kind than this agent knows ({CONTEXT}, with one certificate)")
    if not (_VERSION.fullmatch(found.version) and _SHA256.fullmatch(found.mesh)):
        raise UsageError(f"{SIGNATURE} is malformed: its version or its mesh")
    app = AppName.parse(found.publisher, f"{found.name}@{found.tag}" if found.tag else found.name)
    return Signed(Statement(app, found.version, found.mesh, _files(found.files)), found.certificates[0], signature)


def _files(listed: list[_File]) -> tuple[tuple[str, str], ...]:
    if not 0 < len(listed) <= MAX_FILES:
        raise UsageError(f"{SIGNATURE} lists {len(listed)} files; 1 to {MAX_FILES} are allowed")
    for one in listed:
        check_member(one.path)
        if not _SHA256.fullmatch(one.sha256):
            raise UsageError(f"{SIGNATURE} is malformed: the hash of {one.path!r}")
    files = tuple((one.path, one.sha256) for one in listed)
    if len({path for path, _ in files}) != len(files) or list(files) != sorted(files):
        raise UsageError(f"{SIGNATURE} lists a file twice, or not in order")
    return files


def check(signed: Signed, ca: str, now: datetime) -> None:
    """Return if a user of the mesh of `ca` has signed this, for that mesh and in the own name.

    Raises:
        CertificateError: it is another mesh's, another user's, out of its dates, a hub's, or not signed by its key.
    """
    statement = signed.statement
    if statement.mesh != mesh_fingerprint(ca):
        raise CertificateError(f"app {statement.app} was signed for another mesh")
    identity = pki.verify(signed.certificate, ca, now, server=False)
    if identity.is_hub or identity.user != statement.app.provider:
        raise CertificateError(
            f"app {statement.app} was signed by {identity.user!r}, who is not {statement.app.provider!r}"
        )
    pki.check_signature(signed.certificate, statement.text(), signed.signature)
