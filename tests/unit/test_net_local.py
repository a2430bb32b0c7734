"""A Unix socket for chosen users: its mode, who is let in, and what it replaces."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ztm.errors import ConflictError
from ztm.net.aio import AioNetwork
from ztm.net.base import Stream
from ztm.net.local import peer_user


async def greet(stream: Stream) -> None:
    await stream.write(b"hello " + await stream.read())


@pytest.fixture
async def network() -> AsyncIterator[AioNetwork]:
    yield AioNetwork()
    await asyncio.sleep(0)


async def say(path: Path, text: bytes) -> bytes:
    """What the socket answers."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(text)
        async with asyncio.timeout(5):
            return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()


async def test_an_admitted_user_is_served_and_another_is_cut(network: AioNetwork, tmp_path: Path) -> None:
    asked: list[int] = []
    for is_admitted, answer in ((True, b"hello you"), (False, b"")):

        def admit(user: int, is_admitted: bool = is_admitted) -> bool:
            asked.append(user)
            return is_admitted

        listener = await network.listen_local(tmp_path / "s", greet, admit)
        assert await say(tmp_path / "s", b"you") == answer
        await listener.close()
    assert asked == [os.geteuid()] * 2


async def test_the_file_is_private_and_gone_afterwards(network: AioNetwork, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        listener = await network.listen_local(tmp_path / "s", greet, lambda _user: True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    await listener.close()
    assert not (tmp_path / "s").exists()


async def test_a_socket_that_nobody_answers_at_is_replaced(network: AioNetwork, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    listener = await network.listen_local(tmp_path / "s", greet, lambda _user: True)
    assert await say(tmp_path / "s", b"you") == b"hello you"
    await listener.close()


async def test_one_that_is_in_use_or_no_socket_is_left_alone(network: AioNetwork, tmp_path: Path) -> None:
    first = await network.listen_local(tmp_path / "s", greet, lambda _user: True)
    (tmp_path / "file").write_text("mine")
    for name, why in (("s", "another process listens"), ("file", "not a socket"), ("no/where", "No such")):
        with pytest.raises(ConflictError, match=why):
            await network.listen_local(tmp_path / name, greet, lambda _user: True)
    assert await say(tmp_path / "s", b"you") == b"hello you"
    assert (tmp_path / "file").read_text() == "mine"
    await first.close()


async def test_closing_leaves_the_socket_of_a_successor(network: AioNetwork, tmp_path: Path) -> None:
    first = await network.listen_local(tmp_path / "s", greet, lambda _user: True)
    (tmp_path / "s").rename(tmp_path / "old")
    second = await network.listen_local(tmp_path / "s", greet, lambda _user: True)
    await first.close()
    assert await say(tmp_path / "s", b"you") == b"hello you"
    await second.close()


def test_a_peer_that_the_kernel_does_not_name_is_nobody() -> None:
    with socket.socket(socket.AF_INET) as other:
        assert peer_user(other) is None
