"""`ztm start` and `ztm stop`: what is written for a service manager, and what it is asked; no manager runs here."""

import json
import os
import plistlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ztm.agent.config import pointers
from ztm.apps.grammar import Grammar
from ztm.cli import service, tokens, values
from ztm.cli.main import main
from ztm.cli.options import AGENT_OPTIONS, HUB_OPTIONS
from ztm.cli.services import accounts, launchctl, launchd, manager, systemctl, wanted
from ztm.cli.services.files import hand_over
from ztm.cli.services.systemd import command_line, options_in, quoted, unit_text
from ztm.cli.services.unit import SYSTEM_DATA, Unit
from ztm.errors import ZtmError
from ztm.model import Address

HUB = ("start", "hub", "--names", "h:8888")


def unit(**changes: Any) -> Unit:
    facts: dict[str, Any] = {
        "kind": "hub",
        "program": ("/usr/bin/ztm",),
        "options": ("--data=/var/lib/ztm", "--names=h:1"),
        "data": SYSTEM_DATA,
        "user": "ztm",
        "reads": (Path("/usr/bin/python3"),),
    }
    return Unit(**{**facts, **changes})


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


# ---------------------------------------------------------------------- the text of a unit


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--listen=127.0.0.1:8888", "--listen=127.0.0.1:8888"),
        ("a b", '"a b"'),
        ("100%h", '"100%%h"'),
        ("$HOME", '"$$HOME"'),
        ('"', '"\\""'),
        ("\\", '"\\\\"'),
        ("it's", '"it\'s"'),
        (";", '";"'),
        ("", '""'),
        ("a\nb\x7f", '"a\\x0ab\\x7f"'),
        ("-", '"-"'),
        ("gr\u00fc\u00df", '"gr\u00fc\u00df"'),
    ],
)
def test_a_word_means_to_systemd_what_it_is(word: str, written: str) -> None:
    assert quoted(word).strip('"') == written.strip('"')
    assert command_line(("/bin/x", word)).startswith("/bin/x ")


def test_a_dollar_in_the_programs_own_name_is_not_doubled() -> None:
    assert command_line(("/a$b/ztm", "$c")) == '"/a$b/ztm" "$$c"'


def test_a_service_of_the_machine_has_its_own_user_and_directory_and_is_walled_in() -> None:
    text = unit_text(unit())
    assert lines(text, "User") == ["ztm"]
    assert lines(text, "StateDirectory") == ["ztm"]
    assert lines(text, "ReadWritePaths") == []
    assert lines(text, "CapabilityBoundingSet") == lines(text, "AmbientCapabilities") == [""]
    for key in ("ProtectSystem", "ProtectHome", "PrivateTmp", "NoNewPrivileges"):
        assert lines(text, key) == [{"ProtectSystem": "strict"}.get(key, "yes")]
    assert lines(text, "UMask") == ["0077"]
    assert lines(text, "Type") == ["notify"]
    assert lines(text, "Restart") == ["on-failure"]
    assert lines(text, "WatchdogSec") == ["60"]
    assert lines(text, "WantedBy") == ["multi-user.target"]
    assert lines(text, "StandardError") == ["journal"]


def test_only_a_low_port_gets_the_one_capability_that_it_needs() -> None:
    text = unit_text(unit(has_low_port=True))
    assert lines(text, "CapabilityBoundingSet") == lines(text, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]


def test_a_directory_of_ones_own_can_be_written_and_a_program_in_a_home_can_be_read() -> None:
    text = unit_text(unit(data=Path("/srv/my mesh"), reads=(Path("/home/bob/venv/bin/python"),)))
    assert lines(text, "ReadWritePaths") == ['"/srv/my mesh"']
    assert lines(text, "StateDirectory") == []
    assert lines(text, "ProtectHome") == ["read-only"]


def test_root_finds_the_token_of_the_machines_agent_and_nobody_else_may_look() -> None:
    text = unit_text(unit(kind="agent"))
    assert lines(text, "RuntimeDirectory") == ["ztm-agent"]
    assert lines(text, "RuntimeDirectoryMode") == ["0700"]


def test_a_service_of_a_user_asks_for_nothing_that_only_the_machines_manager_can_do() -> None:
    text = unit_text(unit(user=""))
    for key in ("User", "StateDirectory", "ProtectSystem", "CapabilityBoundingSet", "LimitNOFILE"):
        assert lines(text, key) == []
    assert lines(text, "NoNewPrivileges") == ["yes"]
    assert lines(text, "WantedBy") == ["default.target"]


def test_a_stop_may_take_as_long_as_its_streams_may() -> None:
    assert int(lines(unit_text(unit(drain=300.0)), "TimeoutStopSec")[0]) > 300


