"""Terminals between this implementation and v1, whose streams are bare bytes without an exit status."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from app_mesh import MeshContext, read_all
from terminal_mesh import TerminalMesh

from ztm.apps.terminal.api import TerminalApp
from ztm.net.asgi import UPGRADE, Receive, Scope, Send
from ztm.net.base import Stream
from ztm.net.http1 import connect_answer, connect_head


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[TerminalMesh]:
    """Two endpoints of alice."""
    made = TerminalMesh(tmp_path)
    await made.desk("ours")
    await made.desk("other")
    yield made
    await made.close()


# ---------------------------------------------------------------------- a v1 caller


async def caller(mesh: TerminalMesh) -> Stream:
    """A v1 caller's stream to our terminals."""
    exchange = await mesh.connect(mesh.context("other"), mesh.context("ours").place.id)
    await exchange.response()
    await exchange.write(connect_head("/api/shell"))
    status, headers = await connect_answer(exchange)
    assert (status, dict(headers).get("ztm-ext")) == (200, None)
    return exchange


async def test_a_v1_caller_gets_the_terminals_bytes_and_a_size_that_programs_can_use(mesh: TerminalMesh) -> None:
    stream = await caller(mesh)
    await stream.write(b"stty size; echo $TERM; exit 7\n")
    said = await read_all(stream)
    assert b"24 80\r\nxterm\r\n" in said


async def test_a_v1_callers_half_close_loses_no_output(mesh: TerminalMesh) -> None:
    stream = await caller(mesh)
    await stream.write(b"sleep 0.1; echo la''ter\n")
    stream.end()
    assert b"later" in await read_all(stream)


async def test_a_v1_caller_that_is_gone_leaves_no_shell(mesh: TerminalMesh) -> None:
    stream = await caller(mesh)
    await stream.write(b"echo pid=$$=\n")
    said = b""
    while b"=\r\n" not in said.partition(b"pid=")[2].partition(b"pid=")[2]:
        said += await stream.read()
    pid = int(said.split(b"pid=")[2].split(b"=")[0])
    stream.abort("gone")
    async with asyncio.timeout(3):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC240 - it is in memory
            await asyncio.sleep(0.01)


async def test_a_v1_caller_that_ended_its_input_and_is_silent_is_taken_for_gone(
    mesh: TerminalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ztm.apps.terminal.session.AFTER_INPUT", 0.2)
    stream = await caller(mesh)
    await stream.write(b"cat > /dev/null; sleep 1000\n")
    stream.end()
    async with asyncio.timeout(5):
        await read_all(stream)
    assert "nothing was typed or shown" in (await mesh.trail("ours")).reason


async def test_a_v1_caller_is_held_back_while_nothing_reads_what_it_sends(mesh: TerminalMesh) -> None:
    stream = await caller(mesh)
    await stream.write(b"stty raw; echo be''gun; sleep 1000\n")
    said = b""
    while b"begun" not in said:
        said += await stream.read()
    assert await sent_before_it_stalls(stream) < 8 << 20
    stream.abort("enough")


async def sent_before_it_stalls(stream: Stream) -> int:
    """Bytes that a stream takes whose other side reads nothing."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.5):
                await stream.write(b"x" * 65536)
                sent += 65536
    return sent


# ---------------------------------------------------------------------- a v1 endpoint


class V1Terminal(TerminalApp):
    """The terminal app as v1 answers: 200 always, bytes, and a shell that ends when input does."""

    said = b"$ "
    is_refusing = False

    def __init__(self, context: MeshContext) -> None:
        super().__init__(context)
        self.came = b""
        self.is_input_over = False
        self.peer_api = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"] == "/api/shell"
        stream = scope["extensions"][UPGRADE].accept()
        await stream.write(b"Forbidden\n" if self.is_refusing else b"$ ")
        while not self.is_refusing and b"exit\n" not in self.came and not self.came.endswith(b"\x04"):
            data = await stream.read()
            self.came += data
            if not data:
                self.is_input_over = True  # v1 now kills its shell
                return
            await stream.write(data.replace(b"\n", b"\r\n"))


async def v1_endpoint(mesh: TerminalMesh) -> V1Terminal:
    app = await mesh.join("old", "alice", V1Terminal)
    assert isinstance(app, V1Terminal)
    return app


async def test_a_v1_endpoints_shell_works_with_bare_bytes(mesh: TerminalMesh) -> None:
    app = await v1_endpoint(mesh)
    seat = mesh.sit("ours", "open", "old")
    await seat.person.sees("$ ")
    seat.person.type(b"a\x03b")
    await seat.person.sees("a\x03b")
    seat.person.resize(100, 30)
    seat.person.type("exit\n")
    assert await seat.ended() == 0
    assert app.came == b"a\x03bexit\n"
    assert seat.person.modes == [True, False]


async def test_a_v1_endpoints_shell_is_not_killed_by_the_end_of_the_input(mesh: TerminalMesh) -> None:
    app = await v1_endpoint(mesh)
    status, out, _ = await mesh.run("ours", "open", "old", typed=b"ls\n")
    assert (status, app.came, app.is_input_over) == (0, b"ls\n\x04", False)
    assert out == b"$ ls\r\n\x04"


async def test_a_v1_endpoints_refusal_is_an_error(mesh: TerminalMesh) -> None:
    (await v1_endpoint(mesh)).is_refusing = True
    status, out, err = await mesh.run("ours", "open", "old")
    assert (status, out) == (1, b"")
    assert err.startswith("ztm: endpoint old: it refused")
    assert not (await mesh.trail("ours")).is_allowed


async def test_a_command_for_a_v1_endpoint_is_refused_and_not_typed_into_its_shell(mesh: TerminalMesh) -> None:
    app = await v1_endpoint(mesh)
    status, out, err = await mesh.run("ours", "open", "old", "--", "id", typed=b"x")
    assert (status, out, app.came) == (1, b"", b"")
    assert "runs ZTM v1, which opens shells only" in err
