"""The command line as a whole: what is printed where, and the exit status of every way to fail."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_agent import FakeAgent, mesh_object, running_agent
from ztm.apps.catalog import TITLES
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.token = ""
        running.joined()
        running.answer("GET", "/api/meshes/m/hubs", {})
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and no agent anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZTM_AGENT", "ZTM_MESH", "ZTM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def failure(capsys: Captured, line: str, status: int) -> str:
    """Run a command that must fail, and return its one line on standard error."""
    assert main(line.split()) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ztm: ")
    assert err.count("\n") == 1
    return err[5:-1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no command given. Type 'ztm help' for help info."),
        ("gte ep", "unknown command or app: gte (did you mean 'get'?)"),
        ("tunel get inbound", "unknown command or app: tunel (did you mean 'tunnel'?)"),
        ("get bogus", "invalid object type 'bogus' for command 'get'"),
        ("describe bogus x", "invalid object type 'bogus' for command 'describe'"),
        ("describe mesh", "missing argument <object name>. Type 'ztm help describe'"),
        ("get ep -o xml", "unknown output format 'xml'"),
        ("log bogus", "invalid object type 'bogus' for command 'log'"),
        ("stats hub", "invalid object type 'hub' for command 'stats'"),
        ("ping hub x", "invalid object type 'hub' for command 'ping'"),
        ("log hub", "missing argument <object name>"),
        ("label gpu", "excessive positional argument: gpu. Type 'ztm help label'"),
        ("join m", "endpoint name not specified (with option --as)"),
        ("join m --as e", "permit file not specified (with option --permit)"),
        ("join a/b --as e -p x", "invalid character '/' in mesh name 'a/b'"),
        ("invite alice", "missing option --identity"),
        ("invite hub/x -i -", "invalid character '/' in user name"),
        ("mesh", "missing mesh name"),
        ("ep", "missing endpoint name"),
        ("ep m/ get ep", "missing endpoint name"),
        ("ep a/b/c get ep", "invalid character '/' in name 'a/b'"),
        ("mesh a ep b/e get ep", "'ep b/e' contradicts what was said before it"),
        ("ep work leave m", "'ztm leave' concerns this machine's agent only"),
        ("run hub", "at least one hub address (host:port) is required"),
        ("run hub --names 8888", "the hub address '8888' has no host"),
        ("run hub --names h:1 --max-agents abc", "invalid value 'abc' for option --max-agents"),
        ("run hub --names h:1 --max-sessions 5", "invalid value '5' for option --max-sessions"),
        ("run hub --names h:1 --listen x", "not a port"),
        ("run agent --join m", "option --join-as is required when using --join"),
        ("run agent --join m --join-as x", "option --permit is required when using --join"),
        ("run agent --permit x", "options --join-as and --permit need --join"),
        ("run bogus", "invalid object type 'bogus' for command 'run'"),
        ("root", "at least one hub address (host:port) is required"),
        ("config --agent x:y", "not a port"),
        ("config --unset color", "no such setting: color"),
    ],
)
def test_wrong_usage_needs_no_agent_and_exits_2(home: Path, capsys: Captured, line: str, said: str) -> None:
    assert failure(capsys, line, 2).startswith(said)


def test_words_that_are_no_text_are_wrong_usage(home: Path, capsys: Captured) -> None:
    assert main(["leave", "\udcff"]) == 2
    assert "not UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["get mesh", "get ep", "ping x", "identity", "label", "stats ep", "log ep", "leave m", "tunnel get inbound"]
)
def test_without_an_agent_every_command_that_needs_one_exits_3(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str
) -> None:
    monkeypatch.setenv("ZTM_AGENT", "127.0.0.1:1")
    assert "cannot reach the agent at 127.0.0.1:1" in failure(capsys, line, 3)


def test_a_refused_token_exits_1_and_says_what_to_do(agent: FakeAgent, capsys: Captured) -> None:
    agent.token = "right"
    assert "runs as another user" in failure(capsys, "get mesh", 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mesh nope get ep", "mesh 'nope' not found"),
        ("ep nope/x label", "mesh 'nope' not found"),
        ("describe mesh nope", "mesh 'nope' not found"),
        ("leave nope", "mesh 'nope' not found"),
        ("describe ep nope", "endpoint 'nope' not found"),
        ("ping ep nope", "endpoint 'nope' not found"),
        ("ping nope", "endpoint 'nope' not found"),
        ("stats ep nope", "endpoint 'nope' not found"),
        ("ep nope label", "endpoint 'nope' not found"),
        ("describe hub nope", "hub 'nope' not found"),
        ("log hub nope", "hub 'nope' not found"),
        ("join m --as e --permit missing.json", "cannot open file: missing.json"),
        ("invite bob -i missing.pem", "cannot open file: missing.pem"),
        ("run agent --join m --join-as x --permit missing.json", "cannot read permit file from: missing.json"),
    ],
)
def test_what_does_not_exist_is_named_and_exits_1(agent: FakeAgent, capsys: Captured, line: str, said: str) -> None:
    assert failure(capsys, line, 1).startswith(said)


def test_no_mesh_or_too_many_are_told_apart(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    agent.answer("GET", "/api/meshes", [])
    assert failure(capsys, "get ep", 1).startswith("you haven't joined a mesh yet")
    agent.joined(mesh_object("m"), mesh_object("m2"))
    assert failure(capsys, "get ep", 1).startswith("no mesh specified: write 'ztm mesh NAME ...' with one of m, m2")
    monkeypatch.setenv("ZTM_MESH", "zzz")
    assert failure(capsys, "get ep", 1).startswith("default mesh 'zzz' not found (set by ZTM_MESH)")
    monkeypatch.setenv("ZTM_MESH", "m2")
    assert main(["get", "ep"]) == 0
    assert agent.sent("GET")[-1][0].startswith("/api/meshes/m2/endpoints?")


@pytest.mark.parametrize("line", ["help", "-h", "--help", "help nosuch", "mesh m help", "ep -h"])
def test_help_needs_no_agent(home: Path, capsys: Captured, line: str) -> None:
    assert main(line.split()) == 0
    out = capsys.readouterr().out
    assert out.startswith("\nUsage:\n\n  ztm <cmd> ...\n")
    assert out.endswith("Type 'ztm help <command>' for detailed info.\n\n")


@pytest.mark.parametrize("line", ["help join", "join -h", "join m --as --help", "help join whatever"])
def test_help_of_a_command_is_found_by_every_way_of_asking(home: Path, capsys: Captured, line: str) -> None:
    assert main(line.split()) == 0
    assert "Usage: ztm join <mesh name> [options...]" in capsys.readouterr().out


def test_settings_are_kept_shown_with_what_overrides_them_and_forgotten(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (home / ".ztm.conf").write_text('{"trial": "kept"}')
    assert main(["config", "--agent", "20503", "--mesh", "m2"]) == 0
    assert main(["config"]) == 0
    assert capsys.readouterr().out == "Current agent: 20503\nDefault mesh: m2\n"
    monkeypatch.setenv("ZTM_AGENT", "x:1")
    assert main(["config", "--unset", "mesh"]) == 0
    assert main(["config"]) == 0
    assert capsys.readouterr().out == "Current agent: x:1 (from ZTM_AGENT)\nDefault mesh: (none)\n"
    assert json.loads((home / ".ztm.conf").read_text()) == {"trial": "kept", "agent": "20503"}


def test_an_unreadable_settings_file_counts_as_empty(home: Path, capsys: Captured) -> None:
    (home / ".ztm.conf").write_bytes(b"\xff{")
    assert main(["config"]) == 0
    assert capsys.readouterr().out == "Current agent: localhost:7777\nDefault mesh: (none)\n"


def test_version_is_one_json_object_in_one_line(home: Path, capsys: Captured) -> None:
    assert main(["version", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ztm"]["edition"] == "Python"
    assert shown["pipy"]["tag"].startswith("python 3.")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ZTM:\n  Edition: Python\n  Tag    : v")


def test_an_interrupt_exits_130(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ztm.cli.client.AgentClient.request_text", interrupted)
    assert main(["get", "mesh"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_leaves_is_no_error_message(home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "ztm", "help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_version_loads_nothing_that_is_slow_to_start(home: Path) -> None:
    code = (
        "import sys; from ztm.cli.main import main; main(['version']);"
        "slow = {'asyncio', 'ssl', 'cryptography', 'msgspec', 'uvloop', 'http.client', 'socket'};"
        "sys.exit(' '.join(slow & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("app", TITLES)
def test_the_commands_of_an_app_load_nothing_that_is_slow_to_start(app: str) -> None:
    code = (
        f"import sys; import ztm.apps.{app}.cli;"
        "slow = {'asyncio', 'ssl', 'cryptography', 'msgspec', 'logging'};"
        "sys.exit(' '.join(slow & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
