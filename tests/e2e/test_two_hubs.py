"""Two hubs of one mesh: the second has the first one's authority, and an endpoint can be moved between them."""

from world import Agent, World, free_port, run_ztm, until


def attached(agent: Agent) -> str:
    """The address of the hub that the only mesh is attached to, or nothing."""
    hubs = agent.api("/api/meshes/m/hubs") or {}
    return next((hub["ports"][0] for hub in hubs.values() if hub.get("connected")), "")


def test_an_endpoint_goes_to_the_hub_that_is_left_and_is_moved_back_by_a_command(world: World) -> None:
    first = world.hub("first")
    second = world.path / "second"
    second.mkdir()
    keys = ("--cert", second / "ca.crt", "--key", second / "ca.key")
    first.stop()
    assert run_ztm(first.home, "ca", "export", "--data", first.data, *keys).status == 0
    first.start()
    assert run_ztm(second, "ca", "import", "--data", second / "data", *keys).status == 0
    other = world.hub("second", data=second / "data")
    names = [f"127.0.0.1:{hub.port}" for hub in (first, other)]
    permit = world.path / "root.json"
    assert run_ztm(first.home, "root", "--data", first.data, "--names", *names, "--permit", permit).status == 0

    agent = world.agent("home")
    agent.ok("join", "m", "--as", "home", "--permit", permit)
    before = attached(agent)
    assert before in names
    left, stays = (first, other) if before == names[0] else (other, first)
    left.kill()
    until(lambda: attached(agent) == f"127.0.0.1:{stays.port}", within=30.0, what="it went to the hub that is left")

    left.start()
    agent.ok("attach", before)
    assert attached(agent) == before
    assert agent.ok("get", "hub", "-o", "json").json != []
    assert [row[2] for row in agent.ok("get", "hub", before).rows] == ["Yes"]
    assert "not found" in agent.fails("attach", f"127.0.0.1:{free_port()}")
