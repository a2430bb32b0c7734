"""The JSON of the local API, by v1's field names."""

import msgspec
import pytest
from msgspec import to_builtins

from ztm.agent.api.views import MeshSettings
from ztm.agent.api.views_mesh import HubPort, endpoint_view, hub_status_view, hub_view
from ztm.model import Address, Endpoint, HubInfo, Version
from ztm.wire.records import HubStatus, Load

VERSION = Version("Community", "v1.0.4", "8eeb411c", "Wed, 4 Mar 2026")
HUB = HubInfo("h1", (Address("127.0.0.1", 8888), Address("::1", 8888)), "default", VERSION)
ENDPOINT = Endpoint(
    "e1",
    "home",
    "root",
    ip="10.1.2.3",
    port=777,
    hubs=("h1",),
    version=VERSION,
    labels=("a",),
    heartbeat_ms=5,
    ping_ms=7,
    online=True,
    control_sessions=1,
    passive_sessions=2,
)


@pytest.mark.parametrize("own_id", ["e1", "e2"])
def test_an_endpoint_is_shown_as_v1_does_with_whether_it_is_this_one(own_id: str) -> None:
    assert to_builtins(endpoint_view(ENDPOINT, own_id, full=False)) == {
        "id": "e1",
        "name": "home",
        "hubs": ["h1"],
        "agent": {"version": {"ztm": {"edition": "Community", "tag": "v1.0.4"}}, "labels": ["a"]},
        "username": "root",
        "ip": "10.1.2.3",
        "port": 777,
        "heartbeat": 5,
        "ping": 7,
        "online": True,
        "stats": {"controlSessions": 1, "passiveSessions": 2},
        "isLocal": own_id == "e1",
    }


def test_one_endpoint_alone_is_shown_with_its_whole_version() -> None:
    shown = to_builtins(endpoint_view(ENDPOINT, "", full=True))["agent"]["version"]["ztm"]
    assert shown == {"edition": "Community", "tag": "v1.0.4", "commit": "8eeb411c", "date": "Wed, 4 Mar 2026"}


def test_only_the_attached_hub_is_shown_as_connected() -> None:
    shown = to_builtins(hub_view(HUB, "h1"))
    assert shown["ports"] == ["127.0.0.1:8888", "[::1]:8888"]
    assert shown["connected"] is True
    assert "connected" not in to_builtins(hub_view(HUB, "h2"))


def test_a_hubs_status_has_what_it_said_and_how_its_ports_answered() -> None:
    status = HubStatus("h1", 5, capacity=Load(100, 1000), load=Load(1, 2), version=VERSION, runtime="2.0.0")
    ports = [{"name": "127.0.0.1:8888", "online": True, "ping": 1}]
    shown = to_builtins(hub_status_view(status, [HubPort("127.0.0.1:8888", 1, online=True)], [], "h1"))
    assert (shown["id"], shown["since"], shown["ports"], shown["connected"]) == ("h1", 5, ports, True)
    assert (shown["capacity"], shown["load"]) == ({"agents": 100, "sessions": 1000}, {"agents": 1, "sessions": 2})
    assert shown["version"]["pipy"]["tag"] == "2.0.0"


def test_settings_take_v1s_permit_and_ignore_what_they_do_not_know() -> None:
    text = b'{"ca": "C", "agent": {"certificate": "A", "privateKey": "K", "id": "x"}, "bootstraps": ["h:1"], "new": 1}'
    settings = msgspec.json.decode(text, type=MeshSettings)
    assert settings.agent is not None
    assert (settings.ca, settings.agent.certificate, settings.agent.privateKey) == ("C", "A", "K")
    assert (settings.agent.name, settings.agent.offline, settings.bootstraps) == (None, None, ["h:1"])
