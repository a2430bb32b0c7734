"""Scripts on real agents: as they come and as they end, with packages by uv, and groups of users."""

import os
import signal
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from world import ZTM, Agent, environment, until

from ztm.apps.script.interpreter import found_here


@pytest.fixture(scope="module", autouse=True)
def allowed(mesh) -> None:
    """The workplace runs scripts of its owner; so do all tests here."""
    mesh.home.ok("ep", "workplace", "script", "config", "--allow", "on")


def script(agent: Agent, text: str, name: str = "s.py") -> str:
    """A script in the home directory of this machine, from where its commands are run."""
    (agent.home / name).write_text(text)
    return name


def begun(agent: Agent, *words: str) -> subprocess.Popen[bytes]:
    """A command of this machine that is still to end."""
    return subprocess.Popen(
        [ZTM, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}"}),
        cwd=agent.home,
    )


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_script_runs_there_with_its_arguments_and_its_status_is_the_commands(mesh) -> None:
    name = script(
        mesh.home, "import os, sys\nprint(sys.argv[1:], os.getcwd())\nprint('oh', file=sys.stderr)\nsys.exit(3)"
    )
    ran = mesh.home.ztm("ep", "workplace", "script", name, "--args", "-x", "two words", "--timeout")
    assert (ran.status, ran.err) == (3, "oh\n")
    assert ran.out.startswith("['-x', 'two words', '--timeout'] ")
    assert str(mesh.workplace.data) in ran.out


def test_nothing_runs_where_it_was_not_allowed(mesh) -> None:
    name = script(mesh.home, "print(1)")
    assert "scripts are off there" in mesh.home.fails("script", name)
    (mesh.alice.home / name).write_text("print(1)")
    assert "only root may" in mesh.alice.fails("ep", "workplace", "script", name)
    assert "off" in mesh.home.ok("script", "config").out
    assert "alice" in mesh.alice.fails("ep", "workplace", "script", "config", "--allow", "off")


def test_output_comes_as_it_is_written_and_input_goes_in(mesh) -> None:
    name = script(mesh.home, "print('ready')\nprint(input() + '!')")
    with begun(mesh.home, "ep", "workplace", "script", name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert process.poll() is None
        out, err = process.communicate(b"go\n", timeout=20)
    assert (process.returncode, out, err) == (0, b"go!\n", b"")


def test_megabytes_go_in_and_come_back_as_they_were(mesh) -> None:
    name = script(mesh.home, "import shutil, sys\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)")
    data = os.urandom(5 << 20)
    with begun(mesh.home, "ep", "workplace", "script", name) as process:
        out, err = process.communicate(data, timeout=50)
    assert (process.returncode, err) == (0, b"")
    assert out == data


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_script_ends_when_its_caller_is_killed(mesh, number: signal.Signals) -> None:
    name = script(mesh.home, "import os, time\nprint(os.getpid())\ntime.sleep(120)")
    with begun(mesh.home, "ep", "workplace", "script", name) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not is_gone(pid)
        process.send_signal(number)
        process.communicate(timeout=20)
    until(lambda: is_gone(pid), what="the script is gone")
    runs = list(mesh.workplace.data.glob("**/runs/*"))
    until(lambda: not any(run.exists() for run in runs), what="its directory is gone")


def test_ctrl_c_is_the_scripts(mesh) -> None:
    text = (
        "import time\ntry:\n    print('on')\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('off')\n    raise SystemExit(9)"
    )
    with begun(mesh.home, "ep", "workplace", "script", script(mesh.home, text)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (9, b"off\n", b"")


def test_a_script_that_takes_too_long_is_stopped(mesh) -> None:
    name = script(mesh.home, "import time\ntime.sleep(60)")
    ran = mesh.home.ztm("ep", "workplace", "script", name, "--limit", "0.5")
    assert (ran.status, "stopped after 0.5 seconds" in ran.err) == (124, True)


def test_a_script_on_standard_input_and_the_same_one_many_times_at_once(mesh) -> None:
    text = "import os, time\nprint(open(__file__).read() != '', len(os.listdir()))\ntime.sleep(0.2)"

    def one(_number: int) -> str:
        return mesh.home.ok("ep", "workplace", "script", "-", stdin=text).out

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(8))) == ["True 1\n"] * 8


