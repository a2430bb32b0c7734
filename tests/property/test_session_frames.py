"""Whatever bytes come on a session's stream, from either side: they are obeyed, waited for or refused, nothing else."""

import asyncio
from collections.abc import Sequence
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from ztm.apps.script.client import Kept
from ztm.apps.script.entry import _Carrier
from ztm.apps.script.framed import FramedClient
from ztm.apps.script.limits import LIMITS
from ztm.apps.terminal.links import StreamLink
from ztm.errors import UsageError, ZtmError
from ztm.net.base import Meter, Stream
from ztm.wire.console import Frame, Kind

WHOLE = st.builds(Frame, st.sampled_from(Kind), st.binary(max_size=40)).map(Frame.encode)
BYTES = st.lists(st.one_of(WHOLE, st.binary(max_size=12), WHOLE.map(lambda data: data[:-1])), max_size=12)


class Told:
    """A stream on which these pieces come, and then the end; what is written goes nowhere."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.reason = ""

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return self._pieces.pop(0) if self._pieces else b""

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)

    def write_now(self, data: bytes) -> None: ...

    def abort(self, reason: str) -> None:
        self.reason = reason


def stream(pieces: Sequence[bytes], size: int) -> Stream:
    """The same bytes in pieces of `size`."""
    whole = b"".join(pieces)
    return cast("Stream", Told([whole[at : at + size] for at in range(0, len(whole), size)]))


@settings(max_examples=150)
@given(BYTES, st.integers(1, 60))
def test_an_endpoint_that_runs_a_script_ends_it_whatever_its_caller_sends(pieces: list[bytes], size: int) -> None:
    async def serve() -> None:
        client = FramedClient(
            stream([Frame(Kind.FILE, b"x").encode(), Frame(Kind.FILE).encode(), *pieces], size), LIMITS
        )
        assert await client.script() == b"x"

        async def work() -> int:
            while await client.read():
                await client.out(b"y")
            return await asyncio.get_running_loop().create_future()

        await client.attend(work())

    async def run() -> None:
        try:
            async with asyncio.timeout(5):
                await serve()
        except ZtmError:
            return
        raise AssertionError("it did not end")

    asyncio.run(run())


@settings(max_examples=150)
@given(BYTES, st.integers(1, 60))
def test_a_caller_of_a_script_is_told_a_status_or_an_error(pieces: list[bytes], size: int) -> None:
    async def run() -> int | None:
        client = Kept(1000)
        try:
            async with asyncio.timeout(5):
                return await _Carrier(stream(pieces, size), "there", client, Meter()).run(b"script")
        except ZtmError:
            return None

    status = asyncio.run(run())
    assert status is None or b"".join(pieces).find(bytes([Kind.STATUS])) >= 0


@settings(max_examples=150)
@given(BYTES, st.integers(1, 60))
def test_a_terminals_stream_gives_frames_and_then_the_end(pieces: list[bytes], size: int) -> None:
    async def run() -> None:
        link = StreamLink(stream(pieces, size))
        async with asyncio.timeout(5):
            while frame := await link.receive():
                if frame.kind is Kind.WINDOW:
                    try:
                        assert frame.window.columns <= 0xFFFF
                    except UsageError:
                        assert len(frame.payload) != 4

    asyncio.run(run())
