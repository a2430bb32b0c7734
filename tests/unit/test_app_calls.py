"""A command of an app from end to end: the real `ztm` on pipes or a terminal, the agent's half, and an app."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from fake_agent import HOME_ID, mesh_object
from ztm.agent.api.commands import serve_command
from ztm.apps.base import App
from ztm.apps.command import Console
from ztm.model import Address
from ztm.net.asgi import PEER, HttpLimits, serve_stream
from ztm.net.base import SessionLimits, Stream
from ztm.net.choice import network as chosen_network
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire.console import Window

ZTM = Path(sys.executable).with_name("ztm")
DEADLINE = 20.0
FLOOD = 8 << 20


class Probe:
    """An app whose commands show what a console can do."""

    endpoint_id, endpoint_name = HOME_ID, "home"

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.sipped = 0

    async def command(self, console: Console) -> int:
        self.begun.set()
        try:
            return await getattr(self, f"_{console.call.words[0]}")(console)
        finally:
            self.ended.set()

    async def _echo(self, console: Console) -> int:
        size = 0
        while data := await console.read():
            size += len(data)
            await console.write(data)
        await console.complain(f"{size} bytes\n".encode())
        return 7

    async def _flood(self, console: Console) -> int:
        await console.write(b"x" * FLOOD)
        return 0

    async def _call(self, console: Console) -> int:
        call = console.call
        told = [call.program, *call.words, str(call.endpoint), call.environment, call.directory]
        await console.write(json.dumps(told).encode())
        return 0

    async def _window(self, console: Console) -> int:
        sizes: asyncio.Queue[Window] = asyncio.Queue()
        console.on_window(sizes.put_nowait)
        if console.window is not None:
            sizes.put_nowait(console.window)
        await console.pass_keys(True)
        for _ in range(2):
            size = await sizes.get()
            await console.write(f"<{size.columns}x{size.rows}>".encode())
        return len(await console.read())

    async def _wait(self, console: Console) -> int:
        await console.write(b"waiting")
        await asyncio.Event().wait()
        return 0

    async def _sip(self, console: Console) -> int:
        self.sipped = len(await console.read())
        await console.write(b"waiting")
        await asyncio.Event().wait()
        return 0

    async def _care(self, console: Console) -> int:
        told = asyncio.Event()
        console.on_interrupt(told.set)
        await console.write(b"waiting")
        await told.wait()
        await console.write(b" no more")
        return 5

    async def _crash(self, console: Console) -> int:
        await console.write(b"so far")
        raise RuntimeError("by mistake")


class Served:
    """The app behind an agent's routes on a real port."""

    def __init__(self, port: int, probe: Probe) -> None:
        self.port = port
        self.probe = probe

    def variables(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ZTM_", "LC_", "LANG"))}
        return {**kept, "ZTM_AGENT": f"127.0.0.1:{self.port}", "TERM": "xterm-test", "SECRET": "kept"}

    async def start(self, *words: str, **more: Any) -> asyncio.subprocess.Process:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        return await asyncio.create_subprocess_exec(ZTM, *words, env=self.variables(), **{**pipes, **more})

    async def run(self, *words: str, typed: bytes = b"") -> tuple[int | None, bytes, bytes]:
        process = await self.start(*words)
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate(typed)
        return process.returncode, out, err


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv("HOME", str(tmp_path))
    probe, router, network = Probe(), Router(), chosen_network()

    async def command(request: Request) -> None:
        await serve_command(request, cast("App", probe), probe)

    def fixed(body: object) -> Any:
        async def answer(_request: Request) -> Response:
            return Response(200, body)

        return answer

    router.add("GET", "/api/meshes", fixed([mesh_object()]))
    router.add("GET", "/api/meshes/m/apps", fixed([]))
    router.add("GET", f"/api/meshes/m/endpoints/{HOME_ID}/apps", fixed([{"provider": "me", "name": "probe"}]))
    router.add("CONNECT", "/api/meshes/m/apps/me/probe/cli", command)

    async def accept(stream: Stream) -> None:
        limits = SessionLimits()
        await serve_stream(network, stream, router, {PEER: None}, http_limits=HttpLimits(), session_limits=limits)

    listener = await network.listen(Address("127.0.0.1", 0), accept)
    yield Served(listener.address.port, probe)
    await listener.close()


async def test_input_both_outputs_and_the_status_are_the_commands_own(served: Served) -> None:
    typed = os.urandom(1 << 20)
    assert await served.run("probe", "echo", typed=typed) == (7, typed, b"1048576 bytes\n")


async def test_nothing_of_a_large_output_is_lost(served: Served) -> None:
    status, out, err = await served.run("me/probe", "flood")
    assert (status, len(out), err) == (0, FLOOD, b"")


async def test_the_app_is_told_what_was_typed_and_no_more_of_the_environment_than_it_needs(served: Served) -> None:
    status, out, _ = await served.run("probe", "call", "a b", "--c=d", "--", "--mesh", "x")
    assert status == 0
    *words, endpoint, environment, directory = json.loads(out)
    assert words == ["ztm probe", "call", "a b", "--c=d", "--", "--mesh", "x"]
    assert (endpoint, directory) == (f"home ({HOME_ID})", os.getcwd())  # noqa: PTH109
    assert environment["TERM"] == "xterm-test"
    assert "SECRET" not in environment


async def test_an_app_that_fails_by_mistake_ends_its_command_only(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    status, out, err = await served.run("probe", "crash")
    assert (status, out) == (1, b"so far")
    assert err.startswith(b"ztm: the command failed within the app")
    assert "by mistake" in caplog.text
    assert (await served.run("probe", "echo"))[0] == 7


async def test_ctrl_c_ends_a_command_and_an_app_may_see_to_it_first(served: Served) -> None:
    for word, status, rest in (("wait", 130, b""), ("care", 5, b" no more")):
        process = await served.start("probe", word)
        assert process.stdout is not None
        assert await process.stdout.readexactly(7) == b"waiting"
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(DEADLINE):
            out, _ = await process.communicate()
        assert (process.returncode, out) == (status, rest)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_no_more_input_is_taken_than_is_read_so_none_stands_before_ctrl_c_or_the_end_of_the_caller(
    served: Served, number: signal.Signals, tmp_path: Path
) -> None:
    source = os.open(tmp_path / "input", os.O_RDWR | os.O_CREAT)
    os.truncate(source, 1 << 30)  # a hole: nothing of it is on disk
    try:
        process = await served.start("probe", "sip", stdin=source)
        assert process.stdout is not None
        assert await process.stdout.readexactly(7) == b"waiting"
        process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            await served.probe.ended.wait()
            await process.communicate()
        assert 0 < served.probe.sipped == os.lseek(source, 0, os.SEEK_CUR)  # the offset is the process's as well
    finally:
        os.close(source)


async def test_a_command_whose_caller_is_killed_is_ended(served: Served) -> None:
    process = await served.start("probe", "wait")
    assert process.stdout is not None
    await process.stdout.readexactly(7)
    process.kill()
    async with asyncio.timeout(DEADLINE):
        await served.probe.ended.wait()
        await process.communicate()


async def test_a_deadline_ends_the_call(served: Served) -> None:
    status, out, err = await served.run("--timeout", "0.5", "probe", "wait")
    assert (status, out) == (1, b"waiting")
    assert b"--timeout" in err


async def test_the_size_of_the_terminal_reaches_the_app_and_so_do_keys(served: Served) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    process = await served.start("probe", "window", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    loop = asyncio.get_running_loop()

    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += os.read(ours, size - len(data))
        return data

    try:
        async with asyncio.timeout(DEADLINE):
            assert await loop.run_in_executor(None, read, 8) == b"<111x33>"
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 122, 0, 0))
            process.send_signal(signal.SIGWINCH)
            assert await loop.run_in_executor(None, read, 8) == b"<122x44>"
            os.write(ours, b"\x03")  # a key like any other while the app takes all keys
            assert await process.wait() == 1
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 40, b"\x01\xff\xff\xff\xff", b"\x02\x00\x00\x00\x03abc", b"\x01\x00\x00\x00\x01x"]
)
async def test_a_caller_that_sends_no_frames_or_input_unasked_loses_its_call_only(
    served: Served, garbage: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    path = "/api/meshes/m/apps/me/probe/cli?argv=%5B%22ztm%20probe%22%2C%22wait%22%5D"
    writer.write(f"CONNECT {path} HTTP/1.1\r\nztm-console: 1\r\n\r\n".encode())
    assert b"200" in await reader.readuntil(b"\r\n\r\n")
    writer.write(garbage)
    async with asyncio.timeout(DEADLINE):
        await served.probe.ended.wait()
        assert (await reader.read()).endswith(b"\x14\x00\x00\x00\x04\x00\x00\x00\x82")  # status 130, and the end
    writer.close()
    assert (await served.run("probe", "echo"))[0] == 7
