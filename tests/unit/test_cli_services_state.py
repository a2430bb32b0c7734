"""What `ztm status` says of installed services, as a service manager tells it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ztm.cli.checkup import services as service_state
from ztm.cli.checkup.services import Service, services
from ztm.cli.main import main

Manager = Callable[[str], None]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manager:
    """A `systemctl` that does what it is told, and an installed service of the system."""
    units, programs = tmp_path / "units", tmp_path / "bin"
    units.mkdir()
    programs.mkdir()
    (units / "ztm-agent.service").write_text("")
    monkeypatch.setattr(service_state, "SYSTEM_UNITS", units)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZTM_AGENT", "127.0.0.1:1")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def install(script: str) -> None:
        (programs / "systemctl").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "systemctl").chmod(0o755)

    return install


def test_a_running_service_is_shown_as_its_manager_says(manager: Manager) -> None:
    manager("printf 'ActiveState=active\\nSubState=running\\nUnitFileState=enabled\\n'")
    assert services() == [Service("ztm-agent", "system", "active", "running", "enabled")]


def test_services_of_the_user_are_asked_of_the_users_manager(manager: Manager, tmp_path: Path) -> None:
    directory = tmp_path / ".config" / "systemd" / "user"
    directory.mkdir(parents=True)
    (directory / "ztm-hub.service").write_text("")
    manager('test "$1" = --user && echo ActiveState=failed || echo ActiveState=active')
    assert [(one.name, one.scope, one.state) for one in services()] == [
        ("ztm-agent", "system", "active"),
        ("ztm-hub", "user", "failed"),
    ]


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", ":"])
def test_a_manager_that_does_not_answer_leaves_the_state_unknown(manager: Manager, script: str) -> None:
    manager(script)
    assert [one.state for one in services()] == ["unknown"]


def test_a_manager_that_hangs_is_given_up(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_state, "PATIENCE", 0.2)
    manager("exec sleep 60")
    assert [one.state for one in services()] == ["unknown"]


def test_without_a_unit_of_ours_no_manager_is_asked(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    manager("touch $HOME/asked")
    monkeypatch.setattr(service_state, "SYSTEM_UNITS", Path("/nosuch"))
    assert services() == []
    assert not (Path.home() / "asked").exists()


def test_a_failed_service_is_wrong_and_status_names_its_journal(
    manager: Manager, capsys: pytest.CaptureFixture[str]
) -> None:
    manager("printf 'ActiveState=failed\\nSubState=failed\\nUnitFileState=enabled\\n'")
    assert main(["status", "-o", "json"]) == 3
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {"level": "fail", "what": "the service ztm-agent has failed", "do": "journalctl -u ztm-agent"} in problems
    assert "ztm start agent" in [one["do"] for one in problems]
    assert main(["doctor"]) == 1
    assert "fail  service ztm-agent: failed, failed, enabled" in capsys.readouterr().out
