"""What a tunnel carries, and what it says when it cannot."""

import contextlib
import hashlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from targets import (
    Server,
    UdpEcho,
    after_end,
    connected,
    dead_port,
    echo,
    greet,
    is_reset,
    named,
    read_all,
    read_exactly,
    say,
    send_datagram,
    works,
)
from world import World, await_exit, free_port, open_tunnel, until

pytestmark = pytest.mark.networks


def test_bytes_go_both_ways_and_each_end_is_passed_on(mesh) -> None:
    with Server(after_end) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port)
        with connected(port) as connection:
            connection.sendall(b"x" * 1000)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b"1000 bytes"


def test_a_megabyte_comes_back_unchanged(mesh) -> None:
    sent = os.urandom(1 << 20)
    with Server(echo) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port)
        with connected(port) as connection:
            writer = threading.Thread(target=connection.sendall, args=(sent,))
            writer.start()
            got = read_exactly(connection, len(sent))
            writer.join()
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b""
    assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()


def test_a_server_that_speaks_first_is_heard(mesh) -> None:
    with Server(greet) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port)
        with connected(port) as connection:
            assert read_exactly(connection, 14) == b"SSH-2.0-test\r\n"
            connection.sendall(b"hello")
            assert read_exactly(connection, 5) == b"hello"


def test_many_connections_at_once_do_not_mix(mesh) -> None:
    with Server(echo) as server, ThreadPoolExecutor(100) as pool:
        port = open_tunnel(mesh.home, mesh.workplace, server.port)
        texts = [os.urandom(2000) + str(i).encode() for i in range(200)]
        assert list(pool.map(lambda text: say(port, text), texts)) == texts


def test_a_tunnel_within_one_endpoint_works(mesh) -> None:
    with Server(echo) as server:
        assert say(open_tunnel(mesh.home, mesh.home, server.port)) == b"hello"


def test_a_client_that_resets_is_reset_at_the_target(mesh) -> None:
    ended: list[bytes | OSError] = []
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        try:
            ended.append(read_all(connection))
        except OSError as error:
            ended.append(error)
        done.set()

    with Server(serve) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port)
        with connected(port) as connection:
            connection.sendall(b"x")
            until(lambda: server.accepted, what="the target has the connection")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert done.wait(10)
        assert isinstance(ended[0], ConnectionResetError)


def test_the_exit_can_be_opened_from_another_endpoint_of_the_same_user(mesh) -> None:
    port = free_port()
    with Server(echo) as server:
        mesh.home.ok("ep", "workplace", "tunnel", "open", "outbound", "tcp/far", "--targets", server.port)
        mesh.workplace.ok("ep", "home", "tunnel", "open", "inbound", "tcp/far", "--listen", port)
        await_exit(mesh.home, mesh.workplace, "tcp/far")
        assert say(port) == b"hello"
        assert mesh.workplace.describe("outbound", "tcp/far")["targets"][0]["port"] == server.port


def test_an_inbound_listens_on_several_addresses_and_exits_can_be_chosen(mesh) -> None:
    ports = free_port(), free_port()
    with Server(named(b"home")) as here, Server(named(b"workplace")) as there:
        mesh.home.ok("tunnel", "open", "outbound", "tcp/two", "--targets", here.port)
        mesh.workplace.ok("tunnel", "open", "outbound", "tcp/two", "--targets", there.port)
        mesh.home.ok("tunnel", "open", "inbound", "tcp/two", "--listen", *ports, "--exits", "workplace")
        await_exit(mesh.home, mesh.workplace, "tcp/two")
        for port in ports:
            with connected(port) as connection:
                assert read_all(connection) == b"workplace"


def test_targets_are_balanced_and_a_dead_one_is_skipped(mesh) -> None:
    with Server(named(b"one")) as one, Server(named(b"two")) as two:
        port = open_tunnel(mesh.home, mesh.workplace, [one.port, dead_port(), two.port], name="many")
        answers = set()
        for _ in range(12):
            with connected(port) as connection:
                answers.add(read_all(connection))
        assert answers == {b"one", b"two"}
        failed = [one for one in mesh.workplace.describe("outbound", "tcp/many")["targets"] if one.get("error")]
        assert len(failed) == 1
        assert "refused" in failed[0]["error"]


def test_a_refused_target_resets_the_client_and_says_why_on_both_ends(mesh) -> None:
    target = dead_port()
    port = open_tunnel(mesh.home, mesh.workplace, target, name="dead")
    assert is_reset(port)
    for agent, end in ((mesh.home, "inbound"), (mesh.workplace, "outbound")):
        described = agent.ok("tunnel", "describe", end, "tcp/dead").out
        assert "refused" in described
        assert str(target) in described
        assert "refused" in agent.log
    with Server(echo, target):
        until(lambda: works(port), within=5, what="the target is tried again")


