"""What a session needs of the console that it runs on: input beside a stalled output, and whether somebody types."""

import asyncio
from typing import Any, cast

import pytest

from fake_agent import HOME_ID
from ztm.agent.api.commands import read_call, serve_command
from ztm.apps.base import App
from ztm.apps.command import Console
from ztm.net.base import Headers, Stream
from ztm.rest.message import Request
from ztm.wire.console import Frame, Frames, Kind


class Here:
    """See `agent.api.commands.Here`."""

    endpoint_id, endpoint_name = HOME_ID, "home"


class Stalled:
    """A caller that sends input when asked, and takes no output until `room` is set."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.sent: list[Frame] = []
        self._frames = Frames()
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        self._writers = 0

    async def read(self) -> bytes:
        return await self._input.get()

    async def write(self, data: bytes) -> None:
        self.write_now(data)
        self._writers += 1
        assert self._writers == 1, "a stream has one writer at a time"
        await self.room.wait()
        self._writers -= 1

    def write_now(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self.sent.append(frame)
            if frame.kind is Kind.WANT:
                self._input.put_nowait(Frame(Kind.STDIN, b"typed").encode())

    def end(self) -> None: ...


def request(stream: object, query: str) -> Request:
    """A CONNECT that asks for frames."""

    class Upgrade:
        accepted = False

        def accept(self, _headers: Headers = ()) -> Stream:
            return cast("Stream", stream)

    scope: dict[str, Any] = {
        "method": "CONNECT", "path": "/cli", "raw_path": b"/cli", "query_string": query.encode(),
        "headers": [(b"ztm-console", b"1")], "extensions": {"ztm.upgrade": Upgrade()},
    }  # fmt: skip
    return Request(scope, cast("Any", None))


async def test_input_is_asked_for_while_an_output_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ztm.rest.message.Upgrade", object)
    stream = Stalled()
    got: list[bytes] = []

    class Both:
        """An app that reads and writes at once."""

        async def command(self, console: Console) -> int:
            writing = asyncio.ensure_future(console.write(b"x" * 10))
            await asyncio.sleep(0)
            got.append(await console.read())
            stream.room.set()
            await writing
            return 3

    async with asyncio.timeout(5):
        await serve_command(request(stream, "argv=%5B%22x%22%5D"), cast("App", Both()), Here())
    assert got == [b"typed"]
    assert stream.sent[-1].status == 3


async def test_both_outputs_at_once_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ztm.rest.message.Upgrade", object)
    stream = Stalled()

    class Both:
        """An app that writes on both outputs at once."""

        async def command(self, console: Console) -> int:
            asyncio.get_running_loop().call_soon(stream.room.set)
            await asyncio.gather(console.write(b"x"), console.complain(b"y"))
            return 3

    async with asyncio.timeout(5):
        await serve_command(request(stream, "argv=%5B%22x%22%5D"), cast("App", Both()), Here())
    assert [frame.payload for frame in stream.sent[:2]] == [b"x", b"y"]
    assert stream.sent[-1].status == 3


@pytest.mark.parametrize(("query", "is_typed"), [("", True), ("&tty=1", True), ("&tty=0", False)])
def test_an_app_is_told_whether_its_caller_types(query: str, is_typed: bool) -> None:
    assert read_call(request(None, f"argv=%5B%22x%22%5D{query}"), Here()).is_typed is is_typed
