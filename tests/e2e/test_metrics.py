"""`--metrics` of real processes: off by default, on loopback, and telling the truth."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families as parse
from targets import Server, echo, say
from world import World, free_port, open_tunnel, until


def numbers(port: int) -> Mapping[str, float]:
    """Name, with the values of its labels, to number."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        ":".join((sample.name, *sample.labels.values())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def health(port: int) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def test_hub_and_agent_show_their_numbers_and_whether_they_are_well(world: World) -> None:
    of_hub, of_home = free_port(), free_port()
    hub = world.hub(options=["--metrics", of_hub])
    home = world.joined(hub, "home", options=["--metrics", of_home])
    until(lambda: health(of_home) == (200, {"status": "ok"}), what="home is well")
    assert health(of_hub)[0] == 200
    with Server(echo) as target:
        port = open_tunnel(home, home, target.port)
        assert say(port, b"x" * 1000) == b"x" * 1000
    until(lambda: numbers(of_home)["ztm_app_tunnel_inbound_open:my-mesh"] == 0, what="the connection is over")
    assert numbers(of_home)["ztm_app_tunnel_inbound_sent_bytes_total:my-mesh"] >= 1000
    assert numbers(of_home)["ztm_mesh_connected:my-mesh"] == 1
    found = numbers(of_hub)
    assert found["ztm_hub_endpoints:online"] == 1
    assert found["process_resident_memory_bytes"] > 10 << 20
    assert found["process_open_fds"] > 0
    hub.kill()
    until(lambda: health(of_home)[0] == 503, what="home is unwell")
    (reason,) = health(of_home)[1]["reasons"]  # type: ignore[misc]
    assert "my-mesh" in reason


def test_metrics_are_off_unless_asked_for_and_loud_beyond_this_machine(world: World) -> None:
    quiet = world.agent("quiet")
    assert "metrics at" not in quiet.log
    port = free_port()
    loud = world.agent("loud", options=["--metrics", f"0.0.0.0:{port}"])
    assert f"metrics are served at 0.0.0.0:{port}, beyond this machine" in loud.log
    assert health(port)[0] == 200


def test_a_metrics_port_that_is_taken_is_an_error_at_the_start(world: World) -> None:
    first = world.agent("first")
    ran = first.ztm("run", "agent", "--data", first.home / "second", "--listen", free_port(), "--metrics", first.port)
    assert ran.status == 1
    assert f"cannot listen on 127.0.0.1:{first.port}" in ran.err
    assert "Traceback" not in ran.err
