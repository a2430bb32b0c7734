"""What a mesh does when a part of it is killed, falls silent, or its link is cut."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from targets import Server, connected, echo, read_exactly, seconds_until_works, works
from world import Agent, Hub, World, free_port, open_tunnel, until

pytestmark = [pytest.mark.long, pytest.mark.networks]  # each starts, stops or kills processes

RECOVERY = 3.0
"""Seconds within which tunnels work again (issue: "Failure")."""
NOTICED = 30.0
"""Seconds within which silence is noticed and shown."""


def test_a_hub_that_was_killed_comes_back_as_the_same(world: World) -> None:
    hub = world.hub()
    home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
    alice = world.invited(hub, home, "alice")
    home.ok("evict", "alice")
    with Server(echo) as server:
        port = open_tunnel(home, workplace, server.port, name="web")
        permit, ids = hub.permit.read_bytes(), (home.id, workplace.id)
        before = shared_files(home)
        assert before
        with connected(port) as connection:
            connection.sendall(b"hello")
            assert read_exactly(connection, 5) == b"hello"
            hub.kill()
            until(lambda: home.mesh["state"] != "connected", what="the loss is shown")
            hub.start()
        assert seconds_until_works(port, RECOVERY) < RECOVERY
        assert hub.permit.read_bytes() == permit
        assert (home.id, workplace.id) == ids
        until(lambda: len(home.ok("get", "ep").rows) == 2, what="both endpoints are there")
        assert shared_files(home) == before
        until(lambda: alice.mesh["state"] == "evicted", what="alice stays out")


def shared_files(agent: Agent) -> list[str]:
    """The names and hashes of what is shared in the mesh, as the tunnel app lists them."""
    return sorted(
        f"{one['protocol']}/{one['name']} {[end['id'] for end in one['outbound']]}"
        for one in agent.ok("tunnel", "get", "tunnel", "-o", "json").json
    )


@pytest.mark.parametrize("which", ["home", "workplace"])
def test_tunnels_of_an_agent_that_was_killed_work_again_once_it_is_back(which: str, world: World) -> None:
    hub = world.hub()
    agents = {name: world.joined(hub, name) for name in ("home", "workplace")}
    with Server(echo) as server:
        port = open_tunnel(agents["home"], agents["workplace"], server.port)
        assert works(port)
        agents[which].kill()
        agents[which].start()
        assert seconds_until_works(port, RECOVERY) < RECOVERY
        assert "Traceback" not in hub.log


def test_a_killed_agent_is_shown_offline_and_others_go_on(world: World) -> None:
    hub = world.hub()
    home, workplace, third = (world.joined(hub, name) for name in ("home", "workplace", "third"))
    with Server(echo) as server:
        port = open_tunnel(home, third, server.port)
        workplace.kill()
        until(lambda: status_of(home, "workplace") == "Offline", what="workplace is shown offline")
        assert works(port)


def status_of(agent: Agent, name: str) -> str:
    """How an endpoint is listed."""
    return next(row[4] for row in agent.ok("get", "ep", name).rows if row[0] == name)


def test_an_acknowledged_change_outlives_a_kill(world: World) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    for number in range(3):
        home.ok("tunnel", "open", "outbound", f"tcp/t{number}", "--targets", 1000 + number)
        home.ok("label", "--add", f"label{number}")
        home.kill()
        home.start()
        names = [row[0] for row in home.ok("tunnel", "get", "outbound").rows]
        assert names == [f"tcp/t{one}" for one in range(number + 1)]
        assert home.ok("label").out.split() == [f"label{one}" for one in range(number + 1)]


def test_a_hub_that_falls_silent_is_noticed_and_forgiven(world: World) -> None:
    hub = world.hub()
    home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
    with Server(echo) as server:
        port = open_tunnel(home, workplace, server.port)
        hub.pause()
        try:
            until(lambda: home.mesh["state"] == "unreachable", within=NOTICED, what="the silence is shown")
            assert "ERROR" in home.ok("get", "mesh").rows[0][-1]
            assert str(hub.port) in home.mesh["lastError"]
            assert f"127.0.0.1:{hub.port}" in home.fails("get", "ep")
        finally:
            hub.resume()
        assert seconds_until_works(port, RECOVERY) < RECOVERY
        until(lambda: home.mesh["state"] == "connected", within=RECOVERY, what="connected")


def test_an_agent_that_falls_silent_is_shown_offline_and_harms_nobody(world: World) -> None:
    hub = world.hub()
    home, workplace, third = (world.joined(hub, name) for name in ("home", "workplace", "third"))
    with Server(echo) as server:
        lost, kept = open_tunnel(home, workplace, server.port), open_tunnel(home, third, server.port)
        assert works(lost)
        workplace.pause()
        try:
            until(lambda: status_of(home, "workplace") == "Offline", within=NOTICED, what="workplace is offline")
            assert works(kept)
        finally:
            workplace.resume()
        assert seconds_until_works(lost, RECOVERY) < RECOVERY


# ---------------------------------------------------------------------- links

CAN_CUT = os.geteuid() == 0 and shutil.which("ip") is not None


class Link:
    """A network of its own for one machine: a namespace, with one cable to this machine's."""

    def __init__(self, number: int) -> None:
        self.space = f"ztm-e2e-{os.getpid()}-{number}"
        self.cable = f"zt{os.getpid() % 100000}{number}"
        self.host, self.address = f"10.79.{number}.1", f"10.79.{number}.2"
        self.prefix = ["ip", "netns", "exec", self.space]

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def __enter__(self) -> "Link":
        self._ip("netns", "add", self.space)
        self._ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        self._ip("addr", "add", f"{self.host}/24", "dev", self.cable)
        self._ip("link", "set", self.cable, "up")
        for words in (["link", "set", "lo", "up"], ["addr", "add", f"{self.address}/24", "dev", "eth0"]):
            self._ip("-n", self.space, *words)
        self._ip("-n", self.space, "link", "set", "eth0", "up")
        return self

    def cut(self) -> None:
        """Pull the cable: nothing comes through, and nobody is told."""
        self._ip("link", "set", self.cable, "down")

    def heal(self) -> None:
        """Put it back."""
        self._ip("link", "set", self.cable, "up")

    def __exit__(self, *_: object) -> None:
        self._ip("netns", "del", self.space)


