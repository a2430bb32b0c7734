"""Which hosts an entry of targets, exclusions or rules means: names, patterns of names, addresses and networks.

It resolves nothing: whether a name leads to an address is for its caller to find out.

Source: spec apps-network 2.5 and 7 rule 5.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Self

from ztm.errors import UsageError
from ztm.model import Address

Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_ENTRIES = 10_000
"""Of one list: more than a person writes, and what is matched at once without being felt."""
_MAX_NAME = 253
"""Characters of a host name (RFC 1035 section 2.3.4)."""
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
"""A last label that makes the whole an IPv4 address or nothing (https://url.spec.whatwg.org, ends in a number)."""


@dataclass(frozen=True, slots=True)
class Host:
    """A destination as it was asked for: a domain name in lower case, or an IP address."""

    name: str
    """The name, or the address in its usual form."""
    ip: Ip | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name or an address, with or without brackets.

        Raises:
            UsageError: it is neither, or only a lenient resolver would take it for an address (``127.1``).
        """
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        ip = read_ip(bare)
        if ip is not None:
            return cls(str(ip), ip)
        name = _name(bare, text)
        if _NUMBER.match(name.rpartition(".")[2]):
            raise UsageError(f"not a host: {text[:80]!r} (write an IPv4 address as four decimal numbers)")
        return cls(name, None)

    def __str__(self) -> str:
        return self.name


def read_ip(text: str) -> Ip | None:
    """`text` as an address, one of IPv4 inside IPv6 as that of IPv4; None if it is no address."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        if found.scope_id:
            found = IPv6Address(int(found))
        return found.ipv4_mapped or found
    return found


def parse_target(text: str) -> tuple[Host, int]:
    """The ``host:port`` of a path; an IPv6 address has brackets.

    Raises:
        UsageError: it is no such text.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise UsageError(f"not a target: {text[:80]!r} (host:port, and IPv6 as [::1]:80)")
    return Host.parse(host), Address.parse(f"x:{port}").port


def target_text(host: str, port: int) -> str:
    """`host` and `port` as `parse_target` reads them."""
    return str(Address(host, port))


@dataclass(frozen=True, slots=True)
class Hosts:
    """A list of entries, ready to be asked."""

    entries: tuple[str, ...] = ()
    """As they were written, for people and peers."""
    _names: frozenset[str] = frozenset()
    _suffixes: tuple[str, ...] = ()
    """What a name must end with; an empty one is every name."""
    _networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read names, ``*.example.org``, ``*``, addresses and networks; what comes twice counts once.

        Raises:
            UsageError: one is none of these, or they are too many.
        """
        kept = tuple(dict.fromkeys(entry.strip() for entry in entries))
        if len(kept) > MAX_ENTRIES:
            raise UsageError(f"{len(kept)} entries in one list; {MAX_ENTRIES} are allowed")
        names, suffixes, networks = set(), [], []
        for entry in kept:
            network = _network(entry)
            if network is not None:
                networks.append(network)
            elif entry.startswith("*"):
                suffixes.append(_suffix(entry))
            else:
                names.add(_name(entry, entry))
        return cls(kept, frozenset(names), tuple(suffixes), tuple(networks))

    @classmethod
    def parse_some(cls, entries: Iterable[str]) -> Self:
        """The same for another endpoint's list: what cannot be read there is left out, and so is what is too much."""
        kept: list[str] = []
        for entry in islice(entries, MAX_ENTRIES):
            with suppress(UsageError):
                kept += cls.parse((entry,)).entries
        return cls.parse(kept)

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def has_networks(self) -> bool:
        """Whether an address can be meant at all."""
        return bool(self._networks)

    def has(self, host: Host) -> bool:
        """Whether `host` is meant as it is written; a name is not resolved."""
        return self.has_ip(host.ip) if host.ip is not None else self._has_name(host.name)

    def has_ip(self, ip: Ip) -> bool:
        """Whether an address is in one of the networks."""
        return any(ip.version == network.version and ip in network for network in self._networks)

    def _has_name(self, name: str) -> bool:
        return name in self._names or any(name.endswith(suffix) for suffix in self._suffixes)


def serves(targets: Hosts, exclusions: Hosts, host: Host) -> bool:
    """Whether an exit with these lists says that it serves `host`."""
    return targets.has(host) and not exclusions.has(host)


def _network(entry: str) -> Network | None:
    text = entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry
    ip = read_ip(text)
    if ip is not None:
        return ip_network(ip)
    if "/" not in text:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise UsageError(f"not a network: {entry[:80]!r} (as in 10.0.0.0/8)") from None


def _suffix(entry: str) -> str:
    """What stands behind the ``*``; without a dot it is the end of a name as well (v1's reading)."""
    rest = entry[1:]
    if not rest:
        return ""
    return "." + _name(rest[1:], entry) if rest.startswith(".") else _name(rest, entry)


def _name(text: str, whole: str) -> str:
    """A host name in the form in which names are compared.

    Raises:
        UsageError: it is none.
    """
    name = text.removesuffix(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            raise UsageError(f"not a host name: {whole[:80]!r}") from None
    if not 0 < len(name) <= _MAX_NAME or not all(c.isalnum() or c in "-_." for c in name) or ".." in name:
        raise UsageError(f"not a host: {whole[:80]!r} (a name, an IP address, or *.example.org where patterns may be)")
    return name
