"""An app that somebody wrote, from one machine to another by the command line alone (spec cli 10)."""

from world import Agent, World, until


def states(agent: Agent, name: str = "root/hello") -> str | None:
    """The STATE cell of an app; None if it is not listed."""
    found = agent.ok("get", "app", name, "--no-headers").out.split(None, 1)
    return found[1].strip() if len(found) > 1 else "" if found else None


def test_an_app_is_published_installed_erased_and_taken_back(world: World) -> None:
    hub = world.hub()
    home, work = world.joined(hub, "home"), world.joined(hub, "work")
    alice = world.invited(hub, home, "alice")
    directory = home.data / "meshes" / "my-mesh" / "apps" / "root" / "hello"
    directory.mkdir(parents=True)
    (directory / "main.js").write_text("export default () => {}\n")
    assert states(home) == "downloaded"
    assert home.ok("publish", "app", "hello").out == ""
    assert states(home) == "downloaded, published"

    for other in (work, alice):
        until(lambda agent=other: states(agent) is not None, what="it is seen in the mesh")
    assert work.ok("download", "app", "root/hello").out == ""
    assert "downloaded" in str(states(work))
    installed = work.data / "meshes" / "my-mesh" / "apps" / "root" / "hello" / "main.js"
    assert installed.read_bytes() == (directory / "main.js").read_bytes()
    assert "app 'root/hello' on endpoint 'work'" in work.fails("start", "app", "hello")

    assert home.ok("ep", "work", "erase", "app", "hello").out == ""
    assert not installed.exists()
    assert "it is not installed there" in work.fails("erase", "app", "root/hello")
    assert home.ok("unpublish", "app", "hello").out == ""
    assert states(home) == "downloaded"
    until(lambda: states(work) is None, what="it is not seen in the mesh any more")
    assert "app not found: root/hello" in work.fails("download", "app", "root/hello")


def test_nobody_publishes_an_app_in_another_users_name(world: World) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    alice = world.invited(hub, home, "alice")
    directory = alice.data / "meshes" / "my-mesh" / "apps" / "root" / "hello"
    directory.mkdir(parents=True)
    (directory / "main.js").write_text("export default () => {}\n")
    assert "cannot publish app 'root/hello'" in alice.fails("publish", "app", "root/hello")
    assert states(home) is None
