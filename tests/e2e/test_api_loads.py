"""Too much and too slowly: what strains the local API of a real agent stops nobody else."""

import resource
import socket
import time
from pathlib import Path

import pytest
from raw_http import connect, read_answer, request, send
from world import Agent, until

from ztm.agent.local.port import CONNECTIONS


def test_oversized_heads_and_bodies_are_refused_without_being_held(mesh) -> None:
    home = mesh.home
    request(home)
    before = home.rss
    line = f"POST /api/meshes/x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {home.token}\r\n"
    assert send(home, line.encode(), b"x-large: " + b"y" * 80_000 + b"\r\n\r\n").status == 431
    assert send(home, b"GET /" + b"a" * 80_000 + b" HTTP/1.1\r\n\r\n").status == 431
    piece = b"1000\r\n" + b" " * 4096 + b"\r\n"
    for framing in (b"content-length: 100000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n"):
        is_chunked = b"chunked" in framing
        answer = send(home, line.encode() + framing, *([piece] * 8000 if is_chunked else [b" " * (1 << 20)] * 30))
        assert answer.status in (413, 0), answer  # 0: it closed while we were still sending
    unknown = send(home, b"POST /api/meshes/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n")
    assert unknown.status == 401
    assert home.rss - before < 40 << 20
    assert request(home).status == 200


def test_slow_heads_and_bodies_stop_nobody(mesh) -> None:
    home = mesh.home
    head = f"POST /api/meshes/x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {home.token}\r\n"
    starts = (b"GET /api/mesh", b"PRI * HT", head.encode(), head.encode() + b"content-length: 100\r\n\r\n{")
    slow = [connect(home) for _ in range(100)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall(starts[number % len(starts)])
        begin = time.monotonic()
        assert request(home).status == 200
        assert time.monotonic() - begin < 5.0
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.long
def test_a_slow_head_and_the_slow_body_of_a_stranger_are_cut(mesh) -> None:
    home = mesh.home
    login = b"POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n"
    with connect(home, 30.0) as head, connect(home, 30.0) as body:
        head.sendall(b"GET /api/mesh")
        body.sendall(login + b'{"tok')
        begin = time.monotonic()
        told = read_answer(body)
        assert told.status == 408
        assert read_answer(head).status == 0
        assert time.monotonic() - begin < 20.0


def open_files(agent: Agent) -> int:
    return len(list(Path(f"/proc/{agent.pid}/fd").iterdir()))


def test_a_thousand_connections_stop_nobody_and_leave_nothing_behind(mesh) -> None:
    home = mesh.home
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("this system gives a process too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    request(home)
    until(lambda: open_files(home) < 200, what="earlier connections are gone")
    files, memory = open_files(home), home.rss
    crowd: list[socket.socket] = []
    try:
        for number in range(1000):
            crowd.append(connect(home))
            crowd[-1].sendall((b"", b"G", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")[number % 3])
        until(lambda: open_files(home) >= 1000, what="all are accepted")
        begin = time.monotonic()
        assert request(home).status == 200
        assert time.monotonic() - begin < 5.0
        assert home.rss - memory < 60 << 20
    finally:
        for connection in crowd:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: open_files(home) <= files + 2, what="the files come back")
    assert request(home).status == 200
    assert "Traceback" not in home.log


def test_a_connection_beyond_the_bound_is_told_so(mesh) -> None:
    home = mesh.home
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 1000:
        pytest.skip("this system gives a process too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 1000), hard))
    crowd: list[socket.socket] = []
    try:
        crowd.extend(connect(home) for _ in range(CONNECTIONS + 1))
        answer = read_answer(crowd[-1])
    finally:
        for connection in crowd:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (answer.status, answer.message) == (503, f"{CONNECTIONS} connections are open already: close some first")
    until(lambda: open_files(home) < 200, what="the files come back")
    assert request(home).status == 200
