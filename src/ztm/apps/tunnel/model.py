"""Inbounds and outbounds as frozen records that cannot be wrong, and who may pass an outbound.

Nothing here does I/O; JSON is in `forms`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple, Self

from ztm.core.access import ANYONE, Verdict, judge, may_enter, may_use
from ztm.errors import UsageError
from ztm.model import MAX_PORT, Address, Peer, check_name, check_uuid

PROTOCOLS = ("tcp", "udp")
MAX_ADDRESSES = 256
"""Listens or targets of one tunnel end: a range of ports, and no accident."""
MAX_IDLE = 86400
"""Seconds that a UDP session may be told to stay silent for: a day."""
_MAX_HOST = 253
"""Characters of a host name (RFC 1035 section 2.3.4, less the length octets)."""


class Key(NamedTuple):
    """What the two ends of a tunnel have in common."""

    protocol: str
    name: str

    @classmethod
    def parse(cls, protocol: str, name: str) -> Self:
        """Check both parts.

        Raises:
            UsageError: the protocol is neither ``tcp`` nor ``udp``, or the name is malformed.
        """
        if protocol not in PROTOCOLS:
            raise UsageError(f"not a tunnel protocol: {protocol[:32]!r} (tcp or udp)")
        return cls(protocol, check_name("tunnel", name))

    def __str__(self) -> str:
        return f"{self.protocol}/{self.name}"


@dataclass(frozen=True, slots=True)
class Inbound:
    """A tunnel's entrance: where it listens, and which exits it takes."""

    key: Key
    listens: tuple[Address, ...]
    exits: tuple[str, ...] = ()
    """Endpoint ids; none means any exit that a trusted user offers."""
    from_users: tuple[str, ...] = ()
    """Users whose exits are trusted besides the own user's; `ANYONE` is every user (spec apps-network 7.3)."""
    idle: int | None = None
    """Seconds of silence after which a UDP session is forgotten; None is the usual time."""

    @classmethod
    def parse(
        cls,
        key: Key,
        listens: Iterable[Address],
        exits: Iterable[str] = (),
        from_users: Iterable[str] = (),
        idle: int | None = None,
    ) -> Self:
        """Check what was asked for; what comes twice counts once.

        Raises:
            UsageError: a part is malformed, or there is nothing to listen on.
        """
        return cls(
            key,
            _addresses(f"inbound {key} needs", [_listen(one) for one in listens]),
            _ids(exits),
            _users(from_users),
            _idle(key, idle),
        )

    def trusts(self, user: str, owner: str) -> bool:
        """Whether an exit offered by `user` may be taken; `owner` is the own user."""
        return may_use(owner, self.from_users, user)


@dataclass(frozen=True, slots=True)
class Outbound:
    """A tunnel's exit: what it dials, and for whom."""

    key: Key
    targets: tuple[Address, ...]
    entrances: tuple[str, ...] = ()
    """Endpoint ids from which streams may come; none means any."""
    users: tuple[str, ...] = ()
    """Users who may pass, besides the owner. None means every user of the mesh, as v1 reads it."""
    idle: int | None = None
    """Seconds of silence after which a UDP session is forgotten; None is the usual time."""

    @classmethod
    def parse(
        cls,
        key: Key,
        targets: Iterable[Address],
        entrances: Iterable[str],
        users: Sequence[str] | None,
        owner: str,
        idle: int | None = None,
    ) -> Self:
        """Check what was asked for; `users` left out means `owner` alone, and `ANYONE` in it everyone.

        Source: spec apps-network 7 rule 4.

        Raises:
            UsageError: a part is malformed, or there is no target.
        """
        allowed = _users((owner,) if users is None else users)
        return cls(
            key,
            _addresses(f"outbound {key} needs", [_target(one) for one in targets]),
            _ids(entrances),
            () if ANYONE in allowed else allowed,
            _idle(key, idle),
        )

    def verdict(self, peer: Peer, owner: str) -> Verdict:
        """Whether `peer` may use it: by its user, and where entrances are named by its endpoint as well.

        An endpoint alone never lets anybody in: over a v1 hub it is what the caller says (weakness T4).
        """
        if not may_enter(self.entrances, peer.endpoint):
            return Verdict(False, "only the entrances that are named")
        return judge(owner, self.users or (ANYONE,), peer.user)

    def admits(self, peer: Peer, owner: str) -> bool:
        """`verdict` for those who need no reason."""
        return self.verdict(peer, owner).is_allowed


def _idle(key: Key, seconds: int | None) -> int | None:
    if seconds is None:
        return None
    if key.protocol != "udp":
        raise UsageError(f"{key} has no idle time-out: only UDP sessions end by silence")
    if not 1 <= seconds <= MAX_IDLE:
        raise UsageError(f"an idle time-out of {seconds} seconds for {key}; 1 to {MAX_IDLE} are allowed")
    return seconds


def _addresses(who_needs: str, found: list[Address]) -> tuple[Address, ...]:
    unique = tuple(dict.fromkeys(found))
    if not 0 < len(unique) <= MAX_ADDRESSES:
        raise UsageError(f"{who_needs} 1 to {MAX_ADDRESSES} addresses; {len(unique)} were given")
    return unique


def _listen(address: Address) -> Address:
    try:
        ip = ip_address(_bare(address.host))
    except ValueError:
        raise UsageError(f"not an IP address to listen on: {address.host[:64]!r} (as in 127.0.0.1 or ::1)") from None
    return Address(str(ip), _port(address))


def _target(address: Address) -> Address:
    host = _bare(address.host)
    if ":" in host:
        try:
            ip_address(host)
        except ValueError:
            raise UsageError(f"not an IPv6 address: {host[:64]!r}") from None
    elif not host or len(host) > _MAX_HOST or not host.isprintable() or any(c in " []/\\@?#" for c in host):
        raise UsageError(f"not a host to dial: {host[:64]!r}")
    return Address(host, _port(address))


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _port(address: Address) -> int:
    if not 1 <= address.port <= MAX_PORT:
        raise UsageError(f"not a port: {address.port} (1 to {MAX_PORT})")
    return address.port


def _ids(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_uuid("endpoint", one) for one in found))


def _users(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one if one == ANYONE else check_name("user", one) for one in found))
