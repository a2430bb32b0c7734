"""Which of a hub's addresses a caller is told: those that somebody at its place can use."""

import ipaddress
from collections.abc import Iterable

from ztm.model import Address

_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15")
)


def address_class(host: str) -> str | None:
    """``localhost``, ``private`` or ``public`` for an IP literal; None for a name. Source: spec mesh-protocol 5.1."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.is_loopback:
        return "localhost"
    if ip.version == 6:
        return "private" if ip.is_private else "public"
    return "private" if any(ip in network for network in _PRIVATE) else "public"


def visible_ports(ports: Iterable[Address], caller: str) -> tuple[Address, ...]:
    """Those of `ports` that a caller from IP address `caller` is told: names, and IP literals of its own class."""
    own = address_class(caller)
    return tuple(port for port in dict.fromkeys(ports) if address_class(port.host) in (None, own))
