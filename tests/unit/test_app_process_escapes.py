"""Ways around the walls of an app's process: ports, memory, signals and children by calls seldom thought of."""

import os
import signal
import sys
from pathlib import Path

import pytest
from app_mesh import ask
from process_mesh import package, process_mesh, until

from ztm.agent.apps.process.app import ProcessApp

CODE = """
import ctypes, fcntl, os, signal, socket, struct, subprocess, time
from ztm_app import App

app = App()
kept = []

def tried(work):
    try:
        found = work()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return f"done: {found!r}"

def listen():
    kept.append(socket.socket())
    kept[-1].listen()  # at a port of the system's choice: nothing was bound
    return kept[-1].getsockname()

def own(call):
    ours, theirs = socket.socketpair()
    kept.extend((ours, theirs))
    call(ours, os.getppid())
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
    theirs.send(b"x")

def secret(number):
    found = ctypes.CDLL(None, use_errno=True).syscall(number, 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found

def own_prctl(*what):
    if ctypes.CDLL(None, use_errno=True).prctl(*what) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

ATTACKS = {
    "listen": listen,
    "memfd": lambda: os.write(os.memfd_create("x"), bytes(1 << 20)),
    "secret": lambda: secret(447),
    "setown": lambda: own(lambda one, pid: fcntl.fcntl(one, fcntl.F_SETOWN, pid)),
    "setownex": lambda: own(lambda one, pid: fcntl.fcntl(one, 15, struct.pack("ii", 1, pid))),
    "setsig": lambda: own(lambda one, pid: fcntl.fcntl(one, fcntl.F_SETSIG, signal.SIGUSR1)),
    "fiosetown": lambda: own(lambda one, pid: fcntl.ioctl(one, 0x8901, struct.pack("i", pid))),
    "spgrp": lambda: own(lambda one, pid: fcntl.ioctl(one, 0x8902, struct.pack("i", pid))),
    "outlive": lambda: own_prctl(1, 0),
    "sibling": lambda: ctypes.CDLL(None).syscall(56, 0x8000 | 17, 0, 0, 0, 0) or os._exit(0),
    "nonblock": lambda: (fcntl.fcntl(0, fcntl.F_GETFL), os.set_blocking(0, True), os.get_terminal_size)[1],
    "agent": lambda: [os.listdir(f"/proc/{os.getppid()}")],
    "links": lambda: os.readlink(f"/proc/{os.getppid()}/fd/0"),
    "cwd": lambda: os.readlink(f"/proc/{os.getppid()}/cwd"),
    "shm": lambda: open("/dev/shm/x", "w"),
    "tmp": lambda: open("/tmp/ztm-escape", "w"),
    "run": lambda: os.listdir("/run"),
    "through": lambda: open("/proc/self/cwd/../ztm.db"),
    "above": lambda: open("/proc/self/root/" + os.path.abspath("../ztm.db")),
    "root": lambda: open("/proc/self/root/etc/hostname"),
}

@app.user.post("/try/{attack}")
async def attack(req, attack):
    return tried(ATTACKS[attack])

@app.user.get("/leave")
async def leave(req):
    kept.append(subprocess.Popen(["/bin/sleep", "60"]))
    return kept[-1].pid

@app.user.get("/pid")
async def pid(req):
    return os.getpid()
"""
DENIED = "PermissionError"


async def attempt(app: ProcessApp, attack: str) -> str:
    return (await ask(app.user_api, "POST", f"/try/{attack}"))[2].decode()


@pytest.mark.parametrize("granted", [(), ("net", "exec")])
async def test_it_opens_no_port_hides_no_memory_and_signals_nobody_by_way_of_a_file(
    tmp_path: Path, granted: tuple[str, ...]
) -> None:
    mesh = process_mesh(tmp_path, package(tmp_path / "package", CODE, permissions=granted, memory_mb=128))
    try:
        app = await mesh.join("a")
        for attack in ("listen", "memfd", "secret", "setown", "setownex", "setsig", "fiosetown", "spgrp", "outlive"):
            assert DENIED in await attempt(app, attack), attack
        if sys.platform == "linux" and os.uname().machine == "x86_64":
            assert await attempt(app, "sibling") == "done: -1"
        assert (await attempt(app, "nonblock")).startswith("done")
    finally:
        await mesh.close()


async def test_no_name_of_a_file_leads_out(tmp_path: Path) -> None:
    (tmp_path / "sibling").mkdir()
    mesh = process_mesh(tmp_path, package(tmp_path / "package", CODE, permissions=("exec", "net"), memory_mb=128))
    (tmp_path / "data" / "ztm.db").write_text("the agent's keys")
    try:
        app = await mesh.join("a")
        for attack in ("agent", "links", "cwd", "shm", "tmp", "run", "through", "above", "root"):
            assert DENIED in await attempt(app, attack), attack
    finally:
        await mesh.close()


async def test_what_an_app_has_started_ends_with_it_even_where_the_agent_cannot_see_to_it(tmp_path: Path) -> None:
    mesh = process_mesh(tmp_path, package(tmp_path / "package", CODE, permissions=("exec",), memory_mb=128))
    try:
        app = await mesh.join("a")
        left = int((await ask(app.user_api, "GET", "/leave"))[2])
        kills: list[int] = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "killpg", lambda group, _signal: kills.append(group))  # as if the agent were gone
            first = app.pid or 0
            children = _children(first)
            os.kill(first, signal.SIGKILL)
            await until(lambda: not _runs(left))
        await app.stop()
        await until(lambda: not any(map(_runs, children)))
    finally:
        await mesh.close()


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
