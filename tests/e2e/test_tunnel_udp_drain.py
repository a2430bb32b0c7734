"""An agent that is told to stop does not wait for UDP sessions, which have no end of their own."""

import signal
import socket

import pytest
from targets import UdpEcho
from world import World, open_tunnel


@pytest.mark.parametrize("which", ["home", "workplace"])
def test_udp_holds_no_agent_that_is_told_to_stop(which: str, world: World) -> None:
    hub = world.hub()
    home, workplace = (world.joined(hub, name, options=("--drain", "600")) for name in ("home", "workplace"))
    with UdpEcho() as target, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        port = open_tunnel(home, workplace, target.port, protocol="udp")
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.send(b"hello")
        assert client.recv(100) == b"hello"
        process = {"home": home, "workplace": workplace}[which]
        process.signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "is cut" not in process.log
