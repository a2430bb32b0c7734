"""`ztm terminal open EP [-- COMMAND]` in scripts and as a transport, between real processes."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from world import ZTM, Agent, environment, until

GIT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def variables(agent: Agent, **more: str) -> dict[str, str]:
    """The environment of somebody at an agent's machine."""
    return environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}", **more})


def begin(agent: Agent, *words: str) -> "subprocess.Popen[bytes]":
    """Run `ztm terminal open` with pipes."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [ZTM, "terminal", "open", *words], env=variables(agent), stdin=pipe, stdout=pipe, stderr=pipe
    )


@pytest.mark.parametrize("place", ["workplace", "home"])
def test_a_command_has_outputs_apart_an_input_that_ends_and_its_exit_status(mesh, place: str) -> None:
    script = "cat; echo err >&2; exit 3"
    ran = mesh.home.ztm("terminal", "open", place, "--", "sh", "-c", script, stdin="in\n")
    assert (ran.status, ran.out, ran.err) == (3, "in\n", "err\n")


def test_a_script_piped_into_a_shell_runs_to_its_end(mesh) -> None:
    ran = mesh.home.ztm("terminal", "open", "workplace", stdin="echo one\nsleep 0.2\necho two\nexit 4\n")
    assert (ran.status, ran.out) == (4, "one\ntwo\n")


@pytest.mark.parametrize("size", [10 << 20, pytest.param(100 << 20, marks=pytest.mark.long)], ids=["10 MiB", "100 MiB"])
def test_bulk_passes_both_ways_untouched(mesh, tmp_path: Path, size: int) -> None:
    data = os.urandom(1 << 20) * (size >> 20)
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as sink:
        words = [ZTM, "terminal", "open", "workplace", "--", "cat"]
        subprocess.run(words, env=variables(mesh.home), stdin=source, stdout=sink, timeout=60, check=True)
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_a_program_that_nobody_reads_waits(mesh, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"i=0; while [ $i -lt 3000 ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i > {seen}; done"
    with begin(mesh.home, "workplace", "--", "sh", "-c", script) as process:
        until(seen.exists, what="it has begun")
        last = ""
        while last != (now := seen.read_text()):
            last = now
            time.sleep(0.5)
        assert int(last or 0) < 1000
        process.kill()
        process.communicate()


def test_an_interrupt_reaches_the_program_and_a_second_one_leaves_it(mesh) -> None:
    script = "trap 'echo trapped' INT; echo begun; while :; do sleep 0.02; done"
    with begin(mesh.home, "workplace", "--", "sh", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"trapped\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        process.stdout.read()


def test_a_command_that_is_killed_leaves_no_program_there(mesh) -> None:
    with begin(mesh.home, "workplace", "--", "sh", "-c", "echo $$; exec sleep 1000") as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        process.kill()
        until(lambda: not Path(f"/proc/{pid}").exists(), what="the program ends")


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_rsync_goes_through_it(mesh, tmp_path: Path) -> None:
    source, sink = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    (source / "one two").write_bytes(os.urandom(300_000))
    shell = f"{ZTM} terminal open --"
    words = ["rsync", "-a", "-e", shell, f"{source}/", f"workplace:{sink}/"]
    subprocess.run(words, env=variables(mesh.home), timeout=60, check=True)
    assert (sink / "one two").read_bytes() == (source / "one two").read_bytes()


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git_goes_through_it_as_through_ssh(mesh, tmp_path: Path) -> None:
    repository, clone = tmp_path / "it's one", tmp_path / "clone"
    env = variables(mesh.home, GIT_SSH_COMMAND=f"{ZTM} terminal open --", GIT_SSH_VARIANT="simple", **GIT)

    def git(*words: object) -> None:
        subprocess.run(["git", *map(str, words)], env=env, timeout=60, check=True, capture_output=True)

    git("init", "-b", "main", repository)
    (repository / "file").write_text("content\n")
    git("-C", repository, "add", "file")
    git("-C", repository, "commit", "-m", "first")
    git("clone", f"workplace:{repository}", clone)
    assert (clone / "file").read_text() == "content\n"


def test_an_owner_configures_an_endpoint_from_another_one(mesh) -> None:
    assert "not found" in mesh.home.fails("terminal", "open", "nowhere")
    refused = mesh.alice.fails("terminal", "open", "home", "--", "true")
    assert "home" in refused
    mesh.workplace.ok("ep", "home", "terminal", "config", "--idle-timeout", 900)
    added = mesh.workplace.ok("ep", "home", "terminal", "config", "--add-user", "alice")
    assert added.out.startswith("Note: sessions of other users run as ")
    mesh.workplace.ok("ep", "home", "terminal", "config", "--add-user", "alice")
    shown = mesh.home.ok("terminal", "config").out
    assert shown.count("alice") == 1
    assert "Idle Timeout: 900 s" in shown
    assert mesh.alice.ztm("terminal", "open", "home", "--", "echo", "let in").out == "let in\n"
    assert "only user root" in mesh.alice.fails("ep", "home", "terminal", "config", "--record", "on")
    assert mesh.home.ztm("terminal", "config", "-o", "json").json["users"] == ["alice"]
    mesh.home.ok("terminal", "config", "--del-user", "alice")
    assert "is not among the allowed users" in mesh.home.fails("terminal", "config", "--del-user", "alice")
    assert "alice may not use the terminals of endpoint home" in mesh.alice.fails(
        "terminal", "open", "home", "--", "true"
    )


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("program", ["cat", "sleep 120"], ids=["reads", "reads nothing"])
@pytest.mark.parametrize("words", [("--tty",), ()], ids=["terminal", "pipes"])
def test_an_agent_that_ends_takes_its_programs_along_and_their_callers_are_told(
    mesh, how: str, program: str, words: tuple[str, ...]
) -> None:
    there = mesh.world.joined(mesh.hub, f"{how}-{program[:2]}-{len(words)}", options=["--drain", "0.5"])
    with begin(mesh.home, there.name, *words, "--", "sh", "-c", f"echo $$; exec {program}") as process:
        assert process.stdout
        assert process.stderr
        pid = int(process.stdout.readline())
        (there.stop if how == "stop" else there.kill)()
        assert process.wait(20) == 1
        assert process.stderr.read().startswith(f"ztm: endpoint {there.name} ended the session, or was lost".encode())
        until(lambda: not Path(f"/proc/{pid}").exists(), what="the program ends")