def test_the_options_are_found_again_in_what_was_written() -> None:
    words = ("--data=/a b/%h", '--names="$x"', "--join=\u00fc\n")
    assert options_in(unit_text(unit(options=words))) == words
    assert launchd.options_in(launchd.plist(unit(options=words), Path("/Users/bob"))) == words


@pytest.mark.parametrize("text", ["", "[Service]\nExecStart=/usr/bin/ztm run hub\n", "# options: {", "# options: [1]"])
def test_what_others_wrote_has_no_options_of_ours(text: str) -> None:
    assert options_in(text) is None
    assert launchd.options_in(text.encode()) is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("kind", ["hub", "agent"])
def test_systemd_finds_no_fault_in_a_unit_and_little_that_it_exposes(kind: str, tmp_path: Path) -> None:
    program = tmp_path / "we ird $5 100%"
    shutil.copy("/bin/true", program)
    path = tmp_path / f"ztm-{kind}.service"
    path.write_text(unit_text(unit(kind=kind, program=(str(program),), options=("--data=a b$%",), has_low_port=True)))
    analyze = ["systemd-analyze", "--man=no"]
    done = subprocess.run([*analyze, "verify", path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    options = ["security", "--offline=true", "--threshold=30"]
    done = subprocess.run([*analyze, *options, path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_launchd_gets_v1s_label_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    found = plistlib.loads(launchd.plist(unit(kind="agent"), Path("/Users/bob")))
    assert found["Label"] == "io.flomesh.ztm.agent"
    assert found["ProgramArguments"] == ["/usr/bin/ztm", "run", "agent", "--data=/var/lib/ztm", "--names=h:1"]
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    monkeypatch.setenv("HOME", "/Users/bob")
    assert launchctl.Launchctl()._path("hub") == Path("/Users/bob/Library/LaunchAgents/io.flomesh.ztm.hub.plist")


# ---------------------------------------------------------------------- the commands


class Manager:
    """A stand-in for systemd's command, which remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.properties = {"StatusText": "listening", "ActiveState": "active"}
        self.fails: set[str] = set()

    def run(self, words: list[str]) -> "subprocess.CompletedProcess[str]":
        plain = [word for word in words if word not in ("--no-pager", "--no-ask-password")]
        verb = next(word for word in plain[1:] if not word.startswith("-"))
        if verb == "show":
            key = next(word for word in plain if word.startswith("--property=")).partition("=")[2]
            return subprocess.CompletedProcess(words, 0, self.properties.get(key, "") + "\n", "")
        if verb == "is-system-running":
            return subprocess.CompletedProcess(words, 0, "running\n", "")
        self.asked.append(" ".join(plain))
        failed = verb in self.fails
        return subprocess.CompletedProcess(words, int(failed), "", "Job failed.\n" if failed else "")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manager:
    """A machine whose root types, with a stand-in for systemd; all of its places are below `tmp_path`."""
    made = Manager()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(systemctl, "_run", made.run)
    monkeypatch.setattr(systemctl, "BOOTED", tmp_path)
    monkeypatch.setattr(systemctl, "SYSTEM_UNITS", tmp_path / "units")
    monkeypatch.setattr(manager, "is_root", lambda: True)
    monkeypatch.setattr(wanted, "SYSTEM_DATA", tmp_path / "state")
    monkeypatch.setattr(accounts, "account", lambda _user: (-1, -1))
    monkeypatch.setattr(accounts, "check_program", lambda _user: None)
    return made


def test_a_start_installs_starts_and_then_enables_it_and_says_how_it_is(
    systemd: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*HUB, "--permit", "root.json"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "ztm-hub runs (listening), and starts at boot"
    assert said.err == ""
    assert systemd.asked == ["systemctl daemon-reload", "systemctl restart ztm-hub", "systemctl enable ztm-hub"]
    text = (tmp_path / "units" / "ztm-hub.service").read_text()
    assert options_in(text) == (f"--data={tmp_path / 'state'}", "--names=h:8888")
    assert (tmp_path / "units" / "ztm-hub.service").stat().st_mode & 0o777 == 0o644
    permit = tmp_path / "root.json"
    assert permit.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" in permit.read_text()
    assert "PRIVATE KEY" not in text + said.out


def test_a_second_start_issues_no_second_root_credential(
    systemd: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*HUB, "--permit", "root.json"]) == 0
    before = (tmp_path / "root.json").read_bytes()
    assert main([*HUB, "--permit", "root.json"]) == 0
    assert main([*HUB, "--permit", "other.json"]) == 0
    assert (tmp_path / "root.json").read_bytes() == before
    assert not (tmp_path / "other.json").exists()
    assert "issued before" in capsys.readouterr().out


def test_without_options_the_service_is_started_as_it_was_and_with_options_as_they_say(
    systemd: Manager, tmp_path: Path
) -> None:
    path = tmp_path / "units" / "ztm-hub.service"
    assert main([*HUB, "--max-agents", "7"]) == 0
    before = path.read_text()
    assert main(["start", "hub"]) == 0
    assert path.read_text() == before
    assert main([*HUB, "--max-agents", "8"]) == 0
    assert "--max-agents=8" in path.read_text()
    assert main(HUB) == 0
    assert "--max-agents" not in path.read_text()


def test_a_unit_of_another_program_is_not_guessed_at(
    systemd: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "ztm-hub.service").write_text("[Service]\nExecStart=/old/ztm run hub --names h:1\n")
    assert main(["start", "hub"]) == 1
    assert "start it with its options once" in capsys.readouterr().err
    assert main(HUB) == 0


def test_the_first_start_of_a_hub_needs_its_names(
    systemd: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "hub"]) == 2
    assert "--names" in capsys.readouterr().err
    assert not (tmp_path / "units").exists()
    assert systemd.asked == []


def test_a_service_that_does_not_start_is_an_error_with_its_own_reason_and_is_stopped(
    systemd: Manager, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.fails = {"restart"}
    systemd.properties["StatusText"] = "cannot listen on 0.0.0.0:8888"
    assert main(HUB) == 1
    said = capsys.readouterr()
    assert "does not start: cannot listen on 0.0.0.0:8888" in said.err
    assert said.out == ""
    assert systemd.asked[-1] == "systemctl stop ztm-hub"


@pytest.mark.parametrize("verb", ["daemon-reload", "enable"])
def test_what_systemd_refuses_is_an_error(verb: str, systemd: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    systemd.fails = {verb}
    assert main(HUB) == 1
    assert f"systemctl {verb}" in capsys.readouterr().err


def test_paths_are_saved_so_that_they_mean_the_same_from_anywhere(systemd: Manager, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token")
    line = ["--data", "here", "--ca", "https://ca.example/x", "--ca-token-file", "token"]
    assert main([*HUB, *line]) == 0
    saved = options_in((tmp_path / "units" / "ztm-hub.service").read_text())
    assert saved is not None
    assert f"--data={tmp_path / 'here'}" in saved
    assert f"--ca-token-file={tmp_path / 'token'}" in saved
    assert "secret-token" not in (tmp_path / "units" / "ztm-hub.service").read_text()


def test_a_proxys_password_does_not_get_into_a_file_that_all_may_read(
    systemd: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "agent", "--proxy", "http://bob:pass-word@proxy:3128"]) == 2
    said = capsys.readouterr().err
    assert "ZTM_PROXY" in said
    assert "pass-word" not in said
    assert not (tmp_path / "units").exists()


@pytest.mark.parametrize("line", ["start agent extra", "start hub extra --names h:1", "stop agent extra", "stop hub x"])
def test_an_excess_word_is_refused(line: str, systemd: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert "excessive positional argument" in capsys.readouterr().err
    assert systemd.asked == []


@pytest.mark.parametrize(
    "line", ["start agent", "start hub --names h:1 --permit p", "stop agent", "start agent --user"]
)
def test_without_a_service_manager_nothing_is_written_and_the_foreground_is_named(
    line: str, systemd: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(systemctl, "BOOTED", tmp_path / "missing")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    before = sorted(tmp_path.rglob("*"))
    assert main(line.split()) == 1
    said = capsys.readouterr()
    assert "ztm run hub" in said.err
    assert said.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_system_whose_services_are_not_known_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.sys, "platform", "plan9")
    with pytest.raises(ZtmError, match="'ztm run hub'"):
        manager.manager_here(is_system=True)


def test_a_stop_says_what_it_did_and_needs_a_service(systemd: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", "hub"]) == 1
    assert "is not a service here" in capsys.readouterr().err
    assert main(HUB) == 0
    capsys.readouterr()
    assert main(["stop", "hub"]) == 0
    assert capsys.readouterr().out == "ztm-hub is stopped\n"
    systemd.properties["ActiveState"] = "inactive"
    assert main(["stop", "hub", "--disable"]) == 0
    assert capsys.readouterr().out == "ztm-hub was not running, and does not start at boot any more\n"
    assert systemd.asked[-1] == "systemctl disable ztm-hub"
    systemd.fails = {"stop"}
    assert main(["stop", "hub"]) == 1


def test_a_user_is_told_that_the_service_is_the_machines(
    systemd: Manager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(HUB) == 0
    capsys.readouterr()
    monkeypatch.setattr(manager, "is_root", lambda: False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run" / "systemd" / "private").mkdir(parents=True)
    assert main(["start", "hub"]) == 1
    assert "sudo ztm" in capsys.readouterr().err


def test_a_service_takes_every_option_that_the_foreground_takes() -> None:
    assert set(HUB_OPTIONS) <= set(service.OPTIONS["hub"])
    assert set(AGENT_OPTIONS) <= set(service.OPTIONS["agent"])


def test_what_a_service_was_given_reads_back_as_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    grammar = Grammar("ztm", service.COMMANDS)
    line = "start agent --listen 1234 unix:/run/x/s --stun-server a b:3 --enable-p2p --drain 3 --allow-origin http://x"
    _, typed = grammar.parse(line.split())
    first = wanted.wanted("agent", service.OPTIONS["agent"], typed, is_system=False)
    _, saved = grammar.parse(["start", "agent", *first.unit.options])
    again = wanted.wanted("agent", service.OPTIONS["agent"], saved, is_system=False)
    assert again == first
    assert first.agent is not None
    assert [server.host for server in first.agent.stun_servers] == ["a", "b"]


# ---------------------------------------------------------------------- whom it runs as


def test_a_data_directory_decides_whom_its_service_runs_as(tmp_path: Path) -> None:
    assert accounts.user_for(tmp_path / "missing") == "ztm"
    (tmp_path / "empty").mkdir()
    assert accounts.user_for(tmp_path / "empty") == "ztm"
    (tmp_path / "empty" / "ztm.db").touch()
    assert accounts.user_for(tmp_path / "empty") == (tmp_path / "empty").owner()


def test_a_program_that_the_user_cannot_reach_is_told_before_anything_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(accounts, "places", lambda: (closed / "python",))
    monkeypatch.setattr(accounts.sys, "executable", "/usr/bin/env")
    with pytest.raises(ZtmError, match="cannot reach this program"):
        accounts.check_program("nobody")


# ---------------------------------------------------------------------- how root finds it again


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Root's home directory, with a machine's data directory and agent service beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "root"))
    monkeypatch.setattr("ztm.cli.services.unit.SYSTEM_DATA", tmp_path / "state")
    monkeypatch.setattr(manager, "is_root", lambda: True)
    monkeypatch.setattr(tokens, "SERVICES", tmp_path / "run")
    for name in ("root", "state", "run"):
        (tmp_path / name).mkdir()
    return tmp_path / "root"


def test_roots_commands_work_on_the_services_data_unless_root_has_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert values.default_data() == home.parent / "state"
    (home / ".ztm").mkdir()
    assert values.default_data() == home.parent / "state"
    (home / ".ztm" / "ztm-hub.db").touch()
    assert values.default_data() == home / ".ztm"
    (home / ".ztm" / "ztm-hub.db").unlink()
    monkeypatch.setattr(manager, "is_root", lambda: False)
    assert values.default_data() == home / ".ztm"


def test_the_token_of_the_machines_agent_is_found_where_its_service_left_the_pointer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZTM_TOKEN", raising=False)
    state, run = home.parent / "state", home.parent / "run"
    (state / "api.token").write_text("the-token")
    (run / "x.json").write_text(json.dumps({"instance": "x", "address": "127.0.0.1:7777", "data": str(state)}))
    assert [one.token for one in tokens.credentials(Address("127.0.0.1", 7777))] == ["the-token"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_pointer_leads_to_no_token_but_its_own_users(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZTM_TOKEN", raising=False)
    state, pointer = home.parent / "state", home.parent / "run" / "x.json"
    (state / "api.token").write_text("roots-token")
    pointer.write_text(json.dumps({"instance": "x", "address": "127.0.0.1:7777", "data": str(state)}))
    os.chown(pointer, 65534, 65534)
    assert tokens.credentials(Address("127.0.0.1", 7777)) == ()


def test_an_agent_that_systemd_started_leaves_its_pointer_where_systemd_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/bob")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert pointers() == Path("/home/bob/.ztm/agents")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/ztm-agent")
    assert pointers() == Path("/run/ztm-agent")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_made_in_a_data_directory_is_handed_over_and_nothing_outside_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    data = tmp_path / "data"
    (data / "meshes").mkdir(parents=True)
    (data / "meshes" / "ztm.db").touch()
    (data / "link").symlink_to(outside)
    hand_over(data, 65534, 65534)
    assert {path.stat().st_uid for path in (data, data / "meshes", data / "meshes" / "ztm.db")} == {65534}
    assert outside.stat().st_uid == 0
    assert (data / "link").lstat().st_uid == 65534
