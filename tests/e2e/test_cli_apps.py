"""An app that somebody wrote, from one machine to another by the command line alone (spec cli 10)."""

from pathlib import Path

import pytest
from world import Agent, World, until


def states(agent: Agent, name: str = "root/hello") -> str | None:
    """The STATE cell of an app; None if it is not listed."""
    found = agent.ok("get", "app", name, "--no-headers").out.split(None, 1)
    return found[1].strip() if len(found) > 1 else "" if found else None


def app_folder(agent: Agent) -> Path:
    """The folder of an app that does nothing, on this agent's machine."""
    folder = agent.home / "hello"
    folder.mkdir()
    (folder / "ztm-app.toml").write_text('name = "hello"\nversion = "1.0.0"\napi = 1\nentry = "hello:app"\n')
    (folder / "hello.py").write_text("from ztm_app import App\n\napp = App()\n")
    return folder


@pytest.mark.long
def test_an_app_is_published_installed_erased_and_taken_back(world: World) -> None:
    hub = world.hub()
    home, work = world.joined(hub, "home"), world.joined(hub, "work")
    alice = world.invited(hub, home, "alice")
    home.ok("app", "install", app_folder(home), "--yes")
    assert states(home) == "downloaded"
    assert home.ok("publish", "app", "hello").out == ""
    assert states(home) == "downloaded, published"

    for other in (work, alice):
        until(lambda agent=other: states(agent) is not None, what="it is seen in the mesh")
    assert "Publisher: root" in work.ok("download", "app", "root/hello", "--yes").out
    assert "downloaded" in str(states(work))
    assert home.ok("ep", "work", "start", "app", "hello").out == ""
    assert "running" in str(states(work))

    assert home.ok("ep", "work", "erase", "app", "hello").out == ""
    assert not list((work.data / "meshes").rglob("hello.py"))
    assert "it is not installed there" in work.fails("erase", "app", "root/hello")
    assert "Publisher: root" in home.ok("ep", "work", "download", "app", "hello", "--yes").out
    assert "downloaded" in str(states(work))
    assert home.ok("unpublish", "app", "hello").out == ""
    assert states(home) == "downloaded"
    work.ok("erase", "app", "hello")
    until(lambda: states(work) is None, what="it is not seen in the mesh any more")
    assert "app not found: root/hello" in work.fails("download", "app", "root/hello")


def v1_app(agent: Agent) -> Path:
    """An app as v1 has it in an agent's data directory."""
    directory = agent.data / "meshes" / "my-mesh" / "apps" / "root" / "hello"
    directory.mkdir(parents=True)
    (directory / "main.js").write_text("export default () => {}\n")
    return directory


def test_an_app_of_v1_is_passed_on_and_listed_and_not_run(world: World) -> None:
    hub = world.hub()
    home, work = world.joined(hub, "home"), world.joined(hub, "work")
    v1_app(home)
    assert home.ok("describe", "app", "hello", "-o", "json").json["runtime"] == "pipyjs"
    home.ok("publish", "app", "hello")
    until(lambda: states(work) is not None, what="it is seen in the mesh")
    said = "app root/hello is a PipyJS app; this agent runs only Python apps"
    assert said in work.fails("download", "app", "hello", "--yes")
    assert said in home.fails("start", "app", "hello")
    assert said in home.fails("hello", "help")
    assert "Runtime: pipyjs" in work.ok("describe", "app", "hello").out
    home.ok("erase", "app", "hello")


def test_nobody_publishes_an_app_in_another_users_name(world: World) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    alice = world.invited(hub, home, "alice")
    v1_app(alice)
    assert "cannot publish app 'root/hello'" in alice.fails("publish", "app", "root/hello")
    assert states(home) is None
