"""What `ztm run` and `ztm root` hand over to hub and agent, which are stood in for here."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ztm.cli.main import main
from ztm.model import Address


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was started, in place of a hub or an agent that would run until stopped."""
    configs: list[Any] = []

    def run(config: Any) -> int:
        configs.append(config)
        return 7

    def issue(data: Path, names: tuple[Address, ...]) -> str:
        configs.append((data, names))
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
    assert started == [(tmp_path / ".ztm", (Address("h", 1),))] * 2


def test_no_root_permit_is_issued_that_could_not_be_written(started: list[Any]) -> None:
    assert main(["root", "-n", "h:1", "-p", "nowhere/root.json"]) == 1
    assert started == []
