"""Runs every test of this directory on each implementation of the network seam."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import uvloop

from ztm.net.aio import AioNetwork
from ztm.net.base import Network
from ztm.testing import SimWorld, VirtualLoop

from .parties import Parties


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"aio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop, "sim": VirtualLoop}


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    loop = asyncio.get_running_loop()
    yield SimWorld(start=datetime.now(UTC)).host("10.0.0.1") if isinstance(loop, VirtualLoop) else AioNetwork()


@pytest.fixture(scope="session")
def parties() -> Parties:
    return Parties.create()
