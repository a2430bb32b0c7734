"""What becomes of streams, agents and ports when a hub or an agent is told to stop."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from targets import Server, connected, echo, named, read_all, read_exactly, seconds_until_works, works
from world import ZTM, Agent, Hub, Ran, World, environment, free_port, one_line, open_tunnel, run_ztm, until

pytestmark = [pytest.mark.long, pytest.mark.networks]  # each starts, stops or kills processes

AT_ONCE = 5.0
"""Seconds for a process without anything under way to end, on a loaded machine; a drain takes ten."""
BULK = bytes(range(256)) * (16 << 10)


def tunnelled(world: World, server: Server, *, options: tuple[object, ...] = ()) -> tuple[Hub, Agent, Agent, int]:
    """A hub, an entrance and an exit, and the port of a tunnel between them."""
    hub = world.hub(options=options)
    home = world.joined(hub, "home", options=options)
    workplace = world.joined(hub, "workplace", options=options)
    return hub, home, workplace, open_tunnel(home, workplace, server.port)


def open_ports(port: int) -> bool:
    """Whether anybody accepts at `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def exchange(connection: socket.socket, text: bytes) -> None:
    connection.sendall(text)
    assert read_exactly(connection, len(text)) == text


@pytest.mark.parametrize("which", ["hub", "home", "workplace"])
def test_a_stream_under_way_ends_by_itself_and_then_whoever_was_told_to_stop_does(which: str, world: World) -> None:
    with Server(echo) as server:
        hub, home, workplace, port = tunnelled(world, server)
        process = {"hub": hub, "home": home, "workplace": workplace}[which]
        with connected(port) as connection:
            exchange(connection, b"before")
            process.signal(signal.SIGTERM)
            until(lambda: "asked to stop" in process.log)
            connection.sendall(BULK)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == BULK
        assert process.wait(AT_ONCE) == 0
        assert "is cut" not in process.log


@pytest.mark.parametrize("which", ["hub", "home", "workplace"])
def test_what_has_not_ended_in_the_time_allowed_is_cut_and_the_stop_was_in_order(which: str, world: World) -> None:
    with Server(echo) as server:
        hub, home, workplace, port = tunnelled(world, server, options=("--drain", "0.3"))
        process = {"hub": hub, "home": home, "workplace": workplace}[which]
        with connected(port) as connection:
            exchange(connection, b"before")
            assert process.stop() == 0
            assert "still under way after 0.3 s is cut" in process.log


@pytest.mark.parametrize("which", ["hub", "home"])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(which: str, second: signal.Signals, world: World) -> None:
    with Server(echo) as server:
        hub, home, _, port = tunnelled(world, server, options=("--drain", "600"))
        process = {"hub": hub, "home": home}[which]
        with connected(port) as connection:
            exchange(connection, b"before")
            process.signal(signal.SIGTERM)
            until(lambda: "asked to stop" in process.log)
            process.signal(second)
            assert process.wait(AT_ONCE) == 0


def test_an_agent_that_stops_takes_nothing_new_while_the_old_goes_on(world: World) -> None:
    with Server(echo) as server:
        _, home, workplace, port = tunnelled(world, server)
        with connected(port) as connection:
            exchange(connection, b"before")
            home.signal(signal.SIGTERM)
            until(lambda: not open_ports(port), what="its inbound is closed")
            assert not open_ports(home.port)
            exchange(connection, b"after")
            home.signal(signal.SIGTERM)
        assert home.wait(AT_ONCE) == 0
        assert workplace.mesh["state"] == "connected"


def test_an_exit_that_stops_is_passed_over_for_another_while_its_streams_go_on(world: World) -> None:
    with Server(named(b"other")) as other, Server(echo) as server:
        hub, home, workplace, port = tunnelled(world, server)
        with connected(port) as connection:
            exchange(connection, b"before")
            spare = world.joined(hub, "spare")
            spare.ok("tunnel", "open", "outbound", _key(home), "--targets", f"127.0.0.1:{other.port}")
            workplace.signal(signal.SIGTERM)
            until(lambda: "asked to stop" in workplace.log)
            until(lambda: _says(port) == b"other", what="new connections go to the other exit")
            exchange(connection, b"after")
        assert workplace.wait(AT_ONCE) == 0


def _key(agent: Agent) -> str:
    (tunnel,) = agent.ok("tunnel", "get", "tunnel", "-o", "json").json
    return f"{tunnel['protocol']}/{tunnel['name']}"


def _says(port: int) -> bytes:
    """What a new connection gets, without having said anything."""
    try:
        with connected(port, timeout=1.0) as connection:
            return read_all(connection)
    except OSError:
        return b""


def test_a_hub_that_restarts_is_left_and_found_again_at_once(world: World) -> None:
    with Server(echo) as server:
        hub, home, workplace, port = tunnelled(world, server)
        assert works(port)
        assert hub.stop() == 0
        for agent in (home, workplace):
            until(lambda agent=agent: agent.mesh["state"] != "connected", within=3.0, what="the loss is noticed")
        hub.start()
        assert seconds_until_works(port, 5.0) < 5.0


@pytest.mark.parametrize("which", ["hub", "home", "workplace"])
def test_idle_it_ends_at_once(which: str, world: World) -> None:
    with Server(echo) as server:
        hub, home, workplace, port = tunnelled(world, server)
        assert works(port)
        process = {"hub": hub, "home": home, "workplace": workplace}[which]
        process.signal(signal.SIGTERM)
        assert process.wait(AT_ONCE) == 0


def test_the_process_that_was_started_is_the_agent_itself_and_its_port_is_free_once_it_ended(world: World) -> None:
    agent = world.agent("home")
    process = Path(f"/proc/{agent.pid}")
    assert (process / "exe").readlink().name.startswith("python")
    assert (process / "task" / str(agent.pid) / "children").read_text() == ""
    agent.stop()
    agent.start()
    assert agent.ztm("get", "mesh").status == 0


@pytest.mark.parametrize("kind", ["hub", "agent"])
def test_on_a_busy_port_it_says_so_in_one_line_and_ends(kind: str, world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        names = ("--names", "h:1") if kind == "hub" else ()
        ran: Ran = run_ztm(world.path / "m", "run", kind, "--data", world.path / kind, "--listen", listen, *names)
    assert "in use" in one_line(ran, 1)


def test_each_line_of_the_log_leaves_at_once_also_into_a_pipe(world: World) -> None:
    home, port = world.path / "m", free_port()
    home.mkdir()
    words = [ZTM, "run", "agent", "--data", home / "d", "--listen", f"127.0.0.1:{port}"]
    with piped([str(word) for word in words], environment(home)) as process:
        assert process.stderr is not None
        assert b"Agent started at" in process.stderr.readline()


@contextmanager
def piped(words: list[str], variables: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process whose error output is a pipe; it is ended."""
    process = subprocess.Popen(words, stderr=subprocess.PIPE, env=variables)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_a_hub_that_is_started_twice_makes_no_second_root_credential_and_says_no_key(world: World) -> None:
    hub = world.hub()
    before = hub.permit.read_bytes()
    hub.stop()
    hub.start()
    assert hub.permit.read_bytes() == before
    hub.stop()
    hub.permit.unlink()
    hub.start()
    assert not hub.permit.exists()
    assert "was issued before" in hub.log
    assert all("PRIVATE KEY" not in text for text in world.logs().values())


@pytest.mark.parametrize("which", ["hub", "home", "workplace"])
def test_the_last_bytes_of_a_stream_arrive_though_its_reader_is_slow_and_all_else_has_ended(
    which: str, world: World
) -> None:
    with Server(named(BULK)) as server:
        hub, home, workplace, port = tunnelled(world, server)
        process = {"hub": hub, "home": home, "workplace": workplace}[which]
        with connected(port) as connection:
            beginning = read_exactly(connection, 1000)
            process.signal(signal.SIGTERM)
            until(lambda: "asked to stop" in process.log)
            assert beginning + read_all(connection) == BULK
        assert process.wait(AT_ONCE) == 0
