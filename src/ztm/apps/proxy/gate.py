"""Who may go where through this exit: users, targets, exclusions and rules, on the name and on each address behind it.

A name is resolved once; what was judged is what is dialled.

Source: spec apps-network 2.5 and 7 rule 5; weaknesses P1, P6, P8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ztm.apps.proxy.hosts import Host, Ip, read_ip
from ztm.apps.proxy.model import Config
from ztm.apps.proxy.rules import Members, judge_rules
from ztm.core.access import Verdict, check_use
from ztm.errors import DeadlineError, ForbiddenError, NotFoundError, UnreachableError
from ztm.model import Peer
from ztm.net.base import Network

MAX_ADDRESSES = 3
"""Of one name that are tried: with the time of each, the answer still comes before the entry gives up."""


@dataclass(frozen=True, slots=True)
class Way:
    """What may be dialled, and by which rule."""

    addresses: tuple[Ip, ...]
    """At least one, the first to try in front."""
    rule: str


class Gate:
    """The question that every stream through an exit is put."""

    def __init__(self, owner: str, network: Network, members: Members) -> None:
        self.config = Config()
        self._owner = owner
        self._network = network
        self._members = members

    def check(self, peer: Peer, host: Host, ip: Ip | None = None) -> Verdict | None:
        """Whether `peer` may go to `host`, at `ip` if that is known; None where it depends on the address.

        Raises:
            ForbiddenError: it may not.
            UnreachableError: a rule names groups whose members are not known.
        """
        verdict = check_use(self._owner, self.config.users, peer.user, "this exit")
        if not self.config.targets.has(host):
            raise ForbiddenError(f"this exit does not serve {host}")
        if self.config.exclusions.has(host):
            raise ForbiddenError(f"this exit excludes {host}")
        if ip is not None:
            self._check_ip(host, ip)
        ruled = judge_rules(self.config.rules, peer.user, self._members, host, ip)
        if ruled is not None and not ruled.is_allowed:
            raise ForbiddenError(f"user {peer.user} may not go to {host}: {ruled.rule}")
        return Verdict(True, f"{verdict.rule}, {ruled.rule}") if ruled else None

    def _check_ip(self, host: Host, ip: Ip) -> None:
        if self.config.exclusions.has_ip(ip):
            raise ForbiddenError(f"this exit excludes {_at(host, ip)}")
        if ip.is_unspecified or ip.is_multicast:  # the first is this machine by another name
            raise ForbiddenError(f"no stream leads to {_at(host, ip)}")

    def check_inner(self, peer: Peer, name: Host, ip: Ip) -> None:
        """Make sure that a name which a client asks for inside of TLS is not one that it would be denied.

        Raises:
            ForbiddenError: it is excluded, or a rule denies it.
            UnreachableError: a rule names groups whose members are not known.
        """
        if self.config.exclusions.has(name):
            raise ForbiddenError(f"this exit excludes {name}")
        ruled = judge_rules(self.config.rules, peer.user, self._members, name, ip)
        if ruled is not None and not ruled.is_allowed:
            raise ForbiddenError(f"user {peer.user} may not go to {name}: {ruled.rule}")

    def may_inner(self, peer: Peer, name: Host, ip: Ip) -> bool:
        """The same as an answer."""
        try:
            self.check_inner(peer, name, ip)
        except (ForbiddenError, UnreachableError):
            return False
        return True

    def may(self, peer: Peer, host: Host, ip: Ip) -> bool:
        """Whether `peer` may go there, as things are now; no where that cannot be said."""
        try:
            self.check(peer, host, ip)
        except (ForbiddenError, UnreachableError):
            return False
        return True

    async def find(self, peer: Peer, host: Host) -> Way:
        """Where `peer` may be led to for `host`.

        Raises:
            ForbiddenError: nowhere: the name, or every address behind it, is not for this user.
            NotFoundError: the name does not resolve.
            DeadlineError: it was not resolved in time.
            UnreachableError: a rule names groups whose members are not known.
        """
        self.check(peer, host, host.ip)
        addresses = (host.ip,) if host.ip is not None else await self._resolve(host)
        refusals: list[ForbiddenError] = []
        allowed: list[Ip] = []
        rule = ""
        for ip in addresses:
            try:
                verdict = self.check(peer, host, ip)
            except ForbiddenError as error:
                refusals.append(error)
            else:
                allowed.append(ip)
                rule = rule or (verdict.rule if verdict else "")
        if not allowed:
            raise refusals[0]
        return Way(tuple(allowed[:MAX_ADDRESSES]), rule)

    async def _resolve(self, host: Host) -> Sequence[Ip]:
        try:
            found = await self._network.resolve(host.name)
        except DeadlineError:
            raise
        except UnreachableError as error:
            raise NotFoundError(f"the name {host} does not resolve at this exit") from error
        addresses = [ip for one in found if (ip := read_ip(one)) is not None]
        if not addresses:
            raise NotFoundError(f"the name {host} leads to no address")
        return _mixed(list(dict.fromkeys(addresses)))


def _mixed(addresses: list[Ip]) -> list[Ip]:
    """The two families in turn, so that one that leads nowhere does not use up all tries (RFC 8305 section 4)."""
    first = addresses[0].version
    same = [ip for ip in addresses if ip.version == first]
    other = [ip for ip in addresses if ip.version != first]
    return [ip for pair in zip_longest(same, other) for ip in pair if ip is not None]


def _at(host: Host, ip: Ip) -> str:
    return str(ip) if host.ip is not None else f"{host}, which is at {ip}"
