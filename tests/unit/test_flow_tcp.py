"""Sockets behind our streams: how they are tuned, and that a stream cut from within a call-back harms nobody."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from contract.parties import ANYWHERE, Ends, Parties, until
from ztm.net.aio import AioNetwork
from ztm.net.tcp import HIGH, UNSENT, TcpStream
from ztm.testing import settle

TCP_CLOSE = 7
"""The state of a connection that was reset, first byte of TCP_INFO (linux/tcp_states.h)."""
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.SelectorEventLoop, uvloop.new_event_loop]


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.create()


def on(loop: Callable[[], asyncio.AbstractEventLoop], main: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())  # type: ignore[arg-type]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("secured", [True, False])
def test_dead_peers_are_noticed_and_the_kernel_queues_little(
    loop: Callable[[], asyncio.AbstractEventLoop], parties: Parties, *, secured: bool
) -> None:
    async def main() -> None:
        net, ends = AioNetwork(), Ends()
        listener = await net.listen(ANYWHERE, ends.accept, parties.hub if secured else None)
        near = await net.dial(listener.address, parties.alice if secured else None)
        far = await ends.next()
        for stream in (near, far):
            assert isinstance(stream, TcpStream)
            assert stream._transport is not None
            sock = stream._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT
        near.abort()
        far.abort()
        ends.close()
        await listener.close()
        await settle()

    on(loop, main)


class Impatient:
    """Takes some bytes, never gives credit, and then cuts the stream from within the call-back."""

    def __init__(self, stream: TcpStream) -> None:
        self.stream = stream
        self.seen = 0

    def push(self, data: bytes) -> None:
        self.seen += len(data)
        if self.seen > HIGH:
            self.stream.abort("enough")

    def finish(self) -> None:
        """Nothing to pass on."""

    def broke(self, reason: str) -> None:
        """Nothing to pass on."""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("secured", [True, False])
def test_a_stream_may_be_cut_while_its_bytes_arrive(
    loop: Callable[[], asyncio.AbstractEventLoop], parties: Parties, *, secured: bool
) -> None:
    async def main() -> None:
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        net, ends = AioNetwork(), Ends()
        listener = await net.listen(ANYWHERE, ends.accept, parties.hub if secured else None)
        near = await net.dial(listener.address, parties.alice if secured else None)
        far = await ends.next()
        assert isinstance(far, TcpStream)
        near.write_now(bytes(2_000_000))
        far.attach(Impatient(far))
        await far.ended()
        await near.ended()
        ends.close()
        await listener.close()
        await settle()
        assert problems == []

    on(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_ending_a_stream_that_the_peer_has_reset_unseen_breaks_it_and_raises_nothing(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Nobody reads a stalled stream's socket, so the reset is first noticed by what is done next."""

    async def main() -> None:
        net, ends = AioNetwork(), Ends()
        listener = await net.listen(ANYWHERE, ends.accept)
        near = await net.dial(listener.address)
        far = await ends.next()
        assert isinstance(far, TcpStream)
        near.write_now(bytes(2 * HIGH))
        await until(lambda: far._paused)
        near.abort()
        await until(lambda: _is_reset(far))
        far.end()
        async with asyncio.timeout(5):
            await far.ended()
        assert far.broken_by
        ends.close()
        await listener.close()
        await settle()

    on(loop, main)


def _is_reset(stream: TcpStream) -> bool:
    assert stream._transport is not None
    sock = stream._transport.get_extra_info("socket")
    return int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]) == TCP_CLOSE
