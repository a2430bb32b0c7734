"""Hub and agent as services of a real systemd."""

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator

import pytest
from user_manager import UserManager, missing, user_manager
from world import Ran, free_port, one_line, run_ztm, until

from ztm.cli.services.accounts import places, program
from ztm.cli.services.systemd import unit_text
from ztm.cli.services.unit import Unit

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


MACHINES = ("PrivateDevices", "ProtectKernelTunables", "ProtectKernelLogs")
"""Walls for which only the machine's own manager has what they need: files of its own in ``/run`` and ``/tmp``."""


class Machine:
    """The command line of the user whose manager it is."""

    def __init__(self, manager: UserManager) -> None:
        self.manager = manager
        self.home = manager.home
        self.port = free_port()

    def ztm(self, *words: object) -> Ran:
        variables = {**self.manager.variables, "ZTM_AGENT": f"127.0.0.1:{self.port}"}
        return run_ztm(self.home, *words, prefix=self.manager.prefix, env=variables)

    def ok(self, *words: object) -> str:
        ran = self.ztm(*words)
        assert (ran.status, ran.err) == (0, ""), ran
        return ran.out

    def start_agent(self, *options: object) -> str:
        return self.ok("start", "agent", "--user", "--listen", f"127.0.0.1:{self.port}", *options)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserManager]:
    with user_manager(tmp_path_factory.mktemp("systemd")) as made:
        yield made


@pytest.fixture
def machine(manager: UserManager) -> Iterator[Machine]:
    made = Machine(manager)
    yield made
    for kind in ("agent", "hub"):
        if manager.unit(f"ztm-{kind}").exists():
            made.ok("stop", kind, "--user", "--disable")
            manager.unit(f"ztm-{kind}").unlink()


def test_a_started_agent_is_up_says_so_and_is_enabled(machine: Machine) -> None:
    said = machine.start_agent()
    assert said.startswith("ztm-agent runs (local API at ")
    assert said.count("\n") == 1
    assert machine.ztm("get", "mesh").status == 0
    show = machine.manager.show
    assert show("ztm-agent", "ActiveState") == "active"
    assert show("ztm-agent", "UnitFileState") == "enabled"
    assert show("ztm-agent", "StatusText") == f"local API at 127.0.0.1:{machine.port}; no mesh joined"


def test_started_again_without_options_it_is_another_process_with_the_same_options(machine: Machine) -> None:
    machine.start_agent("--drain", "1")
    unit, before = machine.manager.unit("ztm-agent").read_text(), machine.manager.show("ztm-agent", "MainPID")
    machine.ok("start", "agent", "--user")
    assert machine.manager.unit("ztm-agent").read_text() == unit
    assert machine.manager.show("ztm-agent", "MainPID") != before
    assert machine.ztm("get", "mesh").status == 0
    machine.start_agent("--drain", "2")
    assert "--drain=2" in machine.manager.unit("ztm-agent").read_text()


def test_a_stopped_service_stays_installed_and_says_whether_it_ran(machine: Machine) -> None:
    machine.start_agent()
    assert machine.ok("stop", "agent", "--user") == "ztm-agent is stopped\n"
    assert machine.manager.show("ztm-agent", "ActiveState") == "inactive"
    assert machine.manager.show("ztm-agent", "UnitFileState") == "enabled"
    assert machine.ok("stop", "agent", "--user") == "ztm-agent was not running\n"
    assert "not start at boot" in machine.ok("stop", "agent", "--user", "--disable")
    assert machine.manager.show("ztm-agent", "UnitFileState") == "disabled"
    machine.ok("start", "agent", "--user")
    assert machine.manager.show("ztm-agent", "ActiveState") == "active"


def test_a_hub_that_was_started_listens_and_its_first_root_permit_is_the_callers_alone(machine: Machine) -> None:
    permit, port = machine.home / "root.json", free_port()
    options = ("--user", "--listen", f"127.0.0.1:{port}", "--names", f"127.0.0.1:{port}", "--data", machine.home / "h")
    said = machine.ok("start", "hub", *options, "--permit", permit)
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    assert stat.S_IMODE(permit.stat().st_mode) == 0o600
    assert permit.stat().st_uid == os.geteuid()
    assert json.loads(permit.read_text())["agent"]["privateKey"]
    assert str(permit) in said

    again = machine.home / "again.json"
    assert "issued before" in machine.ok("start", "hub", *options, "--permit", again)
    machine.ok("start", "hub", "--user")
    assert not again.exists()

    machine.start_agent()
    assert machine.ztm("join", "m", "--as", "e", "--permit", permit).status == 0
    shown = machine.manager.log.read_text() + machine.manager.unit("ztm-hub").read_text() + said
    assert "PRIVATE KEY" not in shown


