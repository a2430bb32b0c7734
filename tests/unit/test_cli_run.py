"""What `ztm run` and `ztm root` hand over to hub and agent, which are stood in for here."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ztm.cli.commands import commands
from ztm.cli.main import main
from ztm.logs import LogOptions
from ztm.model import Address


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was started, in place of a hub or an agent that would run until stopped."""
    configs: list[Any] = []

    def run(config: Any) -> int:
        configs.append(config)
        return 7

    def issue(data: Path, names: tuple[Address, ...], **more: Any) -> str:
        configs.append((data, names, more))
        return '{"ca":"x"}'

    parts: dict[str, dict[str, Any]] = {
        "ztm.hub.config": {"HubConfig": SimpleNamespace},
        "ztm.agent.config": {"AgentConfig": SimpleNamespace},
        "ztm.hub.main": {"run": run},
        "ztm.agent.main": {"run": run},
        "ztm.hub.root": {"issue": issue},
    }
    for name, members in parts.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return configs


def test_a_hub_gets_v1s_defaults_and_its_exit_status_is_ours(started: list[Any], tmp_path: Path) -> None:
    assert main(["run", "hub", "--names", "h:8888", "[::1]:1"]) == 7
    (config,) = started
    assert (config.data, config.listen) == (tmp_path / ".ztm", Address("0.0.0.0", 8888))
    assert config.names == (Address("h", 8888), Address("::1", 1))
    assert (config.permit, config.max_agents, config.max_sessions) == (None, 100, 1000)


def test_a_hub_gets_what_was_typed(started: list[Any], tmp_path: Path) -> None:
    line = "run hub -l 20520 -n h:1 -d ~/x -p r.json --max-agents 5 --max-sessions=10"
    assert main(line.split()) == 7
    (config,) = started
    assert (config.data, config.listen) == (tmp_path / "x", Address("0.0.0.0", 20520))
    assert (config.permit, config.max_agents, config.max_sessions) == (Path("r.json"), 5, 10)


def test_an_agent_listens_on_loopback_unless_told_otherwise(started: list[Any], tmp_path: Path) -> None:
    assert main(["run", "agent"]) == 7
    assert main(["run", "agent", "--listen", ":20521"]) == 7
    assert [config.listen for config in started] == [Address("127.0.0.1", 7777), Address("127.0.0.1", 20521)]
    assert started[0].join is started[0].join_as is started[0].permit is None


def test_an_agent_may_join_as_it_starts(started: list[Any]) -> None:
    Path("root.json").write_text("{}")
    assert main(["run", "agent", "--join", "m", "--join-as", "home", "--permit", "root.json"]) == 7
    (config,) = started
    assert (config.join, config.join_as, config.permit) == ("m", "home", Path("root.json"))


def test_a_root_permit_is_printed_or_written_for_its_owner_only(
    started: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["root", "-n", "h:1"]) == 0
    assert capsys.readouterr().out == '{"ca":"x"}\n'
    assert main(["root", "-n", "h:1", "-p", "root.json"]) == 0
    assert capsys.readouterr().out == ""
    assert Path("root.json").stat().st_mode & 0o777 == 0o600
    assert started == [(tmp_path / ".ztm", (Address("h", 1),), {"ca": None, "signature": ""})] * 2


def test_no_root_permit_is_issued_that_could_not_be_written(started: list[Any]) -> None:
    assert main(["root", "-n", "h:1", "-p", "nowhere/root.json"]) == 1
    assert started == []


def test_a_hub_is_told_how_to_end_log_and_be_measured(started: list[Any]) -> None:
    assert main(["run", "hub", "-n", "h:1"]) == 7
    line = "run hub -n h:1 --drain 2.5 --metrics 9100 --log-format JSON --log-level debug"
    assert main(line.split()) == 7
    plain, told = started
    assert (plain.drain, plain.metrics, plain.logs, plain.signature) == (10.0, None, LogOptions("text", "info"), "")
    assert (told.drain, told.metrics) == (2.5, Address("127.0.0.1", 9100))
    assert told.logs == LogOptions("json", "debug")


def test_metrics_leave_this_machine_only_by_an_address_that_is_named(started: list[Any]) -> None:
    for text in ("9100", ":9100", "0.0.0.0:9100"):
        assert main(["run", "agent", "--metrics", text]) == 7
    assert [config.metrics.host for config in started] == ["127.0.0.1", "127.0.0.1", "0.0.0.0"]


