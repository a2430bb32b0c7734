"""The access list of an endpoint: which addresses behind it other users, and if he says so its owner, may reach.

It is pure: names are resolved by whoever asks, and each address that a name leads to is judged by itself.

Source: spec apps-network 6, weaknesses O1, O2, O3, O7.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Protocol, Self

from ztm.apps.port.model import MAX_HOST, check_port, check_protocol
from ztm.apps.port.pattern import Pattern
from ztm.core.access import ANYONE, Verdict, judge
from ztm.errors import UsageError
from ztm.model import Address, check_name

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class Where(Protocol):
    """What the address of an entry stands for."""

    def fits(self, host: str, ip: str) -> bool:
        """Whether `host`, as it was written, or `ip`, which is dialled for it, is meant; `ip` may be empty."""


@dataclass(frozen=True, slots=True)
class _Network:
    network: IPv4Network | IPv6Network

    def fits(self, host: str, ip: str) -> bool:  # noqa: ARG002
        """See `Where`. Only what is dialled counts, whatever name leads there."""
        return bool(ip) and ip_address(ip) in self.network


@dataclass(frozen=True, slots=True)
class _Name:
    name: str
    suffix: str = ""

    def fits(self, host: str, ip: str) -> bool:  # noqa: ARG002
        """See `Where`."""
        return host == self.name or bool(self.suffix and host.endswith(self.suffix))


@dataclass(frozen=True, slots=True)
class _Matching:
    pattern: Pattern

    def fits(self, host: str, ip: str) -> bool:
        """See `Where`. A pattern of an IP address is never compared with a name, which anybody may choose."""
        return self.pattern.matches(host if self.pattern.has_letters else ip)


def parse_where(text: str) -> Where:
    """An IP address or CIDR, an exact name, ``*.name`` for all names below one, or a `Pattern`.

    Raises:
        UsageError: it is none of these.
    """
    try:
        return _Network(ip_network(text.strip("[]"), strict=False))
    except ValueError:
        pass
    lower = text.lower().removesuffix(".")
    if len(lower) > MAX_HOST:
        raise UsageError(f"an address of {len(lower)} characters; {MAX_HOST} are allowed")
    if _NAME.fullmatch(lower):
        if lower.replace(".", "").isdigit():
            raise UsageError(f"not a whole IP address: {text!r} (write the network, as in 127.0.0.0/24)")
        return _Name(lower)
    if lower.startswith("*.") and _NAME.fullmatch(lower[2:]):
        return _Name("", lower[1:])
    return _Matching(Pattern(text))


def is_ip(host: str) -> bool:
    """Whether `host` is an IP address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _plain(ip: str) -> str:
    """The address that dialling `ip` reaches, in its one form: of this machine for "any", and IPv4 within IPv6."""
    address = ip_address(ip)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified:
        return "::1" if address.version == 6 else "127.0.0.1"
    return str(address)


class RuleKey(NamedTuple):
    """What no two entries have in common (weakness O2)."""

    protocol: str
    address: str
    port: int | None

    def __str__(self) -> str:
        return f"{self.protocol}/{self.address}{f' port {self.port}' if self.port else ''}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry: these users may reach that address."""

    protocol: str
    address: str
    """As it was written."""
    port: int | None
    """None is every port."""
    users: tuple[str, ...]
    """`ANYONE` is every user of the mesh."""
    owner_too: bool = False
    """Whether the owner is held to the list there as well, instead of reaching everything (weakness O3)."""
    where: Where = field(default=_Name(""), compare=False, repr=False)

    @classmethod
    def parse(
        cls, protocol: str, address: str, port: int | None, users: Iterable[str], *, owner_too: bool = False
    ) -> Self:
        """Check what was asked for.

        Raises:
            UsageError: a part is malformed, or it would allow nobody anything and hold nobody back.
        """
        named = tuple(dict.fromkeys(one if one == ANYONE else check_name("user", one) for one in users))
        if not named and not owner_too:
            raise UsageError(f"the entry for {address!r} names no user")
        where = parse_where(address.strip())
        number = None if port is None else check_port(port)
        return cls(check_protocol(protocol), address.strip(), number, named, owner_too, where)

    @property
    def key(self) -> RuleKey:
        """What names it."""
        return RuleKey(self.protocol, self.address, self.port)

    def is_about(self, protocol: str, port: int) -> bool:
        """Whether it may concern such a target at all."""
        return self.protocol == protocol and self.port in (None, port)


class Rules:
    """All entries of an endpoint, and who owns it."""

    def __init__(self, rules: Sequence[Rule], owner: str) -> None:
        self.rules = tuple(rules)
        self._owner = owner

    def judge(self, caller: str, protocol: str, target: Address, ip: str = "") -> Verdict:
        """Whether `caller` may reach `target`, which is `ip`; without one, what names alone allow.

        The owner may reach everything but where an entry holds him to the list; others what an entry gives them.
        """
        ip = _plain(ip) if ip else ""
        fitting = [
            rule for rule in self.rules if rule.is_about(protocol, target.port) and rule.where.fits(target.host, ip)
        ]
        held = [rule for rule in fitting if rule.owner_too]
        if caller == self._owner and not held:
            return judge(self._owner, (), caller)
        for rule in fitting:
            verdict = judge("", rule.users, caller)
            if verdict.is_allowed:
                return Verdict(True, f"acl {rule.key}: {verdict.rule}")
        if caller == self._owner:
            return Verdict(False, f"acl {held[0].key} holds the owner to the list")
        return Verdict(False, "no acl entry allows it")

    def needs_address(self, caller: str, protocol: str, port: int) -> bool:
        """Whether the answer may depend on where a name leads; if not, there is no reason to ask."""
        concerned = [rule for rule in self.rules if rule.is_about(protocol, port)]
        if caller == self._owner:
            return any(rule.owner_too for rule in concerned)
        return any(judge("", rule.users, caller).is_allowed for rule in concerned)
