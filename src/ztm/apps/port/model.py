"""Ports as frozen records that cannot be wrong. The entries of the access list are in `rules`, JSON in `forms`.

Nothing here does I/O.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple, Self

from ztm.errors import UsageError
from ztm.model import MAX_PORT, Address, check_uuid

PROTOCOLS = ("tcp", "udp")
MAX_IDLE = 86400
"""Seconds that a UDP session may be told to stay silent for: a day."""
MAX_HOST = 253
"""Characters of a host name (RFC 1035 section 2.3.4, less the length octets)."""


def check_protocol(protocol: str) -> str:
    """Return `protocol` if it is one of `PROTOCOLS`.

    Raises:
        UsageError: it is not.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"not a protocol of ports: {protocol[:32]!r} (tcp or udp)")
    return protocol


def check_host(host: str) -> str:
    """A host as it is dialled and compared: an IP address in its one form, or a name in lower case.

    Raises:
        UsageError: it is neither.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    if ":" in bare or not bare or len(bare) > MAX_HOST or not bare.isprintable() or any(c in " []/\\@?#" for c in bare):
        raise UsageError(f"not a host to dial: {host[:64]!r}")
    return bare.lower().removesuffix(".")


def check_port(port: int) -> int:
    """Return `port` if it can be dialled or listened on.

    Raises:
        UsageError: it is not 1 to 65535.
    """
    if not 1 <= port <= MAX_PORT:
        raise UsageError(f"not a port: {port} (1 to {MAX_PORT})")
    return port


def parse_target(text: str) -> Address:
    """The target of a port, ``host:port``; an IPv6 address may come without brackets, as the last colon counts.

    Source: spec apps-network 2.3 and 6 (the host is the part before the last colon).

    Raises:
        UsageError: it is no such thing.
    """
    host, colon, port = text.strip().rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5):
        raise UsageError(f"not a target: {text[:80]!r} (write host:port)")
    if ":" in host:
        return Address(_ipv6(host, text), check_port(int(port)))
    return Address(check_host(host), check_port(int(port)))


def _ipv6(host: str, text: str) -> str:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ip_address(bare))
    except ValueError:
        raise UsageError(f"not a target: {text[:80]!r} (write host:port, and IPv6 as [::1]:80)") from None


class PortKey(NamedTuple):
    """What no two ports of an endpoint have in common."""

    protocol: str
    listen: Address

    def __str__(self) -> str:
        return f"{self.protocol}/{self.listen}"


@dataclass(frozen=True, slots=True)
class Port:
    """A listening port here, and where it leads."""

    protocol: str
    listen: Address
    via: str
    """The id of the endpoint that dials the target."""
    target: Address
    idle: int | None = None
    """Seconds of silence after which a UDP session is forgotten; None is the usual time."""

    @classmethod
    def parse(cls, protocol: str, listen: str, via: str, target: str, idle: int | None = None) -> Self:
        """Check what was asked for.

        Raises:
            UsageError: a part is malformed.
        """
        check_protocol(protocol)
        address = Address.parse(listen)
        try:
            ip = str(ip_address(address.host))
        except ValueError:
            raise UsageError(f"not an IP address to listen on: {address.host[:64]!r} (as in 127.0.0.1:8080)") from None
        if idle is not None and protocol != "udp":
            raise UsageError(f"port {protocol}/{address} has no idle time-out: only UDP sessions end by silence")
        if idle is not None and not 1 <= idle <= MAX_IDLE:
            raise UsageError(f"an idle time-out of {idle} seconds; 1 to {MAX_IDLE} are allowed")
        return cls(protocol, Address(ip, address.port), check_uuid("endpoint", via), parse_target(target), idle)

    @property
    def key(self) -> PortKey:
        """What names it."""
        return PortKey(self.protocol, self.listen)