def test_an_unknown_target_host_is_named(mesh) -> None:
    port = free_port()
    mesh.workplace.ok("tunnel", "open", "outbound", "tcp/nohost", "--targets", "no-such-host.invalid:80")
    mesh.home.ok("tunnel", "open", "inbound", "tcp/nohost", "--listen", port)
    await_exit(mesh.home, mesh.workplace, "tcp/nohost")
    assert is_reset(port)
    assert "no-such-host.invalid" in mesh.home.ok("tunnel", "describe", "inbound", "tcp/nohost").out
    assert "no-such-host.invalid" in mesh.workplace.ok("tunnel", "describe", "outbound", "tcp/nohost").out


def test_a_tunnel_without_an_exit_resets_the_client_and_says_so(mesh) -> None:
    port = free_port()
    mesh.home.ok("tunnel", "open", "inbound", "tcp/alone", "--listen", port)
    assert is_reset(port)
    assert "no exit is known" in mesh.home.ok("tunnel", "describe", "inbound", "tcp/alone").out


@pytest.mark.long
def test_a_listening_port_that_is_taken_is_an_error_and_opens_once_it_is_free(mesh) -> None:
    with Server(echo) as target:
        port = open_tunnel(mesh.home, mesh.workplace, target.port, name="late")
        mesh.home.ok("tunnel", "close", "inbound", "tcp/late")
        with Server(echo, port):
            line = mesh.home.fails("tunnel", "open", "inbound", "tcp/late", "--listen", port)
            assert str(port) in line
            assert "in use" in line
            assert "not open" in mesh.home.ok("tunnel", "describe", "inbound", "tcp/late").out
        until(lambda: works(port), within=8, what="the port is listened on")


def test_closing_an_exit_cuts_its_connections(mesh) -> None:
    with Server(echo) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port, name="closing")
        with connected(port, 5.0) as connection:
            connection.sendall(b"hello")
            assert read_exactly(connection, 5) == b"hello"
            mesh.workplace.ok("tunnel", "close", "outbound", "tcp/closing")
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert is_reset(port)


def test_datagrams_of_every_size_come_back_whole(mesh) -> None:
    with UdpEcho() as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port, protocol="udp")
        for size in (1, 1400, 9000, 60_000, 65_000):
            data = os.urandom(size)
            assert send_datagram(port, data) == data, size


def test_clients_of_a_udp_tunnel_do_not_mix(mesh) -> None:
    with UdpEcho() as server, ThreadPoolExecutor(20) as pool:
        port = open_tunnel(mesh.home, mesh.workplace, server.port, protocol="udp")
        texts = [f"client {i}".encode() for i in range(20)]
        assert list(pool.map(lambda text: send_datagram(port, text), texts)) == texts


def test_a_udp_tunnel_is_opened_on_another_endpoint_and_closed(mesh) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with UdpEcho() as server:
        mesh.home.ok("ep", "workplace", "tunnel", "open", "outbound", "udp/dns", "--targets", server.port)
        mesh.home.ok("tunnel", "open", "inbound", "udp/dns", "--listen", port)
        await_exit(mesh.home, mesh.workplace, "udp/dns")
        assert send_datagram(port, b"query") == b"query"
        mesh.home.ok("tunnel", "close", "inbound", "udp/dns")
        mesh.home.ok("ep", "workplace", "tunnel", "close", "outbound", "udp/dns")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port))


def test_tunnels_are_kept_over_a_restart_of_their_agents(world: World) -> None:
    hub = world.hub()
    home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
    with Server(echo) as server, UdpEcho() as datagrams:
        tcp = open_tunnel(home, workplace, server.port)
        udp = open_tunnel(home, workplace, datagrams.port, protocol="udp")
        for agent in (home, workplace):
            assert agent.stop() == 0
            agent.start()
        until(lambda: works(tcp), within=5, what="the tunnel works")
        assert send_datagram(udp, b"hello") == b"hello"


def test_what_passed_is_counted(mesh) -> None:
    with Server(echo) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port, name="counted")
        assert say(port, b"x" * 5000)
        for agent, end in ((mesh.home, "inbound"), (mesh.workplace, "outbound")):
            until(lambda agent=agent, end=end: agent.describe(end, "tcp/counted")["traffic"]["open"] == 0, what="over")
            traffic = agent.describe(end, "tcp/counted")["traffic"]
            assert traffic == {"open": 0, "total": 1, "sent": 5000, "received": 5000}, agent.name
