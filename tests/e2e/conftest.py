"""Worlds of real processes for tests; when a test fails, what its processes said is shown with it."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import Agent, Hub, World

TAIL = 60
"""Lines of each log that a failure shows."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            world = value if isinstance(value, World) else getattr(value, "world", None)
            for name, text in world.logs().items() if isinstance(world, World) else ():
                report.sections.append((name, "\n".join(text.splitlines()[-TAIL:])))
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked `networks` runs on each network that is installed; all else on the one that a user gets."""
    both = "ZTM_NET" not in os.environ and importlib.util.find_spec("ztm_native")
    if both and metafunc.definition.get_closest_marker("networks"):
        metafunc.parametrize("network", ["native", "aio"], indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def network(request: pytest.FixtureRequest) -> Iterator[None]:
    """The network of all processes that a test starts."""
    with pytest.MonkeyPatch.context() as patch:
        if chosen := getattr(request, "param", ""):
            patch.setenv("ZTM_NET", chosen)
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of the test's own, empty so far."""
    made = World(tmp_path)
    yield made
    made.close()


@dataclass(frozen=True)
class Mesh:
    """A hub, two endpoints of root and one of alice."""

    world: World
    hub: Hub
    home: Agent
    workplace: Agent
    alice: Agent


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, network: None) -> Iterator[Mesh]:
    """A mesh that the tests of a module share; they leave it as they found it, but for tunnels."""
    world = World(tmp_path_factory.mktemp("mesh"))
    try:
        hub = world.hub()
        home = world.joined(hub, "home")
        workplace = world.joined(hub, "workplace")
        yield Mesh(world, hub, home, workplace, world.invited(hub, home, "alice"))
    finally:
        world.close()
