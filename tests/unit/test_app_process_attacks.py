"""Apps that mean harm, in real processes: what they are kept from, and that nobody but themselves is harmed."""

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from app_mesh import SmallMesh, ask
from process_mesh import package, process_mesh, until

from ztm.agent.apps.process.app import ProcessApp, process_app
from ztm.apps.base import App
from ztm.cli.checkup.apps import apps_check
from ztm.errors import ConflictError, UnreachableError
from ztm_app.confine import landlock, seccomp, wall

CODE = """
import asyncio, ctypes, os, resource, signal, socket, subprocess, sys, threading
from ztm_app import App

app = App()
kept = []

def tried(work):
    try:
        found = work()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return f"done: {found!r}"

def read(path):
    with open(path, "rb") as file:
        return file.read(20)

def write(path):
    with open(path, "wb") as file:
        file.write(b"overwritten")

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def descriptors():
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))

def dial(family, where, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as made:
        made.settimeout(5)
        made.connect(where)
        return made.recv(5)

def syscall(number, *arguments):
    result = ctypes.CDLL(None, use_errno=True).syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

ATTACKS = {
    "read": read, "write": write,
    "list": os.listdir, "chmod": lambda path: os.chmod(path, 0o666), "unlink": os.unlink,
    "truncate": lambda path: os.truncate(path, 0), "rename": lambda path: os.rename(path, "moved"),
    "symlink": lambda path: (os.path.lexists("link") or os.symlink(path, "link"), read("link"))[1],
    "utime": lambda path: os.utime(path, (0, 0)),
    "touch": lambda _: os.utime(os.open("mine", os.O_CREAT | os.O_RDWR), (0, 0)), "watch": lambda _: syscall(294, 0),
    "hardlink": lambda path: os.link(path, "hard"),
    "kill": lambda pid: os.kill(int(pid), 0), "killall": lambda _: os.kill(-1, 0),
    "prlimit": lambda pid: resource.prlimit(int(pid), resource.RLIMIT_NOFILE, (64, 64)),
    "nice": lambda pid: os.setpriority(os.PRIO_PROCESS, int(pid), 19),
    "ptrace": lambda pid: syscall(101, 16, int(pid), 0, 0), "peek": lambda pid: syscall(310, int(pid), 0, 0, 0, 0, 0),
    "fork": lambda _: fork(), "exec": lambda path: subprocess.run([path], capture_output=True, check=True).stdout,
    "execve": lambda path: os.execv(path, [path]),
    "memory": lambda _: len(bytearray(1 << 30)), "descriptors": lambda _: descriptors(),
    "raise": lambda _: resource.setrlimit(resource.RLIMIT_NOFILE, (10**6, 10**6)),
    "tcp": lambda port: dial(socket.AF_INET, ("127.0.0.1", int(port))),
    "udp": lambda port: dial(socket.AF_INET, ("127.0.0.1", int(port)), socket.SOCK_DGRAM),
    "unix": lambda path: dial(socket.AF_UNIX, path),
    "datagrams": lambda _: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    "bind": lambda _: socket.create_server(("127.0.0.1", 0)),
    "unshare": lambda _: syscall(272, 0x10000000), "io_uring": lambda _: syscall(425, 1, 0),
    "setuid": lambda _: os.setuid(1), "thread": lambda _: threading.Thread(target=kept.clear).start(),
    "own": lambda _: (write("mine"), read("mine"), os.listdir("."))[1],
    "package": lambda _: open(__file__, "a"),
}

@app.user.post("/try/{attack}")
async def attack(req, attack):
    what = await req.text()
    return tried(lambda: ATTACKS[attack](what))

@app.user.get("/alive")
async def alive(req):
    return "alive"

@app.user.get("/giant")
async def giant(req):
    sys.stdout.write("x" * 3_000_000 + "\\n")

@app.user.get("/flood")
async def flood(req):
    for number in range(200_000):
        print("line", number)

@app.user.get("/control")
async def control(req):
    print("\\x1b[31m<2>\\x00 \\udcff".encode("utf-8", "surrogateescape").decode("latin-1"))

@app.user.get("/ask/{number}")
async def many(req, number):
    async def one():
        try:
            await app.mesh.users()
        except Exception as error:
            return type(error).__name__
    return sorted(set(await asyncio.gather(*(one() for _ in range(int(number))))))

@app.user.get("/raw/{path}")
async def raw(req, path):
    host = app._host()
    return [(await host._ask("GET", "/" + path)).status]
"""
DENIED = "PermissionError"


