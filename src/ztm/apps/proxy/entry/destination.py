"""Where a client wants to go: a host in one form whichever protocol named it, and a port.

It resolves nothing; what is a host is said in `hosts`.
"""

from typing import NamedTuple, Self

from ztm.apps.proxy.hosts import Host
from ztm.errors import UsageError
from ztm.model import MAX_PORT, Address


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
        return cls(Host.parse(host).name, port)

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
