"""What is promised of the native network alone; skipped where `ztm-native` is not installed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.parties import Ends, Parties
from ztm.net.aio import AioNetwork
from ztm.testing import settle


@pytest.fixture
async def net() -> AsyncIterator[AioNetwork]:
    pytest.importorskip("ztm_native", reason="ztm-native is not installed: `make setup` builds it where there is cargo")
    from ztm.net.native.network import NativeNetwork

    yield NativeNetwork()
    await settle()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    made.close()
    await asyncio.sleep(0)


@pytest.fixture(scope="session")
def parties() -> Parties:
    return Parties.create()
