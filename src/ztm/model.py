"""Frozen records that hub, agent and command line all speak of, and the rules of well-formed names.

Nothing here does I/O or reads a clock. A value of these types is already checked.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Self

from ztm.errors import UsageError

MAX_PORT = 65535
MAX_NAME = 128
"""Characters of a mesh, user or endpoint name: fits every table and any file system."""

ROOT = "root"
"""The administrator's user name (spec mesh-protocol 2.1)."""
CA = "ca"
"""The common name of a mesh's certificate authority."""
HUB_PREFIX = "hub/"
"""Common names of hubs begin with this; the hub's uuid follows."""

_is_uuid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069/\\]")


def check_name(kind: str, name: str) -> str:
    """Return `name` if it may name a mesh, a user, an endpoint or a tunnel.

    Such names become path segments and file names, so none may hold a slash, a backslash, a control
    character, a direction override or half a surrogate pair, be ``.`` or ``..``, begin or end with
    blanks, or exceed `MAX_NAME` characters.

    Raises:
        UsageError: the name breaks one of these rules.
    """
    if not name:
        raise UsageError(f"the {kind} name is empty")
    if len(name) > MAX_NAME:
        raise UsageError(f"the {kind} name has {len(name)} characters; {MAX_NAME} are allowed")
    bad = _FORBIDDEN.search(name)
    if bad:
        raise UsageError(f"invalid character {bad.group()!r} in {kind} name {name!r}")
    if name in (".", "..") or name != name.strip():
        raise UsageError(f"invalid {kind} name {name!r}")
    return name


def check_user(name: str) -> str:
    """Return `name` if it may be signed as a user name; ``ca`` and ``hub/...`` never may.

    Raises:
        UsageError: it is reserved or malformed.
    """
    check_name("user", name)
    if name.lower() in (CA, "hub"):
        raise UsageError(f"the user name {name!r} is reserved")
    return name


def check_uuid(kind: str, text: str) -> str:
    """Return `text` if it is a lower-case dashed uuid, the form of hub, endpoint and session ids.

    Raises:
        UsageError: it is not.
    """
    if not _is_uuid(text):
        raise UsageError(f"not a {kind} id: {text[:64]!r}")
    return text


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host and a TCP or UDP port, known to be well formed."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_host: str = "127.0.0.1") -> Self:
        """Read ``"port"``, ``":port"``, ``"host:port"`` or ``"[ipv6]:port"``.

        Raises:
            UsageError: the text is none of these, or the port is not 1-65535.
        """
        host, _, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host or any(c.isspace() or c in "[]/@" for c in host):
            raise UsageError(f"not an address: {text!r} (write host:port, and IPv6 as [::1]:80)")
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= MAX_PORT):
            raise UsageError(f"not a port: {port!r} in {text!r} (1 to {MAX_PORT})")
        return cls(host or default_host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who holds a certificate, as read from the verified certificate itself."""

    user: str
    """The common name."""
    key: str
    """Lower-case hex SHA-256 of the DER SubjectPublicKeyInfo."""
    not_before: datetime
    not_after: datetime

    @property
    def is_hub(self) -> bool:
        """Whether this is a hub's certificate (spec mesh-protocol W7)."""
        return self.user.startswith(HUB_PREFIX)


@dataclass(frozen=True, slots=True)
class Peer:
    """The verified other side of a session or stream, as handed to handlers.

    Over a hub, `user` comes from the caller's certificate as the hub verified it and `endpoint` from
    the hub's registry; nothing here is what the caller wrote about itself.
    """

    user: str
    endpoint: str = ""
    """Endpoint id; empty where the session belongs to none (yet)."""
    ip: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """What a peer says it runs (spec mesh-protocol 5.1, `version.ztm`)."""

    edition: str = ""
    tag: str = ""
    commit: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One agent's place in one mesh, as the hub lists it (spec mesh-protocol 5.1). Times are epoch ms."""

    id: str
    name: str
    user: str
    ip: str = ""
    port: int = 0
    hubs: tuple[str, ...] = ()
    version: Version = Version()
    labels: tuple[str, ...] = ()
    heartbeat_ms: int = 0
    ping_ms: int | None = None
    online: bool = False
    control_sessions: int = 0
    passive_sessions: int = 0


@dataclass(frozen=True, slots=True)
class HubInfo:
    """A hub as a zone's list names it: where to dial it, and what it runs."""

    id: str
    ports: tuple[Address, ...]
    zone: str = "default"
    version: Version = Version()


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Metadata of one mesh file (spec mesh-protocol 11). Times are epoch ms; size -1 marks a deletion."""

    hash: str
    size: int
    time_ms: int
    since_ms: int = 0
    """When the hub learnt it, by the hub's clock."""
    sources: tuple[str, ...] = ()
    """Endpoint ids that hold this content."""

    @property
    def is_deleted(self) -> bool:
        """Whether this is a tombstone."""
        return self.size < 0


@dataclass(frozen=True, slots=True)
class Eviction:
    """A user shut out. Times are epoch seconds by the hub's clock (spec mesh-protocol 13)."""

    user: str
    time: int
    expiration: int
    keys: tuple[str, ...] = ()
    """Fingerprints (`Identity.key`) the user was known to hold; these are shut out under any name."""


@dataclass(frozen=True, slots=True)
class Acl:
    """Who may see the metadata of a path below ``/apps/*/*/shared/{owner}`` (spec mesh-protocol 12)."""

    path: str
    all: str = ""
    """``""``, ``"readonly"`` or ``"block"``."""
    users: dict[str, str] = field(default_factory=dict)
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Permit:
    """The file that lets a user join: CA, certificate, bootstraps, and for root the private key (PEM texts)."""

    ca: str
    certificate: str
    bootstraps: tuple[Address, ...]
    key: str | None = field(default=None, repr=False)
    labels: tuple[str, ...] = ()


ID_DIGITS = 12
"""Hex digits of a permit's id: enough that no two of a mesh meet by chance, and few enough to type."""


def permit_id(user: str, key: str) -> str:
    """The id of the permit of `user` for the key with this fingerprint; renewals keep it, as they keep both."""
    return sha256(f"{key} {user}".encode()).hexdigest()[:ID_DIGITS]


class PermitState(StrEnum):
    """What a permit is worth now."""

    VALID = "valid"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    REVOKED = "revoked"
    EVICTED = "evicted"
    """It would be good, but its user is shut out."""


class Origin(StrEnum):
    """Why a hub signed a certificate."""

    ROOT = "root"
    """An agent of root asked for it: an invitation."""
    RENEWAL = "renewal"
    """Its holder asked for it."""
    HUB = "hub"
    """It is root's own, made where the hub's data is."""
    UNKNOWN = ""
    """It was signed before this was written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A permit as the hub remembers it: the newest certificate that it signed for one key of one user.

    Times are epoch seconds by the hub's clock.
    """

    user: str
    key: str
    """`Identity.key`."""
    not_before: int
    not_after: int
    time: int
    """When it was signed."""
    origin: Origin
    ends: int | None = None
    """Where root said how long it lasts: it is neither taken nor renewed beyond."""
    latest: int = 0
    """When the last of all certificates signed for this user and key ends."""

    @property
    def id(self) -> str:
        """`permit_id`."""
        return permit_id(self.user, self.key)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key that is shut out with every certificate that began no later than `time` (epoch seconds)."""

    key: str
    time: int
    expiration: int
    """When the last certificate that it can concern has ended."""
