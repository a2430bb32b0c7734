"""What is wrong, read from a report, and the command that helps.

Pure: report in, problems out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ztm.cli.checkup.certificate import WARN_DAYS

MAX_SKEW = 60_000
"""Milliseconds: certificates and evictions are judged by clocks, to the minute at best."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    level: Literal["fail", "warn"]
    what: str
    do: str

    def as_object(self) -> dict[str, str]:
        """The fields, for JSON."""
        return asdict(self)


def problems(report: Object) -> list[Problem]:
    """All that is wrong, what keeps things from working first."""
    found = [*_of_agent(report), *(one for mesh in report["meshes"] for one in of_mesh(mesh)), *_of_services(report)]
    return sorted(found, key=lambda problem: problem.level != "fail")


def _of_agent(report: Object) -> Iterator[Problem]:
    agent = report["agent"]
    if not agent["reachable"]:
        yield Problem("fail", agent["error"], "ztm doctor" if agent.get("refused") else _start(report))
        return
    if not report["meshes"]:
        yield Problem("warn", "this agent has joined no mesh", "ztm help join")
    for warning in agent["warnings"]:
        yield Problem("warn", warning, "ztm help run agent")


def _start(report: Object) -> str:
    installed = any(one["name"] == "ztm-agent" for one in report["services"])
    return "ztm start agent" if installed else "ztm run agent"


def _of_services(report: Object) -> Iterator[Problem]:
    for one in report["services"]:
        if one["state"] == "failed":
            user = "--user " if one["scope"] == "user" else ""
            yield Problem("fail", f"the service {one['name']} has failed", f"journalctl {user}-u {one['name']}")


def of_mesh(mesh: Object) -> Iterator[Problem]:
    """What is wrong with one mesh of a report."""
    name = mesh["name"]
    where, say = f"mesh '{name}'", _quoted(name)
    if mesh["state"] == "offline":
        yield Problem("warn", f"{where} is disabled", f"ztm enable mesh {say}")
    elif mesh["state"] != "connected":
        reason = mesh["reason"] or mesh["state"]
        yield Problem("fail", f"{where} is not connected: {reason}", _mend(mesh["state"], say))
    yield from _of_certificate(mesh, where, say)
    skew = mesh["clockSkewMs"]
    if skew is not None and abs(skew) > MAX_SKEW:
        which = "behind" if skew > 0 else "ahead of"
        what = f"{where}: this machine's clock is {abs(skew) / 1000:.0f} s {which} the hub's"
        yield Problem("warn", what, "timedatectl set-ntp true")
    for end in (mesh["tunnels"] or {}).get("failed", ()):
        what = f"{where}: {end['kind']} {end['name']} does not work: {end['reason']}"
        yield Problem("warn", what, f"ztm mesh {say} tunnel describe {end['kind']} {_quoted(end['name'])}")


def _mend(state: str, name: str) -> str:
    if state in ("evicted", "refused", "bad permit"):
        return f"ztm enable mesh {name} --permit FILE, with a new permit from root (ztm identity)"
    if state == "full":
        return "ask root for a larger --max-agents of the hub"
    return f"ztm mesh {name} doctor"


def _of_certificate(mesh: Object, where: str, name: str) -> Iterator[Problem]:
    certificate = mesh["certificate"]
    if certificate is None:
        return
    days, renew = certificate["daysLeft"], f"ztm enable mesh {name} --permit FILE, with a new permit from root"
    if days < 0:
        yield Problem("fail", f"{where}: the certificate of {certificate['user']} has expired", renew)
    elif days < certificate.get("warnDays", WARN_DAYS):
        what = f"{where}: the certificate of {certificate['user']} has {days} days left and was not renewed"
        yield Problem("warn", what, renew if mesh["state"] == "connected" else f"ztm mesh {name} doctor")


def _quoted(name: str) -> str:
    from shlex import quote

    return quote(name)
