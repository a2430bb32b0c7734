"""The container files: the commands that they name are run here as they are written, as plain processes."""

import json
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from world import Agent, Hub, Process, World, free_port, until

PACKAGING = Path(__file__).parents[2] / "packaging"
COMPOSE: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.yaml").read_text())
DOCKERFILE = (PACKAGING / "Dockerfile").read_text().replace("\\\n", " ")


class Composed:
    """The services of the compose file: volumes are directories, and ports free ones of this machine."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hub_port = free_port()
        self.health: dict[str, int] = {}

    def start(self, name: str) -> Process:
        service = COMPOSE["services"][name]
        self.health[name] = free_port()
        words = [self._adapted(str(word), name, service["volumes"]) for word in service["command"]]
        home = self.world.path / name
        if name == "hub":
            process: Process = Hub(home, self.hub_port)
        else:
            port = free_port()
            words.append(f"--listen=127.0.0.1:{port}")
            process = Agent(home, port, name=name, data=self.world.path / "volumes" / name)
        process.words = words
        self.world.processes.append(process)
        return process.start()

    def _adapted(self, word: str, name: str, volumes: list[str]) -> str:
        word = word.replace("=0.0.0.0:8888", f"=127.0.0.1:{self.hub_port}").replace(
            "hub:8888", f"127.0.0.1:{self.hub_port}"
        )
        word = word.replace("=9797", f"={self.health[name]}")
        for volume in volumes:
            source, target, *_ = volume.split(":")
            directory = self.world.path / "volumes" / source
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            word = word.replace(f"={target}", f"={directory}")
        return word

    def is_healthy(self, name: str) -> bool:
        """What the image's own health check says."""
        check = re.search(r"HEALTHCHECK .*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
        assert check
        words = [word.replace("9797", str(self.health[name])) for word in json.loads(check[1])]
        words[0] = sys.executable
        return subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == 0


def test_what_the_compose_file_starts_is_a_mesh_and_stops_in_order(world: World) -> None:
    composed = Composed(world)
    hub = composed.start("hub")
    until(lambda: composed.is_healthy("hub"))
    agents = [composed.start(name) for name in COMPOSE["services"] if name != "hub"]
    for agent in agents:
        assert isinstance(agent, Agent)
        until(lambda agent=agent: agent.mesh["state"] == "connected", what=f"{agent.name} is connected")
        until(lambda agent=agent: composed.is_healthy(agent.name))
    first = agents[0]
    assert isinstance(first, Agent)
    until(lambda: len(first.ok("get", "ep").rows) == 2, what="both endpoints are listed")
    assert sorted(row[0].split()[0] for row in first.ok("get", "ep").rows) == ["agent-1", "agent-2"]
    for process in (*agents, hub):
        process.signal(signal.SIGTERM)
    assert [process.wait() for process in (*agents, hub)] == [0, 0, 0]


def test_a_container_that_is_ill_is_seen_to_be(world: World) -> None:
    composed = Composed(world)
    hub = composed.start("hub")
    until(lambda: composed.is_healthy("hub"))
    hub.kill()
    assert not composed.is_healthy("hub")


def test_containers_have_no_privileges_and_time_to_drain() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert int(service["stop_grace_period"].removesuffix("s")) > 10, name
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["ztm"]


def test_all_that_the_image_is_built_from_is_in_the_checkout_and_not_ignored() -> None:
    ignored = (PACKAGING / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]
    names = [name for names in copied for name in names]
    assert "pyproject.toml" in names
    for name in names:
        assert (PACKAGING.parent / name).exists(), name
        assert f"!{name}" in ignored, name


def test_the_example_units_are_those_that_a_start_would_write() -> None:
    for path, text in runpy.run_path(str(PACKAGING / "units.py"))["texts"]().items():
        assert path.read_text() == text, "run python packaging/units.py"
