"""The process of an app by others below a real agent: it begins and ends with it, and harms it in no way."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from world import Agent, World, until

MANIFEST = """
name = "probe"
version = "1.0.0"
api = 1
entry = "probe:app"
permissions = ["mesh.connect", "files.local"]
memory_mb = 128
"""
CODE = """
import os, sys
from ztm_app import App

app = App()

@app.user.get("/pid")
async def pid(req):
    return os.getpid()

@app.user.get("/read")
async def read(req):
    try:
        with open(req.query["path"], "rb") as file:
            return {"read": len(file.read())}
    except OSError as error:
        return {"error": type(error).__name__}

@app.user.get("/kill/{number}")
async def kill(req, number):
    try:
        os.kill(os.getppid(), int(number))
    except OSError as error:
        return {"error": type(error).__name__}

@app.user.get("/exit")
async def leave(req):
    os._exit(7)

@app.user.get("/flood")
async def flood(req):
    for _ in range(300):
        sys.stdout.write("x" * 100_000 + "\\n")

@app.peer.get("/whoami")
async def whoami(req):
    return {"you": req.peer.user, "endpoint": req.peer.endpoint}

@app.user.get("/ask/{ep}")
async def ask(req, ep):
    return (await app.mesh.request(ep, "GET", "/whoami")).json()
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "probe"
    folder.mkdir()
    (folder / "ztm-app.toml").write_text(MANIFEST)
    (folder / "probe.py").write_text(CODE)
    return folder


@pytest.fixture
def agent(world: World, package: Path) -> Agent:
    agent = world.joined(world.hub(), "a")
    agent.ok("app", "install", package, "--yes")
    return agent


def asked(agent: Agent, path: str) -> object:
    return agent.api(f"/api/meshes/{agent.mesh['name']}/apps/root/probe{path}")


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_first_use_starts_it_and_it_never_reads_what_the_agent_keeps(agent: Agent) -> None:
    began = time.monotonic()
    pid = asked(agent, "/pid")
    assert time.monotonic() - began < 5.0
    assert isinstance(pid, int)
    assert pid != agent.pid
    kept = [path for path in agent.data.rglob("*") if path.is_file() and "appdata" not in path.parts]
    assert any(path.name == "ztm.db" for path in kept)
    for path in kept:
        if "apps" not in path.parts:
            assert asked(agent, f"/read?path={path}") == {"error": "PermissionError"}, path


def test_it_ends_with_an_agent_that_is_stopped_or_killed_and_signals_it_never(agent: Agent) -> None:
    pid = asked(agent, "/pid")
    assert asked(agent, f"/kill/{int(signal.SIGKILL)}") == {"error": "PermissionError"}
    os.kill(pid, signal.SIGSTOP)  # type: ignore[arg-type]  # it could not see the end of its connection now
    agent.kill()
    until(lambda: not runs(pid), what="the app is gone")  # type: ignore[arg-type]
    agent.start()
    until(lambda: agent.mesh["connected"], what="it is connected again")
    again = until(lambda: asked(agent, "/pid"), what="it runs again")
    assert again != pid
    agent.stop()
    assert not runs(again)  # type: ignore[arg-type]


def test_a_crash_is_seen_and_mended_and_nobody_else_notices(agent: Agent) -> None:
    pid = asked(agent, "/pid")
    os.kill(pid, signal.SIGKILL)  # type: ignore[arg-type]
    until(lambda: "restarting" in agent.ok("describe", "app", "root/probe").out, what="it says that it restarts")
    assert "SIGKILL" in agent.ok("describe", "app", "root/probe").out
    until(lambda: asked_or_none(agent, "/pid") not in (None, pid), what="another process runs")
    assert "crashed" in agent.ok("log", "app", "root/probe").out
    assert agent.ok("describe", "app", "root/probe").out.count("confined: its own files") == 1


def asked_or_none(agent: Agent, path: str) -> object:
    try:
        return asked(agent, path)
    except OSError:
        return None


def test_what_it_prints_without_end_fills_neither_memory_nor_log(agent: Agent) -> None:
    asked(agent, "/pid")
    before = agent.rss
    asked(agent, "/flood")
    assert agent.rss - before < 40 << 20
    assert len(agent.ok("log", "app", "root/probe").out) < 1 << 20


def test_a_peer_is_told_by_its_certificate(world: World, package: Path) -> None:
    hub = world.hub()
    agents = [world.joined(hub, name) for name in ("a", "b")]
    for one in agents:
        one.ok("app", "install", package, "--yes")
    first, second = agents
    told = until(lambda: asked_or_none(first, f"/ask/{second.id}"), what="the peer answers")
    assert told == {"you": "root", "endpoint": first.id}


def test_it_is_confined_unless_the_agent_was_told_otherwise_and_that_is_shown(world: World, package: Path) -> None:
    agent = world.joined(world.hub(), "a", options=("--unconfined-apps",))
    agent.ok("app", "install", package, "--yes")
    assert "read" in asked(agent, f"/read?path={agent.data / 'ztm.db'}")  # type: ignore[operator]
    assert "unconfined: whatever the agent's own user may do" in agent.ok("describe", "app", "root/probe").out
    assert "--unconfined-apps" in json.dumps(agent.api("/api/version"))
