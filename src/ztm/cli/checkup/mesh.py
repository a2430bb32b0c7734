"""What a report says of one mesh, as findings: whether the hub takes us in, certificate, clock, tunnels.

Pure: the report's facts in, findings out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ztm.cli.checkup.certificate import RENEW_DAYS, WARN_DAYS
from ztm.cli.checkup.findings import Finding
from ztm.cli.checkup.problems import MAX_SKEW, Problem, of_mesh

Object = Mapping[str, Any]


def mesh_findings(mesh: Object) -> list[Finding]:
    """One finding for each thing that can be said of the mesh."""
    where = f"mesh {mesh['name']}"
    wrong = [Finding(one.level, where, one.what.partition(": ")[2] or one.what, _do(one)) for one in of_mesh(mesh)]
    return [*_well(mesh, where), *wrong]


def _do(problem: Problem) -> str:
    """What to do; to run these very checks is no advice."""
    return "see the checks of its hubs" if problem.do.endswith(" doctor") else problem.do


def _well(mesh: Object, where: str) -> Iterator[Finding]:
    if mesh["state"] == "connected":
        hub = mesh["hub"]
        at = f" {', '.join(hub['ports'])}" if hub else ""
        yield Finding("ok", f"{where}: acceptance", f"the hub{at} has accepted {mesh['endpoint']['name']}")
    certificate = mesh["certificate"]
    if certificate and certificate["daysLeft"] >= certificate.get("warnDays", WARN_DAYS):
        why = f"of {certificate['user']}, {certificate['daysLeft']} days left; renewed at {RENEW_DAYS}"
        yield Finding("ok", f"{where}: certificate", why)
    skew = mesh["clockSkewMs"]
    if skew is not None and abs(skew) <= MAX_SKEW:
        yield Finding("ok", f"{where}: clock", f"{abs(skew)} ms from the hub's")
    tunnels = mesh["tunnels"]
    if tunnels and tunnels["open"] and not tunnels["failed"]:
        yield Finding("ok", f"{where}: tunnels", f"{tunnels['open']} open")
