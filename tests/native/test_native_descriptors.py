"""A process that has no file descriptor left says so once, and takes those who wait as soon as it has one."""

import asyncio
import logging
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contract.parties import echo, listening, until
from ztm.net.aio import AioNetwork


@contextmanager
def no_descriptors() -> Iterator[None]:
    """What is open stays open, and nothing can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_who_comes_while_no_descriptor_is_left_is_taken_once_there_is_one(
    net: AioNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ztm.net")
    loop = asyncio.get_running_loop()

    def warnings() -> list[str]:
        return [record.getMessage() for record in caplog.records if "cannot accept" in record.getMessage()]

    async with listening(net, echo) as address:
        with socket.socket() as client:
            client.setblocking(False)
            with no_descriptors():
                await loop.sock_connect(client, (address.host, address.port))
                await until(lambda: bool(warnings()))
            await loop.sock_sendall(client, b"here still")
            assert await loop.sock_recv(client, 100) == b"here still"
        assert len(warnings()) == 1
        assert str(address) in warnings()[0]
        assert "Too many open files" in warnings()[0]
