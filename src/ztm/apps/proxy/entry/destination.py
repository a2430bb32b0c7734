"""Where a client wants to go: a host in one form whichever protocol named it, and a port.

It resolves nothing. What only a lenient resolver would take for an address is no host here.
"""

import re
from typing import NamedTuple, Self

from ztm.apps.proxy.hosts import Host
from ztm.errors import UsageError
from ztm.model import MAX_PORT, Address

_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
"""A last label that makes the whole an IPv4 address or nothing (https://url.spec.whatwg.org, ends in a number)."""


class Destination(NamedTuple):
    """A host and a port."""

    host: str
    """A name in lower case without a dot at its end, or an IP address without brackets."""
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> Self:
        """Check a host and a port.

        Raises:
            UsageError: `host` is no name and no address, or `port` is not 1-65535.
        """
        if not 1 <= port <= MAX_PORT:
            raise UsageError(f"not a port: {port} (1 to {MAX_PORT})")
        found = Host.parse(host)
        if found.ip is None and _NUMBER.match(found.name.rpartition(".")[2]):
            raise UsageError(f"not a host: {host[:80]!r} (write an IPv4 address as four decimal numbers)")
        return cls(found.name, port)

    @classmethod
    def parse(cls, authority: str, default_port: int | None = None) -> Self:
        """Read ``host:port`` or ``[ipv6]:port``; without a port, `default_port` counts if there is one.

        Raises:
            UsageError: it is neither.
        """
        host, colon, port = authority.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = authority, ""
        if not host or (":" in host) != (host[0] + host[-1] == "[]"):
            raise UsageError(f"not a host and a port: {authority[:80]!r} (host:port, and IPv6 as [::1]:80)")
        if not port and default_port is not None:
            return cls.of(host, default_port)
        if not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise UsageError(f"not a port: {port[:20]!r} in {authority[:80]!r} (1 to {MAX_PORT})")
        return cls.of(host, int(port))

    def __str__(self) -> str:
        return str(Address(self.host, self.port))