@pytest.mark.long
def test_an_agent_may_join_as_it_is_started_and_does_so_once(machine: Machine) -> None:
    permit, port = machine.home / "root2.json", free_port()
    names = ("--listen", f"127.0.0.1:{port}", "--names", f"127.0.0.1:{port}", "--data", machine.home / "h2")
    machine.ok("start", "hub", "--user", *names, "--permit", permit)
    said = machine.start_agent("--data", machine.home / "joined", "--join", "m", "--join-as", "e", "--permit", permit)
    assert said.splitlines()[-1] == "joined mesh m as e"
    assert "--join" not in machine.manager.unit("ztm-agent").read_text()
    assert "mesh m connected" in until(
        lambda: (text := machine.manager.show("ztm-agent", "StatusText")) and "connected" in text and text, within=20
    )


def test_a_service_that_does_not_come_up_says_why_and_does_not_go_on_trying(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", machine.port)):
        ran = machine.ztm("start", "agent", "--user", "--listen", f"127.0.0.1:{machine.port}")
    said = one_line(ran, 1)
    assert "the address is in use by another program" in said
    assert "journalctl --user -u ztm-agent" in said
    assert machine.manager.show("ztm-agent", "ActiveState") in ("inactive", "failed")


def test_options_reach_the_process_as_they_were_typed(machine: Machine) -> None:
    data = machine.home / "we ird $HOME %h 'q' \"d\" back\\slash"
    machine.start_agent("--data", data)
    assert (data / "api.token").exists()
    assert machine.ztm("get", "mesh").status == 0


@pytest.mark.long
def test_a_process_whose_loop_hangs_is_replaced(machine: Machine) -> None:
    machine.start_agent()
    dropped = machine.manager.unit("ztm-agent").with_suffix(".service.d")
    dropped.mkdir()
    (dropped / "fast.conf").write_text("[Service]\nWatchdogSec=1\nRestartSec=0\n")
    machine.ok("start", "agent", "--user")
    before = machine.manager.show("ztm-agent", "MainPID")
    machine.manager.run("kill", f"-{signal.SIGSTOP.value}", before)
    until(lambda: machine.manager.show("ztm-agent", "MainPID") not in (before, "0"), within=20)
    until(lambda: machine.manager.show("ztm-agent", "ActiveState") == "active", within=20)
    assert machine.manager.show("ztm-agent", "NRestarts") == "1"
    until(lambda: machine.ztm("get", "mesh").status == 0, within=20)
    (dropped / "fast.conf").unlink()
    dropped.rmdir()


def test_a_service_of_the_machine_works_within_its_walls_and_writes_nowhere_else(machine: Machine) -> None:
    data = machine.home / "walled"
    data.mkdir(mode=0o700)
    options = (f"--data={data}", f"--listen=127.0.0.1:{machine.port}")
    walled = Unit(kind="agent", program=program(), options=options, data=data, user="root", reads=places())
    unit = machine.manager.unit("ztm-agent")
    lines = [line for line in unit_text(walled).splitlines(keepends=True) if not line.startswith(MACHINES)]
    trespass = f"ExecStartPost=-/bin/sh -c 'touch {machine.home}/outside'\n"
    text = "".join(lines).replace("[Install]", f"{trespass}[Install]")
    unit.write_text(text)
    assert "ProtectSystem=strict" in text
    machine.manager.run("systemctl", "--user", "daemon-reload")
    machine.manager.run("systemctl", "--user", "start", "ztm-agent")
    assert machine.manager.show("ztm-agent", "ActiveState") == "active"
    assert (data / "api.token").exists()
    (pointer,) = (machine.home / "run" / "ztm-agent").glob("*.json")
    assert json.loads(pointer.read_text())["data"] == str(data)
    assert not (machine.home / "outside").exists()
    machine.manager.run("systemctl", "--user", "stop", "ztm-agent")
    assert not pointer.exists()
