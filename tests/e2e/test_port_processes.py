"""`ztm port` between real agents: what it carries, whom it lets, and what it says when it cannot."""

import contextlib
import socket

from targets import Server, UdpEcho, connected, dead_port, echo, is_reset, read_all, say, send_datagram
from world import free_port, until


def test_tcp_goes_by_an_endpoint_named_or_by_id_and_is_listed(mesh) -> None:
    with Server(echo) as server:
        for via in ("workplace", mesh.workplace.id):
            port = free_port()
            mesh.home.ok("port", "set", "port", "--listen", port, "--via", via, "--target", f"127.0.0.1:{server.port}")
            assert say(port) == b"hello"
            row = next(one for one in mesh.home.ok("port", "get", "port").rows if f"127.0.0.1:{port}" in one)
            assert row[:5] == ["tcp", f"127.0.0.1:{port}", "workplace", f"127.0.0.1:{server.port}", "Open"]
            mesh.home.ok("port", "delete", "port", "--listen", port)
            assert f"127.0.0.1:{port}" not in mesh.home.ok("port", "get", "port").out


def test_udp_goes_there_and_back(mesh) -> None:
    with UdpEcho() as target:
        port = free_port(socket.SOCK_DGRAM)
        where = ("--protocol", "udp", "--listen", port)
        mesh.home.ok("port", "set", "port", *where, "--via", "workplace", "--target", target.port)
        assert send_datagram(port, b"x" * 60000) == b"x" * 60000
        mesh.home.ok("port", "delete", "port", *where)


def test_another_user_reaches_what_the_access_list_says_and_is_told_why_not(mesh) -> None:
    with Server(echo) as server:
        port = free_port()
        target = f"127.0.0.1:{server.port}"
        mesh.alice.ok("port", "set", "port", "--listen", port, "--via", "workplace", "--target", target)
        assert is_reset(port)
        until(lambda: "may not reach" in mesh.alice.ok("port", "get", "port").out, what="the reason is shown")
        entry = ("--address", "127.0.0.0/8", "--port", server.port)
        mesh.home.ok("ep", "workplace", "port", "set", "acl", *entry, "--users", "alice")
        assert "alice" in mesh.workplace.ok("port", "get", "acl").out
        assert say(port) == b"hello"
        with connected(port) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            mesh.home.ok("ep", "workplace", "port", "delete", "acl", *entry)
            with contextlib.suppress(ConnectionResetError):
                assert read_all(connection) == b""
        assert is_reset(port)
        mesh.alice.ok("port", "delete", "port", "--listen", port)


def test_a_busy_port_and_a_dead_target_are_told(mesh) -> None:
    with Server(echo) as server:
        said = mesh.home.fails("port", "set", "port", "--listen", server.port, "--via", "workplace", "--target", "1")
        assert "in use" in said
        assert "in use" in mesh.home.ok("port", "get", "port").out
        mesh.home.ok("port", "delete", "port", "--listen", server.port)
    port = free_port()
    mesh.home.ok("port", "set", "port", "--listen", port, "--via", "workplace", "--target", dead_port())
    assert is_reset(port)
    until(lambda: "connection refused" in mesh.home.ok("port", "get", "port").out, what="the reason is shown")
    mesh.home.ok("port", "delete", "port", "--listen", port)
