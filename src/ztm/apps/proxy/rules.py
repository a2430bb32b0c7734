"""What an exit's rules say of a destination for a user: the first that fits decides, and none means yes.

It knows users by name and groups by their members; who may use the exit at all is decided before (`core.access`).

Source: spec apps-network 2.5.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from ztm.apps.proxy.hosts import Host, Hosts, Ip
from ztm.core.access import Verdict
from ztm.errors import UsageError
from ztm.model import check_name

Action = Literal["allow", "deny"]
EVERYWHERE = Hosts()
MAX_RULES = 1000
"""Of one exit; more than a person keeps an eye on."""
_MAX_WHO = 1000
"""Users or groups of one rule."""

Members = Callable[[str], Collection[str]]
"""The users of a group by its id; none for a group that is not known. May raise what keeps it from saying."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    action: Action
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Ids. Without users and groups a rule is for everyone; a group without members is nobody (weakness P6)."""
    targets: Hosts = EVERYWHERE
    """None is every destination."""

    @classmethod
    def parse(cls, action: str, users: Iterable[str], groups: Iterable[str], targets: Iterable[str]) -> Self:
        """Check what was asked for; what comes twice counts once.

        Raises:
            UsageError: a part is malformed.
        """
        if action not in ("allow", "deny"):
            raise UsageError(f"a rule's action is allow or deny, not {action[:32]!r}")
        names = tuple(dict.fromkeys(check_name("user", one) for one in users))
        ids = tuple(dict.fromkeys(check_name("group", one) for one in groups))
        if max(len(names), len(ids)) > _MAX_WHO:
            raise UsageError(f"a rule with {max(len(names), len(ids))} users or groups; {_MAX_WHO} are allowed")
        return cls("allow" if action == "allow" else "deny", names, ids, Hosts.parse(targets))

    def concerns(self, user: str, members: Members) -> bool:
        """Whether it is for `user`."""
        if not self.users and not self.groups:
            return True
        return user in self.users or any(user in members(group) for group in self.groups)

    def means(self, host: Host, ip: Ip | None) -> bool:
        """Whether it is about `host`, which is at `ip` if that is known."""
        if not self.targets:
            return True
        return self.targets.has(host) or (ip is not None and self.targets.has_ip(ip))


def parse_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """All rules of an exit.

    Raises:
        UsageError: they are too many.
    """
    kept = tuple(rules)
    if len(kept) > MAX_RULES:
        raise UsageError(f"{len(kept)} rules; {MAX_RULES} are allowed")
    return kept


def judge_rules(rules: Sequence[Rule], user: str, members: Members, host: Host, ip: Ip | None) -> Verdict | None:
    """What the rules say of `user` going to `host`, at `ip`.

    Before the name is resolved `ip` is None, and the verdict too where it depends on the address.
    """
    for number, rule in enumerate(rules):
        if not rule.concerns(user, members):
            continue
        if rule.means(host, ip):
            return Verdict(rule.action == "allow", f"rule #{number} {rule.action}")
        if ip is None and rule.targets.has_networks:
            return None
    return Verdict(True, "no rule")