def wheel(directory: Path, name: str) -> Path:
    """A package made by hand, whose `greet` returns its own name."""
    directory.mkdir()
    made = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(f"{name}.py", f"def greet():\n    return 'hello from {name}'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return made


@pytest.mark.skipif(found_here().uv is None, reason="uv is not installed")
def test_packages_that_a_script_names_are_there_by_uv(mesh, tmp_path: Path) -> None:
    made = wheel(tmp_path / "wheels", "ztmgreeting")
    text = (
        "# /// script\n# requires-python = '>=3.8'\n# dependencies = ['ztmgreeting']\n"
        f"# [tool.uv]\n# no-index = true\n# find-links = ['{made.parent}']\n# ///\n"
        "import sys, ztmgreeting\nprint(ztmgreeting.greet(), sys.argv[1])\nsys.exit(4)"
    )
    ran = mesh.home.ztm("ep", "workplace", "script", script(mesh.home, text), "--", "x")
    assert (ran.status, ran.out, ran.err) == (4, "hello from ztmgreeting x\n", "")


def test_one_script_on_many_endpoints_is_a_table_in_which_a_failure_is_a_row(mesh) -> None:
    mesh.workplace.ok("label", "--add", "web")
    until(lambda: "web" in mesh.home.ok("get", "ep", "-o", "json").out, what="the label is known")
    name = script(mesh.home, "print('first')\nprint('last')")
    ran = mesh.home.ok("script", name, "--on", "label=web", "-o", "json")
    assert [(one["endpoint"]["name"], one["status"], one["stdout"]) for one in ran.json] == [
        ("workplace", 0, "first\nlast\n")
    ]
    every = mesh.home.ztm("script", name, "--all")
    heading, home, workplace = every.out.splitlines()
    assert (every.status, heading.split()) == (1, ["ENDPOINT", "STATUS", "SECONDS", "OUTPUT"])
    assert home.split()[:2] == ["home", "failed"]
    assert "scripts are off there" in home
    assert workplace.split()[:2] == ["workplace", "0"]
    assert workplace.rstrip().endswith("last")


def test_a_script_ends_with_all_it_started_when_its_agent_is_killed(mesh) -> None:
    there = mesh.world.joined(mesh.hub, "killed")
    there.ok("script", "config", "--allow", "on")
    text = (
        "import os, signal, subprocess, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '120'])\nprint(os.getpid(), child.pid)\nchild.wait()\n"
        "while True: signal.pause()"
    )
    with begun(mesh.home, "ep", "killed", "script", script(mesh.home, text)) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        there.kill()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, b"")
    assert b"lost" in err
    for pid in pids:
        until(lambda pid=pid: is_gone(pid), what="the script and its child are gone")
    there.start()
    until(lambda: not list(there.data.glob("**/runs/*")), what="its directory is gone")


def test_a_script_ends_when_the_hub_is_lost_and_its_caller_is_told(world) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    work = world.joined(hub, "work")
    work.ok("script", "config", "--allow", "on")
    name = script(home, "import os, time\nprint(os.getpid())\ntime.sleep(120)")
    with begun(home, "ep", "work", "script", name) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        hub.kill()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.count(b"\n")) == (1, b"", 1)
    until(lambda: is_gone(pid), what="the script is gone")


def test_nothing_of_a_run_is_in_any_log_or_file_of_the_agents(mesh) -> None:
    text = "import sys\nprint(sys.argv, sys.stdin.read(), 'MARK-text')\nraise SystemExit('MARK-end')"
    name = script(mesh.home, text)
    ran = mesh.home.ztm("ep", "workplace", "script", name, "--args", "MARK-argument", stdin="MARK-input")
    assert (ran.status, "MARK-argument" in ran.out, "MARK-input" in ran.out) == (1, True, True)
    mesh.home.ztm("terminal", "open", "workplace", "--", "echo", "MARK-word")
    mesh.home.ztm("terminal", "open", "workplace", "echo MARK-line")
    assert [where for where, text in mesh.world.logs().items() if "MARK-" in text] == []
    for agent in (mesh.home, mesh.workplace):
        held = [path for path in agent.data.rglob("*") if path.is_file() and b"MARK-" in path.read_bytes()]
        assert held == []


def test_what_was_allowed_is_remembered_when_the_agent_starts_again(world) -> None:
    hub = world.hub()
    agent = world.joined(hub, "one")
    agent.ok("script", "config", "--allow", "on", "--max-runs", "1")
    agent.stop()
    agent.start()
    until(lambda: agent.mesh["connected"], what="the agent is connected again")
    assert agent.ok("script", "-", stdin="print(2 + 3)").out == "5\n"
    assert agent.ok("script", "config", "-o", "json").json["maxRuns"] == 1


def test_groups_are_roots_seen_at_once_and_known_to_others(mesh) -> None:
    mesh.home.ok("users", "group", "dev", "--add-users", "root", "alice")
    assert mesh.home.ok("users", "group", "dev").out == "alice\nroot\n"
    until(lambda: mesh.alice.ztm("users", "group", "dev").out == "alice\nroot\n", what="alice sees the group")
    assert "only root" in mesh.alice.fails("users", "group", "dev", "--remove-users", "root")
    assert "'nobody'" in mesh.home.fails("users", "group", "dev", "--add-users", "nobody", status=1)
    assert [line.split()[:2] for line in mesh.alice.ok("users", "list").out.splitlines() if "dev" in line] == [
        ["dev", "alice,"]
    ]
    mesh.workplace.ok("users", "group", "dev", "--rename-group", "devs")
    until(lambda: mesh.home.ztm("users", "group", "devs").status == 0, what="the new name is known")
    assert "renamed from dev" in mesh.home.ok("users", "group", "devs", "--history").out
    mesh.home.ok("users", "group", "devs", "--delete-group")
    assert "Group not found" in mesh.home.fails("users", "group", "devs")