class Cage:
    """One hostile app, and what it is after."""

    def __init__(self, mesh: SmallMesh[ProcessApp], app: ProcessApp, secret: Path) -> None:
        self.mesh, self.app, self.secret = mesh, app, secret

    async def attempt(self, attack: str, what: object = "") -> str:
        status, _, body = await ask(self.app.user_api, "POST", f"/try/{attack}", str(what).encode())
        assert status == 200, body
        return body.decode()


@asynccontextmanager
async def caged(
    directory: Path, *permissions: str, confined: bool = True, code: str = CODE, **manifest: Any
) -> AsyncIterator[Cage]:
    installed = package(
        directory / "package", code, permissions=permissions, **{"memory_mb": 128, "files": 64, **manifest}
    )
    mesh = process_mesh(directory, installed)
    secret = directory / "data" / "ztm.db"
    secret.write_text("the agent's keys")
    made: Callable[..., App] = process_app(installed, is_confined=confined)
    try:
        yield Cage(mesh, await mesh.join("a", factory=made), secret)  # type: ignore[arg-type]
    finally:
        await mesh.close()


@pytest.fixture
async def cage(tmp_path: Path) -> AsyncIterator[Cage]:
    async with caged(tmp_path) as made:
        yield made


async def test_it_reads_and_changes_no_file_but_its_own(cage: Cage, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("somebody's")
    for attack in ("read", "write", "chmod", "unlink", "truncate", "rename", "symlink", "hardlink", "utime"):
        for path in (cage.secret, other):
            told = await cage.attempt(attack, path)
            assert DENIED in told or "Invalid cross-device link" in told, attack
    assert DENIED in await cage.attempt("list", cage.secret.parent)
    assert DENIED in await cage.attempt("list", Path.home())
    for path in ("/etc/passwd", "/etc/shadow", f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/mem"):
        assert DENIED in await cage.attempt("read", path), path
    assert cage.secret.read_text() == "the agent's keys"
    assert cage.secret.stat().st_mode & 0o777 == 0o644 & ~_umask()
    assert DENIED in await cage.attempt("package")
    assert await cage.attempt("touch") == "done: None"
    assert await cage.attempt("own") == "done: b'overwritten'"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


async def test_it_signals_limits_slows_and_inspects_no_other_process(cage: Cage) -> None:
    for attack in ("kill", "prlimit", "nice", "ptrace", "peek"):
        assert DENIED in await cage.attempt(attack, os.getpid()), attack
    assert DENIED in await cage.attempt("killall")
    assert (await cage.attempt("kill", cage.app.pid)).startswith("done")


async def test_it_starts_nothing_without_exec(cage: Cage) -> None:
    for attack, what in (("fork", ""), ("exec", "/bin/true"), ("execve", "/bin/true"), ("exec", sys.executable)):
        assert DENIED in await cage.attempt(attack, what), attack
    assert (await cage.attempt("thread")).startswith("done")


async def test_it_has_no_network_without_net(cage: Cage, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        port = server.getsockname()[1]
        local.bind(str(tmp_path / "sock"))
        local.listen()
        for attack, what in (
            ("tcp", port),
            ("udp", port),
            ("unix", tmp_path / "sock"),
            ("bind", ""),
            ("datagrams", ""),
        ):
            assert DENIED in await cage.attempt(attack, what), attack


async def test_it_gains_no_rights(cage: Cage) -> None:
    for attack in ("unshare", "io_uring", "setuid", "watch"):
        assert DENIED in await cage.attempt(attack), attack
    assert "ValueError" in await cage.attempt("raise")


async def test_memory_and_open_files_end_at_their_limits_and_it_lives_on(cage: Cage) -> None:
    assert "MemoryError" in await cage.attempt("memory")
    assert "Too many open files" in await cage.attempt("descriptors")
    assert (await ask(cage.app.user_api, "GET", "/alive"))[2] == b"alive"
    assert cage.app.condition.restarts == 0


async def test_with_net_it_dials_and_neither_listens_nor_talks_to_local_services(tmp_path: Path) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    async with caged(tmp_path, "net") as cage:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await cage.attempt("tcp", port) == "done: b'hello'"
        server.close()
        with socket.socket(socket.AF_UNIX) as local:
            local.bind(str(tmp_path / "sock"))
            local.listen()
            assert DENIED in await cage.attempt("unix", tmp_path / "sock")
        if landlock.version() >= landlock.NETWORK_SINCE:
            assert DENIED in await cage.attempt("bind")
        assert DENIED in await cage.attempt("read", cage.secret)


async def test_with_exec_it_starts_programs_that_are_held_as_it_is(tmp_path: Path) -> None:
    code = CODE + (
        "\n@app.user.get('/leave')\nasync def leave(req):\n"
        "    kept.append(subprocess.Popen(['/bin/sleep', '60']))\n    return kept[-1].pid\n"
        "@app.user.get('/through')\nasync def through(req):\n"
        "    return subprocess.run(['/bin/cat', req.query['path']], capture_output=True).returncode\n"
    )
    async with caged(tmp_path, "exec", code=code) as cage:
        assert await cage.attempt("exec", "/bin/true") == "done: b''"
        assert json.loads((await ask(cage.app.user_api, "GET", f"/through?path={cage.secret}"))[2]) != 0
        assert DENIED in await cage.attempt("tcp", 9)
        if landlock.version() >= landlock.SIGNALS_SINCE:
            assert DENIED in await cage.attempt("kill", os.getpid())
        left = int((await ask(cage.app.user_api, "GET", "/leave"))[2])
        await cage.app.stop()
        await until(lambda: not _runs(left))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_giant_and_countless_lines_are_cut_and_dropped(cage: Cage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "test.app"):
        await ask(cage.app.user_api, "GET", "/giant")
        await until(lambda: "... (cut)" in caplog.text)
        assert max(len(record.getMessage()) for record in caplog.records) < 5000
        await ask(cage.app.user_api, "GET", "/control")
        flooding = asyncio.ensure_future(ask(cage.app.user_api, "GET", "/flood"))
        await flooding
        await cage.app.stop()
    assert "lines of output were dropped" in caplog.text
    assert len(caplog.records) < 2000


async def test_what_is_refused_is_logged_and_audited_and_costs_the_app_time(
    cage: Cage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "test.app"):
        status, _, body = await ask(cage.app.user_api, "GET", "/ask/55")
    assert (status, body) == (200, b'["ForbiddenError"]')
    assert "may not see the users of the mesh: its manifest does not ask for 'mesh.connect'" in caplog.text
    trails = cage.mesh.context("a").trail.trails
    assert len(trails) == 55
    assert (trails[0].action, trails[0].is_allowed, trails[0].rule) == ("refused", False, "no permission mesh.connect")
    assert cage.app.figures()["refused_total"] == 55


async def test_there_is_nothing_else_to_ask_the_agent(cage: Cage) -> None:
    for path in ("mesh", "user", "ready", "accepted", "api", "listen"):
        status = (await ask(cage.app.user_api, "GET", f"/raw/{path}"))[2]
        assert json.loads(status)[0] in (404, 405), path


async def test_without_walls_an_app_is_not_started_unless_somebody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    assert "no Landlock" in wall.lack()
    (warning,) = apps_check().run()
    assert (warning.level, "no Landlock" in warning.why) == ("warn", True)
    monkeypatch.undo()
    monkeypatch.setattr(seccomp, "is_known", lambda: False)
    assert "no filter of system calls" in wall.lack()
    monkeypatch.undo()
    assert wall.lack() == ""
    assert apps_check().run() == []
    with pytest.raises(ConflictError, match="--unconfined-apps"):
        wall.check_kept(tmp_path)
    async with caged(tmp_path, confined=False) as cage:
        assert await cage.attempt("read", cage.secret) == 'done: b"the agent\'s keys"'
        assert cage.app.condition.confinement.startswith("unconfined")


async def test_a_package_around_its_own_data_is_not_started(tmp_path: Path) -> None:
    installed = package(tmp_path, CODE)
    mesh = process_mesh(tmp_path, installed)
    try:
        with pytest.raises(UnreachableError, match="lie within each other"):
            await mesh.join("a")
    finally:
        await mesh.close()
