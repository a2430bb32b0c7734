"""The hub's numbers for Prometheus, and whether it is well.

No label names an endpoint, a user or an address: their number has no bound.
"""

from collections.abc import Iterable, Sequence

from prometheus_client.metrics_core import Metric

from ztm.hub.counts import REASONS
from ztm.hub.state import HubState
from ztm.model import Endpoint
from ztm.pki import days_left, identity_of
from ztm.rest.metrics import by_label, counter, gauge


def families(state: HubState) -> Iterable[Metric]:
    """All numbers as they are now."""
    yield from _endpoints(state)
    yield from _traffic(state)
    counts = state.counts
    yield gauge("hub_connections", "TLS connections open", len(state.links))
    yield gauge("hub_connections_limit", "TLS connections that may be open", state.config.max_connections)
    yield by_label(
        "hub_connections_refused",
        "Connections turned away after their handshake",
        "reason",
        ((reason, counts.connections_refused[reason]) for reason in ("certificate", "full", "evicted", "permit")),
        counts=True,
    )
    yield counter("hub_sessions_accepted", "Control sessions of agents accepted", counts.sessions)
    yield gauge("hub_evictions", "Users shut out, expired evictions included", len(state.evictions.all()))
    ca = days_left(identity_of(state.authority.certificate), state.date())
    yield gauge("hub_ca_days_left", "Days until the mesh's CA certificate expires", ca)


def _endpoints(state: HubState) -> Iterable[Metric]:
    found: Sequence[Endpoint] = state.registry.endpoints(state.network.wall(), limit=len(state.registry))
    online = sum(endpoint.online for endpoint in found)
    shown = (("online", online), ("offline", len(found) - online))
    yield by_label("hub_endpoints", "Endpoints that the hub lists", "state", shown)
    yield gauge("hub_endpoints_limit", "Endpoints that may connect", state.config.max_agents)
    control = sum(endpoint.control_sessions for endpoint in found)
    passive = sum(endpoint.passive_sessions for endpoint in found)
    yield by_label("hub_sessions", "Sessions of agents", "kind", (("control", control), ("passive", passive)))


def _traffic(state: HubState) -> Iterable[Metric]:
    counts = state.counts
    yield gauge("hub_streams", "App streams being opened or relayed now", state.relayed)
    yield gauge("hub_streams_limit", "App streams that may be relayed at once", state.config.max_sessions)
    yield counter("hub_streams_joined", "App streams that a target took", counts.streams)
    yield by_label(
        "hub_streams_refused",
        "App streams that were not joined",
        "reason",
        ((reason, counts.streams_refused[reason]) for reason in REASONS),
        counts=True,
    )
    carried = (("to_target", state.traffic.to_targets), ("from_target", state.traffic.from_targets))
    yield by_label("hub_relayed_bytes", "Bytes of app streams relayed", "direction", carried, counts=True)
