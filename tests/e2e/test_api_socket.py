"""The agent's Unix socket and v1's open port: who needs no token there, and who is kept out."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from raw_http import request
from world import START, Agent, Process, World, free_port, one_line, run_ztm, until

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become another user")


# ---------------------------------------------------------------------- another user


@needs_root
def test_another_user_of_the_machine_reads_no_token_and_is_refused_at_the_socket() -> None:
    with tempfile.TemporaryDirectory(prefix="ztm-") as place:
        world = World(Path(place))
        try:
            path = Path(place) / "run" / "a.sock"
            agent = with_socket(world, path)
            assert ask_socket(path) == "HTTP/1.1 200 OK"
            assert ask_socket(path, NOBODY) == "PermissionError"
            assert run_as("/bin/cat", str(agent.data / "api.token"), user=NOBODY).returncode != 0
            for loosened, mode in ((Path(place), 0o755), (path.parent, 0o755), (path, 0o666)):
                loosened.chmod(mode)
            assert ask_socket(path, NOBODY) in ("", "ConnectionResetError", "BrokenPipeError")
            assert f"user {NOBODY} of this machine was refused" in agent.log
            assert ask_socket(path) == "HTTP/1.1 200 OK"
        finally:
            world.close()


ASK = """
import socket, sys
try:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(sys.argv[1])
        opened.sendall(b"GET /api/meshes HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n")
        print(opened.recv(15).decode())
except OSError as error:
    print(type(error).__name__)
"""


def ask_socket(path: Path, user: int | None = None) -> str:
    """What a program of `user` gets at the socket: the first line of an answer, the error, or nothing."""
    shared = [each for each in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(each).exists()]
    ran = run_as(shared[0] if shared else sys.executable, "-c", ASK, str(path), user=user)
    assert ran.returncode == 0, ran
    return ran.stdout.strip()


def run_as(*words: str, user: int | None) -> "subprocess.CompletedProcess[str]":
    """Run a program as another OS user, without any of our groups."""
    extra = None if user is None else []
    return subprocess.run(
        words, user=user, group=user, extra_groups=extra, capture_output=True, text=True, check=False, cwd="/"
    )


# ---------------------------------------------------------------------- the socket


def with_socket(world: World, path: Path) -> Agent:
    agent = Agent(world.path / "socketed", free_port(), name="socketed")
    at = agent.words.index("--listen")
    agent.words.insert(at + 2, f"unix:{path}")
    world.processes.append(agent)
    return agent.start()


def test_the_own_user_needs_no_token_on_the_socket(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ztm-") as place:  # a test's own path is too long for a socket
        world, path = World(tmp_path), Path(place) / "run" / "a.sock"
        try:
            agent = with_socket(world, path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            elsewhere = {"ZTM_AGENT": f"unix:{path}"}
            ran = run_ztm(tmp_path / "another-home", "get", "mesh", "-o", "json", env=elsewhere)
            assert (ran.status, ran.json) == (0, [])
            assert one_line(run_ztm(tmp_path / "x", "get", "mesh", env={"ZTM_AGENT": f"unix:{path}x"}), 3)
            agent.kill()
            assert path.exists()  # a kill leaves it behind, and the next run takes its place
            agent.start()
            assert run_ztm(tmp_path / "x", "get", "mesh", "-o", "json", env=elsewhere).json == []
            second = Agent(tmp_path / "second", free_port(), name="second", options=())
            second.words.insert(second.words.index("--listen") + 2, f"unix:{path}")
            world.processes.append(second)
            Process.start(second)
            until(second.exited, within=START, what="an agent that cannot have its socket ends")
            assert "another process listens there" in second.log
            assert run_ztm(tmp_path / "x", "get", "mesh", "-o", "json", env=elsewhere).json == []
            agent.stop()
            assert not path.exists()
        finally:
            world.close()


# ---------------------------------------------------------------------- v1's open port


def test_an_open_api_is_loud_keeps_pages_out_and_is_on_loopback_only(world: World) -> None:
    agent = world.agent("home", options=("--insecure-open-api",))
    assert request(agent, token="").status == 200
    assert request(agent, token="", origin="http://evil.example.com").status == 403
    assert request(agent, token="", host="evil.example.com").status == 403
    assert "INSECURE" in agent.log
    assert "no token" in request(agent, "/api/version", token="").json["warnings"][0]
    for address in ("0.0.0.0", "::"):
        open_to_all = Agent(world.path / "all", free_port(), name="all", options=("--insecure-open-api",))
        at = open_to_all.words.index("--listen")
        open_to_all.words[at + 1] = f"{f'[{address}]' if ':' in address else address}:{open_to_all.port}"
        world.processes.append(open_to_all)
        Process.start(open_to_all)
        until(open_to_all.exited, within=START, what="it refuses to start")
        assert "loopback" in open_to_all.log
        assert open_to_all.wait() != 0


def test_an_agent_that_asks_for_the_token_has_nothing_to_warn_of(mesh) -> None:
    assert "warnings" not in request(mesh.home, "/api/version").json
