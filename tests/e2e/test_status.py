"""`ztm status` and `ztm doctor` beside real processes, and that every command ends by itself."""

import os
import pty
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import ZTM, World, environment, free_port, run_ztm, until


def test_status_follows_what_happens_to_the_mesh(world: World) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    home.ok("tunnel", "open", "outbound", "tcp/web", "--targets", f"127.0.0.1:{free_port()}")
    well = home.ok("status", "-o", "json").json
    (mesh,) = well["meshes"]
    assert (well["problems"], mesh["state"], mesh["user"]) == ([], "connected", "root")
    assert mesh["tunnels"] == {"open": 1, "failed": []}
    assert mesh["certificate"]["daysLeft"] >= 300
    assert mesh["hub"]["pingMs"] is not None
    assert abs(mesh["clockSkewMs"]) < 5000
    assert home.ok("status").out.endswith("All is well.\n")

    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        home.ztm("tunnel", "open", "inbound", "tcp/busy", "--listen", taken.getsockname()[1])
        failed = home.ztm("status")
    assert failed.status == 1
    assert "inbound tcp/busy does not work" in failed.out

    hub.kill()
    until(lambda: home.mesh["state"] != "connected", what="the agent notices")
    down = home.ztm("status")
    assert (down.status, down.err) == (1, "")
    assert "fail  mesh 'my-mesh' is not connected: " in down.out

    home.stop()
    gone = home.ztm("status", "-o", "json")
    assert gone.status == 3
    assert gone.json["agent"]["reachable"] is False
    assert gone.json["problems"][0]["do"] == "ztm run agent"


def test_an_evicted_user_is_told_so_by_status_and_doctor(world: World) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    alice = world.invited(hub, home, "alice")
    home.ok("evict", "alice")
    until(lambda: alice.mesh["state"] == "evicted", what="alice is told")
    assert "not connected: user alice is evicted" in alice.ztm("status").out
    found = alice.ztm("doctor")
    assert found.status == 1
    assert "with a new permit from root" in found.out


def test_the_doctor_finds_what_is_wrong_and_its_bundle_tells_no_secret(world: World) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    well = home.ok("doctor", "-o", "json").json
    assert {one["level"] for one in well} == {"ok"}
    checked = " ".join(one["what"] for one in well)
    for what in ("name", "TCP", "TLS", "certificate", "clock", "acceptance", "modes", "disk"):
        assert f": {what}" in checked

    bundle = home.home / "report.tar.gz"
    assert home.ztm("doctor", "--bundle", bundle).status == 0
    assert bundle.stat().st_mode & 0o777 == 0o600
    key = hub.permit.read_text().partition("PRIVATE KEY-----\\n")[2][:40]
    with tarfile.open(bundle) as archive:
        text = b"".join(archive.extractfile(one).read() for one in archive).decode()  # type: ignore[union-attr]
    assert len(key) == 40
    assert not [secret for secret in (home.token, key, "PRIVATE KEY") if secret in text]
    assert home.id in text

    hub.kill()
    ill = home.ztm("doctor", "-o", "json")
    assert ill.status == 1
    assert [one["why"] for one in ill.json if one["what"].endswith(": TCP")] == [
        "no TCP connection: Connection refused"
    ]


def test_the_doctor_finds_a_hub_of_this_machine(world: World) -> None:
    hub = world.hub()
    home = world.agent("home")
    running = home.ztm("doctor", "--data", hub.data, "-o", "json").json
    (one,) = [one for one in running if one["what"] == f"hub of {hub.data}"]
    assert (one["level"], one["why"]) == ("ok", f"process {hub.pid} listens at 127.0.0.1:{hub.port}")
    hub.kill()
    stopped = home.ztm("doctor", "--data", hub.data, "-o", "json").json
    assert [one["level"] for one in stopped if one["what"] == f"hub of {hub.data}"] == ["warn"]


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of an agent that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("words", ["get mesh", "status", "doctor", "identity", "join m --as e -p p.json", "log ep"])
def test_a_command_ends_in_the_time_it_was_given_even_if_the_agent_hangs(
    hanging: str, tmp_path: Path, words: str
) -> None:
    permit = '{"ca": "x", "agent": {"certificate": "y"}, "bootstraps": ["h:1"]}'
    (tmp_path / "p.json").write_text(permit)
    begin = time.monotonic()
    ran = run_ztm(tmp_path, *words.split(), "--timeout=1", env={"ZTM_AGENT": hanging})
    assert ran.status == 1
    assert time.monotonic() - begin < 15  # a request alone may take 30 s otherwise


@pytest.mark.long
def test_commands_that_need_no_agent_always_end_with_their_whole_output(tmp_path: Path) -> None:
    for words in ("version", "help", "config", "completion bash"):
        said = {(run.status, run.out, run.err) for run in (run_ztm(tmp_path, *words.split()) for _ in range(15))}
        assert len(said) == 1, words
        assert next(iter(said))[0] == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("help", "--help"),
        ("help", "-h"),
        ("help get", "get --help"),
        ("help get", "get mesh -h"),
        ("help join", "join --as --help"),
        ("help tunnel", "tunnel --help"),
        ("help tunnel open", "tunnel open -h"),
        ("version", "--version"),
    ],
)
def test_help_and_version_are_asked_for_in_every_usual_way(tmp_path: Path, one: str, other: str) -> None:
    first, second = run_ztm(tmp_path, *one.split()), run_ztm(tmp_path, *other.split())
    assert first.status == second.status == 0
    assert first.out == second.out
    assert len(first.out) > 50


def test_options_may_stand_anywhere_and_be_written_with_equals(tmp_path: Path) -> None:
    lines = (
        "config show -o json",
        "config show -ojson",
        "config show --output=json",
        "--timeout=9 config show -o json",
    )
    said = {run_ztm(tmp_path, *line.split()).out for line in lines}
    assert len(said) == 1
    assert '"origin"' in said.pop()


@pytest.mark.parametrize("words", ["help", "version", "config show", "status", "doctor", "get mesh", "nosuch"])
@pytest.mark.parametrize("variables", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}])
def test_nothing_is_coloured_where_colour_is_not_wanted(words: str, variables: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environ = environment(tmp_path, {"ZTM_AGENT": "127.0.0.1:1", **variables})
    done = subprocess.Popen(
        [ZTM, *words.split()], stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=tmp_path
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:
        pass  # the terminal is gone with the last who had it open
    os.close(ours)
    assert done.wait(30) in (0, 1, 2, 3)
    assert said
    assert b"\x1b" not in said