@pytest.mark.skipif(not CAN_CUT, reason="needs the right to make network namespaces")
def test_a_cut_link_is_noticed_on_both_ends_and_new_connections_work_soon_after_it_heals(world: World) -> None:
    with Link(1) as link:
        hub = world.hub(host=link.host)
        home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace", prefix=link.prefix)
        with Server(echo) as server:
            # the exit is here, the entrance on the far machine: its clients are there as well
            open_tunnel(home, home, server.port, name="web")
            port = free_port()
            workplace.ok("tunnel", "open", "inbound", "tcp/web", "--listen", port)
            assert far_echo(link, port)
            link.cut()
            begin = time.monotonic()
            until(lambda: workplace.mesh["state"] == "unreachable", within=NOTICED, what="noticed on the far end")
            until(
                lambda: status_of(home, "workplace") == "Offline",
                within=NOTICED - (time.monotonic() - begin),
                what="noticed by the hub",
            )
            until(lambda: time.monotonic() - begin > 10.0, within=12, what="the link was cut for ten seconds")
            link.heal()
            healed = time.monotonic()
            until(lambda: far_echo(link, port), within=RECOVERY + 1, what="a new connection works")
            assert time.monotonic() - healed < RECOVERY + 0.5  # half a second for the client's own process
            until(lambda: status_of(home, "workplace") == "Online", within=RECOVERY, what="it is back")


def far_echo(link: Link, port: int) -> bool:
    """Whether a client on the far machine gets its bytes back."""
    client = (
        "import socket,sys\n"
        f"with socket.create_connection(('127.0.0.1', {port}), 1) as c:\n"
        "    c.sendall(b'hello'); sys.exit(c.recv(5) != b'hello')\n"
    )
    ran = subprocess.run(
        [*link.prefix, "/usr/bin/env", "python3", "-S", "-c", client], capture_output=True, check=False
    )
    return ran.returncode == 0


# ---------------------------------------------------------------------- disks


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own, so small that it can be filled."""
    path.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(disk: Path) -> Path:
    """Use up all that is left of a disk; the file that does."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_hub_with_a_full_disk_starts_serves_and_evicts(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        world = World(tmp_path)
        try:
            hub = world.hub(data=disk / "hub")
            home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
            alice = world.invited(hub, home, "alice")
            with Server(echo) as server:
                port = open_tunnel(home, workplace, server.port)
                hub.kill()
                filler = fill(disk)
                hub.start()
                assert seconds_until_works(port, RECOVERY) < RECOVERY
                until(lambda: alice.mesh["state"] == "connected", what="alice is connected")
                line = home.fails("evict", "alice")
                assert "disk is full" in line
                until(lambda: alice.mesh["state"] == "evicted", what="alice is shut out all the same")
                assert works(port)
                assert "disk is full" in hub.log
                newcomer = world.agent("new")
                assert "disk" in newcomer.fails("join", "m", "--as", "new", "--permit", hub.permit, "--timeout", 3)
                filler.unlink()
                home.ok("evict", "alice")
                hub.kill()
                hub.start()
                until(lambda: home.mesh["state"] == "connected", within=RECOVERY, what="home is back")
                assert works(port) or seconds_until_works(port, RECOVERY) < RECOVERY
                until(lambda: alice.mesh["state"] == "evicted", what="alice stays out")
        finally:
            world.close()


def test_an_agent_with_a_full_disk_acknowledges_nothing_that_it_would_lose(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        world = World(tmp_path)
        try:
            hub: Hub = world.hub()
            home = world.joined(hub, "home", data=disk / "agent")
            with Server(echo) as server:
                port = open_tunnel(home, home, server.port, name="kept")
                fill(disk)
                lost = free_port()
                for words in (
                    ("tunnel", "open", "inbound", "tcp/lost", "--listen", lost),
                    ("tunnel", "open", "outbound", "tcp/lost", "--targets", server.port),
                    ("tunnel", "close", "inbound", "tcp/kept"),
                    ("label", "--add", "x"),
                ):
                    assert "disk is full" in home.fails(*words), words
                assert works(port)
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", lost), 1).close()
                assert [row[0] for row in home.ok("tunnel", "get", "inbound").rows] == ["tcp/kept"]
                home.kill()
                (disk / "filler").unlink()
                home.start()
                assert seconds_until_works(port, RECOVERY) < RECOVERY
                assert [row[0] for row in home.ok("tunnel", "get", "outbound").rows] == ["tcp/kept"]
        finally:
            world.close()
