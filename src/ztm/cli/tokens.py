"""Finding the token that lets this user talk to an agent.

An agent writes its token into its data directory, and a small pointer into ``~/.ztm/agents`` that says
where it listens and where that directory is. Only tokens of agents at the wanted address are ever
offered, so a stranger on another port learns none of them. Nothing is written here.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from ztm.model import Address

VARIABLE = "ZTM_TOKEN"
"""Environment variable whose text is used as the token, whatever the pointers say."""
SERVICES = Path("/run/ztm-agent")
"""Where an agent that is a service of the machine leaves its pointer; only its user and root may look there."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})
"""Hosts that mean this machine, in a pointer or in a setting; a wildcard listens on loopback too."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One agent's token and the instance it belongs to."""

    instance: str
    token: str = field(repr=False)


def credentials(address: Address) -> tuple[Credential, ...]:
    """The credentials of all agents that this user started at `address`, the newest first."""
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return (Credential("", given),)
    places = (Path.home() / ".ztm" / "agents", SERVICES)
    pointers = sorted((one for place in places for one in place.glob("*.json")), key=_changed, reverse=True)
    return tuple(found for found in (_credential(pointer, address) for pointer in pointers) if found)


def _credential(pointer: Path, wanted: Address) -> Credential | None:
    """What one pointer leads to, or None if it is another agent's, malformed, or not ours to read."""
    try:
        fields = json.loads(pointer.read_text(encoding="utf-8"))
        if not _is_same(Address.parse(str(fields["address"])), wanted):
            return None
        file = Path(str(fields["data"])) / "api.token"
        if file.stat().st_uid != pointer.stat().st_uid:
            return None  # a pointer may lead to nobody's token but its writer's
        token = file.read_text(encoding="ascii").strip()
        return Credential(str(fields["instance"]), token) if token.isprintable() and token else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_same(one: Address, other: Address) -> bool:
    both_here = one.host in _LOOPBACK and other.host in _LOOPBACK
    return one.port == other.port and (both_here or one.host == other.host)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