def test_an_agent_gets_all_that_v1_knows(started: list[Any]) -> None:
    line = "run agent --proxy socks://me:pw@p:1 --stun-server a b:1 [::1] [::1]:5 --p2p-port 5 --enable-p2p"
    assert main(line.split()) == 7
    (config,) = started
    assert (str(config.proxy), config.proxy.user) == ("socks://p:1", "me")
    expected = (Address("a", 3478), Address("b", 1), Address("::1", 3478), Address("::1", 5))
    assert config.stun_servers == expected
    assert (config.p2p, config.p2p_port) == (True, 5)


def test_lists_may_be_given_in_one_option_or_in_several(started: list[Any]) -> None:
    line = "run agent --stun-server a b --stun-server=c --allow-origin http://x https://y:1"
    assert main(line.split()) == 7
    (config,) = started
    assert [address.host for address in config.stun_servers] == ["a", "b", "c"]
    assert config.origins == ("http://x", "https://y:1")


def test_an_agent_may_listen_on_a_port_and_on_a_socket(started: list[Any], tmp_path: Path) -> None:
    assert main(["run", "agent", "--listen", "unix:/run/x/ztm.sock", "7000"]) == 7
    assert main(["run", "agent", "--listen", "unix:~/ztm.sock"]) == 7
    both, alone = started
    assert (both.listen, both.socket) == (Address("127.0.0.1", 7000), Path("/run/x/ztm.sock"))
    assert (alone.listen, alone.socket) == (Address("127.0.0.1", 7777), tmp_path / "ztm.sock")


def test_an_open_api_is_off_unless_asked_for(started: list[Any]) -> None:
    assert main(["run", "agent"]) == 7
    assert main(["run", "agent", "--insecure-open-api"]) == 7
    assert [config.open_api for config in started] == [False, True]


def test_a_proxy_may_come_by_the_environment_where_nobody_reads_its_password(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZTM_PROXY", "http://me:pw@p:1")
    assert main(["run", "agent"]) == 7
    assert main(["run", "agent", "--proxy", "socks://q:2"]) == 7
    assert [str(config.proxy) for config in started] == ["http://p:1", "socks://q:2"]


def test_a_hub_may_have_its_certificates_from_a_service(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("token").write_text("t1\n")
    assert main(["run", "hub", "-n", "h:1", "--ca", "https://ca.example:9999/x", "--ca-token-file", "token"]) == 7
    monkeypatch.setenv("ZTM_CA_TOKEN", "t2")
    assert main(["run", "hub", "-n", "h:1", "--ca", "https://ca.example"]) == 7
    assert [(str(config.ca), config.ca.token) for config in started] == [
        ("https://ca.example:9999/x", "t1"),
        ("https://ca.example:443/api/certificates", "t2"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        *("hub --zone z", "hub --bootstrap h:1", "hub --max-agents abc", "hub --max-agents 1", "hub --max-sessions 9"),
        *("hub --drain x", "hub --drain -1", "hub --drain 99999", "hub --metrics x", "hub --log-level loud"),
        *("hub --log-format xml", "hub --ca ftp://x", "hub --ca-cert x", "hub --insecure-ca", "hub --ca http://x.test"),
        *("agent --proxy https://x", "agent --proxy http://u:pw@", "agent --p2p-port 0", "agent --p2p-port 65536"),
        *("agent --stun-server a:x", "agent --stun-server :1", "agent --listen 1 2", "agent --listen unix:x"),
        *(
            "agent --listen unix:",
            "agent --allow-origin *",
            "agent --allow-origin http://x/y",
            "agent --allow-origin x",
        ),
        f"agent --listen unix:/{'x' * 107}",
        *("agent --join m", "agent --join m --join-as e", "agent --join-as e", "agent --drain="),
    ],
)
def test_a_malformed_option_is_one_line_and_nothing_starts(
    words: str, started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kind, *rest = words.split()
    names = ["-n", "h:1"] if kind == "hub" else []
    assert main(["run", kind, *rest, *names]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n"), started) == ("", 1, [])
    assert "pw" not in shown.err


def test_options_of_v1s_enterprise_edition_are_named_as_not_supported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "hub", "-n", "h:1", "--zone", "z"]) == 2
    assert "--zone is not supported" in capsys.readouterr().err


def test_data_that_is_a_file_is_refused_at_once(started: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert main(["run", "agent", "-d", "file"]) == 2
    assert "already exists as a regular file: file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["hub", "agent"])
def test_a_service_takes_all_options_that_a_foreground_process_takes(kind: str) -> None:
    found = {command.name: {option.name: option.value for option in command.options} for command in commands().commands}
    run, start = found[f"run {kind}"], found[f"start {kind}"]
    assert run.items() <= {**start, **{name: run[name] for name in ("--join", "--join-as") if name in run}}.items()
