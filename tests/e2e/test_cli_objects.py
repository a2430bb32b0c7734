"""What scripts and people can do with lists: forms, selection, order, watching, and naming targets anywhere."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from world import STOP, ZTM, Agent, World, environment, until

from ztm.cli.changes import REFRESH


@contextmanager
def going_on(agent: Agent, path: Path, *words: object) -> Iterator[Path]:
    """Run a command that goes on, and end it by Ctrl-C; what it prints is in the file given."""
    env = environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}"})
    with path.open("wb") as output:
        process = subprocess.Popen([ZTM, *map(str, words)], stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        yield path
    finally:
        process.send_signal(2)
        assert process.wait(STOP) == 130


@pytest.mark.parametrize("kind", ["mesh", "hub", "ep", "app", "user"])
def test_every_kind_can_be_had_in_every_form_and_by_names_that_describe_takes(mesh, kind: str) -> None:
    as_json = mesh.home.ok("get", kind, "-o", "json").json
    assert as_json
    as_yaml = yaml.safe_load(mesh.home.ok("get", kind, "--output=yaml").out)
    assert len(as_yaml) == len(as_json)
    assert set(as_yaml[0]) == set(as_json[0])
    table, wide = mesh.home.ok("get", kind), mesh.home.ok("get", kind, "-o", "wide")
    assert wide.headings[: len(table.headings)] == table.headings
    assert mesh.home.ok("get", kind, "--no-headers").out.count("\n") == len(as_json)
    names = mesh.home.ok("get", kind, "-o", "name").out.splitlines()
    assert len(names) == len(as_json)
    for name in names:
        assert "local" not in name
        assert isinstance(mesh.home.ok("describe", kind, name, "-o", "json").json, dict)


def test_the_days_left_of_the_certificate_are_shown(mesh) -> None:
    wide = mesh.alice.ok("get", "mesh", "-o", "wide")
    assert wide.headings[-3:] == ["STATE", "ENDPOINT ID", "CERTIFICATE DAYS"]
    assert wide.rows[0][-3:-1] == ["connected", mesh.alice.id]
    assert 300 < int(wide.rows[0][-1]) < 400


def test_a_file_is_listed_with_its_hash_wherever_the_option_stands(mesh) -> None:
    mesh.home.ok("publish", "file", "/shared/root/a.txt", "-i", "-", stdin="hello")
    until(lambda: mesh.home.ok("get", "file").rows, what="the file is listed")
    assert mesh.home.ok("get", "file").headings == ["PATH", "SIZE", "TIME"]
    for words in (("get", "file", "--hash"), ("get", "--hash", "file"), ("get", "--hash", "file", "a.t")):
        ran = mesh.home.ok(*words)
        assert ran.headings == ["PATH", "SIZE", "TIME", "HASH"]
        assert len(ran.rows[0][-1]) == 64
    assert mesh.home.ok("get", "file", "-o", "name").out == "/shared/root/a.txt\n"


def test_hubs_are_selected_by_id_or_by_a_part_of_an_address(mesh) -> None:
    id_ = mesh.home.ok("get", "hub", "-o", "name").out.strip()
    for word in (id_, "127.0", str(mesh.hub.port)):
        assert [row[-1] for row in mesh.home.ok("get", "hub", word).rows] == [id_]
    assert mesh.home.ok("get", "hub", "nope").rows == []


def test_endpoints_are_selected_by_labels_and_sorted(mesh) -> None:
    mesh.home.ok("label", "--add", "gpu", "site=paris")
    mesh.workplace.ok("label", "--add", "site=rome")
    try:
        until(lambda: mesh.alice.ok("get", "ep", "-l", "site=").out.count("\n") == 3, what="both labels are seen")
        assert mesh.alice.ok("get", "ep", "-l", "gpu", "site=paris", "-o", "name").out == "home\n"
        assert mesh.alice.ok("get", "ep", "--label=gpu", "--label=site=rome", "-o", "name").out == ""
        by_name = mesh.alice.ok("get", "ep", "--sort", "name", "-o", "name").out.split()
        assert by_name == ["alice", "home", "workplace"]
    finally:
        mesh.home.ok("label", "--delete", "gpu", "site=paris")
        mesh.workplace.ok("label", "--delete", "site=rome")


@pytest.mark.parametrize(
    "words",
    [
        "ep workplace label",
        "endpoint my-mesh/workplace label",
        "label --endpoint workplace",
        "label --endpoint=my-mesh/workplace",
        "--endpoint workplace --mesh my-mesh label",
        "mesh my-mesh ep workplace label",
        "label --add x --mesh my-mesh --endpoint workplace --delete x",
    ],
)
def test_mesh_and_endpoint_can_be_named_anywhere(mesh, words: str) -> None:
    mesh.workplace.ok("label", "--add", "here")
    try:
        assert "here" in mesh.home.ok(*words.split()).out.split()
        assert mesh.home.fails(*words.replace("workplace", "nowhere").split()).endswith("(see 'ztm get ep')")
    finally:
        mesh.workplace.ok("label", "--delete", "here", "x")


def test_several_probes_are_summed_up_and_honour_the_endpoint(mesh) -> None:
    for words in (("ping", "workplace", "-c", 3, "-i", 0), ("ep", "workplace", "ping", "-c", 3, "-i", 0)):
        lines = mesh.home.ok(*words).out.splitlines()
        assert len(lines) == 4
        assert lines[-1].startswith("workplace: 3 sent, 3 answered, 0% lost, min/avg/max ")
    summary = mesh.home.ok("ping", "ep", "alice", "-c", 2, "-i", 0, "-o", "json").json["summary"]
    assert (summary["sent"], summary["answered"]) == (2, 2)
    assert mesh.home.ok("ep", "workplace", "ping").rows[-1][2] == "workplace"
    assert mesh.home.ok("ep", "workplace", "stats", "ep").rows[-1][0] == "(All Peers)"


def test_users_are_listed_with_their_endpoints(mesh) -> None:
    ran = mesh.home.ok("user", "list")
    assert ran.headings == ["NAME", "ENDPOINTS", "ONLINE", "EVICTED"]
    assert sorted(ran.rows) == [["alice", "1", "1"], ["root", "2", "2"]]
    assert mesh.home.ok("get", "user", "alice").rows == [["alice", "1", "1"]]
    assert "Evicted: No" in mesh.home.ok("describe", "user", "alice").out
    assert "user 'nobody' not found" in mesh.home.fails("describe", "user", "nobody")


def test_an_app_is_stopped_disabled_and_started_here_and_on_another_own_endpoint(mesh) -> None:
    for target in ((), ("ep", "workplace")):

        def states(words: tuple[str, ...] = target) -> set[str]:
            app = mesh.home.ok(*words, "describe", "app", "tunnel", "-o", "json").json
            return {name for name, value in app.items() if value is True}

        mesh.home.ok(*target, "start", "app", "tunnel")
        assert states() == {"isBuiltin", "isRunning"}
        mesh.home.ok(*target, "disable", "app", "tunnel")
        assert states() == {"isBuiltin", "isDisabled"}
        mesh.home.ok(*target, "enable", "app", "ztm/tunnel")
        mesh.home.ok(*target, "start", "app", "tunnel")
        assert states() == {"isBuiltin", "isRunning"}
        mesh.home.ok(*target, "stop", "app", "tunnel")
        assert states() == {"isBuiltin"}
        mesh.home.ok(*target, "start", "app", "tunnel")
        assert "built in" in mesh.home.fails(*target, "erase", "app", "tunnel")
        assert "No files to pack" in mesh.home.fails(*target, "publish", "app", "tunnel")
        assert "app not found: nope" in mesh.home.fails(*target, "stop", "app", "nope")


def test_another_users_apps_are_not_permitted_rather_than_not_found(mesh) -> None:
    for words in (
        ("describe", "app", "tunnel"),
        ("get", "app"),
        ("stop", "app", "tunnel"),
        ("disable", "app", "tunnel"),
        ("log", "app", "tunnel"),
    ):
        line = mesh.home.fails("ep", "alice", *words)
        assert "endpoint 'alice'" in line
        assert "user 'alice'" in line or "user alice" in line


@pytest.mark.long
def test_a_watch_shows_an_endpoint_that_comes_and_goes(world: World, tmp_path: Path) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    with going_on(home, tmp_path / "out", "get", "ep", "--watch", "-o", "json") as out:

        def seen() -> list[tuple[str, bool]]:
            rows = [json.loads(line) for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]
            return [(row["name"], row["online"]) for row in rows]

        until(lambda: ("home", True) in seen(), what="what there is")
        work = world.joined(hub, "work")
        until(lambda: ("work", True) in seen(), within=15, what="it comes")
        work.stop()
        until(lambda: ("work", False) in seen(), within=15, what="it goes")


def test_a_watched_mesh_is_seen_to_fail_as_soon_as_its_agent_knows(world: World, tmp_path: Path) -> None:
    """Sooner than any look at an interval would find it."""
    hub = world.hub()
    home = world.joined(hub, "home")
    with going_on(home, tmp_path / "out", "get", "mesh", "-w") as out:
        until(lambda: "Connected" in out.read_text(), what="what there is")
        hub.kill()
        until(lambda: "ERROR" in out.read_text(), within=REFRESH / 2, what="the failure")


def test_a_log_can_be_followed(world: World, tmp_path: Path) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    with going_on(home, tmp_path / "out", "log", "ep", "-f") as out:
        until(out.read_text, what="what there was")
        before = out.read_text()
        hub.kill()
        until(lambda: len(out.read_text()) > len(before), what="what is new")
        assert out.read_text().startswith(before)


def test_a_watch_ends_after_the_time_given_with_success(mesh) -> None:
    ran = mesh.home.ok("get", "mesh", "--watch", "--timeout", "0.5")
    assert ran.rows[0][-1] == "Connected"
    assert 0.5 <= ran.seconds < 5
