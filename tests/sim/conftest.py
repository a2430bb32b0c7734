"""Runs every async test of this directory in virtual time."""

import asyncio
from collections.abc import Callable

import pytest

from ztm.testing import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}
