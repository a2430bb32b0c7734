"""The agent's numbers for Prometheus, and whether it is well.

Labels name meshes, of which an agent has few; never endpoints, users or addresses.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from ztm.agent.state import State
from ztm.errors import CertificateError
from ztm.pki import days_left, identity_of
from ztm.rest.metrics import by_label, counter, gauge

_Family = CounterMetricFamily | GaugeMetricFamily

if TYPE_CHECKING:
    from ztm.agent.agent import Agent

_HEALTHY = (State.CONNECTED, State.OFFLINE)
"""A mesh that its user disabled is no fault."""


def families(agent: "Agent") -> Iterable[Metric]:
    """All numbers as they are now."""
    meshes = agent.meshes()
    states = [mesh.health.state for mesh in meshes]
    counted = ((str(state), states.count(state)) for state in State)
    yield by_label("agent_meshes", "Joined meshes", "state", counted)
    connected = ((mesh.name, mesh.health.state is State.CONNECTED) for mesh in meshes)
    yield by_label("mesh_connected", "Whether the mesh is connected to a hub", "mesh", connected)
    connects = ((mesh.name, mesh.standing.connects) for mesh in meshes)
    yield by_label("mesh_connects", "How often the mesh became connected", "mesh", connects, counts=True)
    yield by_label("mesh_certificate_days_left", "Days until the certificate expires", "mesh", _days(agent))
    written = ((mesh.name, mesh.audit.written) for mesh in meshes)
    yield by_label("audit_records", "Records written to the audit log", "mesh", written, counts=True)
    lost = ((mesh.name, mesh.audit.lost) for mesh in meshes)
    yield by_label("audit_lost", "Records that the disk did not take", "mesh", lost, counts=True)
    yield from _apps(agent)
    yield counter("agent_events", "Live events published", agent.events.published)
    yield gauge("agent_warnings", "What GET /api/version warns of", len(agent.warnings))


def ills(agent: "Agent") -> list[str]:
    """What is wrong now, a sentence each."""
    found = []
    for mesh in agent.meshes():
        if mesh.health.state not in _HEALTHY:
            reason = f": {mesh.health.reason}" if mesh.health.reason else ""
            found.append(f"mesh {mesh.name} is {mesh.health.state}{reason}")
    return found


def _days(agent: "Agent") -> Iterable[tuple[str, float]]:
    now = datetime.fromtimestamp(agent.network.wall(), UTC)
    for mesh in agent.meshes():
        try:
            yield mesh.name, days_left(identity_of(mesh.row.certificate), now)
        except CertificateError:  # none, or unusable: `mesh_connected` tells
            continue


def _apps(agent: "Agent") -> Iterable[Metric]:
    """What apps count: built-in ones each under its own name, those by others under one with the app as a label."""
    made: dict[str, _Family] = {}
    for mesh in agent.meshes():
        for app, figures in mesh.host.figures().items():
            is_ours = "/" not in app
            for name, value in figures.items():
                key = f"{app if is_ours else 'process'}_{name}"
                metric = made.setdefault(key, _family(app if is_ours else "", name))
                labels = [mesh.name] if is_ours else [mesh.name, app]
                metric.add_metric(labels, value)
    yield from made.values()


def _family(app: str, name: str) -> _Family:
    """The family of a figure; `app` is empty for apps by others, which are told apart by a label."""
    words = name.removesuffix("_total")
    kind = CounterMetricFamily if name != words else GaugeMetricFamily
    labels = ["mesh"] if app else ["mesh", "app"]
    whose = f"App {app}" if app else "Apps by others"
    return kind(f"ztm_app_{app or 'process'}_{words}", f"{whose}: {words.replace('_', ' ')}", labels=labels)
