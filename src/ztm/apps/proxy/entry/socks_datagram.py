"""The head of a datagram between a SOCKS5 client and the proxy, pure.

Source: RFC 1928 section 7.
"""

from typing import NamedTuple

from ztm.apps.proxy.entry.socks5 import address, address_bytes

_ADDRESS_AT = 3


class Datagram(NamedTuple):
    """A datagram and the address it is for; the host is not checked."""

    host: str
    port: int
    payload: bytes


def read(data: bytes) -> Datagram | None:
    """A client's datagram; None for one to be dropped: malformed, empty, or a fragment, which are not put together."""
    if len(data) <= _ADDRESS_AT or data[:_ADDRESS_AT] != bytes(_ADDRESS_AT):
        return None
    try:
        found = address(data, _ADDRESS_AT)
    except ValueError:
        return None
    if found is None or len(data) == found[2]:
        return None
    host, port, end = found
    return Datagram(host, port, data[end:])


def head(host: str, port: int) -> bytes:
    """What stands before a datagram that came from ``host:port``."""
    return bytes(_ADDRESS_AT) + address_bytes(host, port)
