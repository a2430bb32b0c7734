"""The log of requests: what is seen in passing, what is hidden, where it goes, and that nobody waits for it."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from app_mesh import LOOPBACK, read_exactly
from proxy_mesh import ProxyMesh, proxies
from test_proxy_exit_interception import NAME, connected, opened
from tls_origin import ANSWER, Origin

from ztm.apps.proxy.requests import book as books
from ztm.apps.proxy.requests.file import KEPT, LogFile
from ztm.apps.proxy.requests.watch import CONCEALED, MAX_HEAD, RequestWatch, Seen
from ztm.errors import StorageError
from ztm.model import Peer

SECRET = "s3cr3t-value"
POST = (
    b"POST /form?a=1 HTTP/1.1\r\nHost: a.test\r\nCookie: id=s3cr3t-value\r\nAuthorization: Bearer s3cr3t-value\r\n"
    b"Proxy-Authorization: Basic s3cr3t-value\r\nContent-Length: 5\r\n\r\nhello"
)
CHUNKED = (
    b"PUT /up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nt: v\r\n\r\n"
)
GET = b"GET /last HTTP/1.1\r\nhost: a.test\r\n\r\n"


def watched(*parts: bytes) -> list[Seen]:
    seen: list[Seen] = []
    watch = RequestWatch(seen.append)
    for part in parts:
        watch.feed(part)
    watch.end()
    return seen


def test_requests_are_seen_one_after_another_however_their_bytes_come() -> None:
    whole = POST + CHUNKED + b"\r\n" + GET
    expected = [("POST", "/form?a=1", 5), ("PUT", "/up", 7), ("GET", "/last", 0)]
    pieces = [[whole], [whole[at : at + 1] for at in range(len(whole))], [whole[:100], whole[100:]]]
    for parts in pieces:
        assert [(one.method, one.path, one.size) for one in watched(*parts)] == expected


def test_secrets_of_a_request_are_concealed() -> None:
    (seen,) = watched(POST)
    assert SECRET not in repr(seen)
    assert seen.headers["cookie"] == seen.headers["authorization"] == seen.headers["proxy-authorization"] == CONCEALED
    assert seen.headers["host"] == "a.test"


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-x\r\n", b"\x16\x03\x01", b"GET / HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100,
     b"GET  / HTTP/1.1\r\n\r\n", b"\r\nx", b"GET / HTTP/1.1\r\na: " + b"x" * MAX_HEAD],
)  # fmt: skip
def test_what_is_no_http_is_not_looked_at_and_not_kept(data: bytes) -> None:
    seen: list[Seen] = []
    watch = RequestWatch(seen.append)
    for _ in range(3):
        watch.feed(data)
    watch.end()
    assert seen == []
    assert len(watch._buffer) <= MAX_HEAD


@pytest.mark.parametrize("length", ["x", "-1", "9" * 30, "1, 1"])
def test_a_request_whose_end_cannot_be_told_is_the_last_that_is_seen(length: str) -> None:
    data = b"POST /x HTTP/1.1\r\ncontent-length: " + length.encode() + b"\r\n\r\n"
    assert [one.path for one in watched(data, GET)] == ["/x"]


def test_what_follows_a_connect_is_not_looked_at() -> None:
    assert [one.method for one in watched(b"CONNECT a:1 HTTP/1.1\r\n\r\n" + GET)] == ["CONNECT"]


# ---------------------------------------------------------------------- the file


async def lines(mesh: ProxyMesh, directory: Path, count: int) -> list[dict[str, Any]]:
    """What is in the exit's file, once there are so many."""
    path = directory / "exit" / "requests.log"
    while not path.exists() or path.read_text().count("\n") < count:
        await asyncio.sleep(0)
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_requests_in_plain_http_are_logged_to_a_private_file(tmp_path: Path) -> None:
    async with proxies(tmp_path) as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        await mesh.join("exit")
        await mesh.configure("exit", targets=["127.0.0.0/8"], log={"file": {}})
        stream, _ = await mesh.reach("entry", LOOPBACK, port)
        await stream.write(POST + GET)
        assert await read_exactly(stream, len(POST + GET)) == POST + GET
        first, second = await lines(mesh, tmp_path, 2)
        assert (first["method"], first["path"], first["size"]) == ("POST", "/form?a=1", 5)
        assert (first["username"], first["endpoint"], first["ip"]) == ("alice", mesh.place("entry"), LOOPBACK)
        assert (second["target"], second["path"]) == (f"{LOOPBACK}:{port}", "/last")
        path = tmp_path / "exit" / "requests.log"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert SECRET not in path.read_text()
        stream.abort()


async def test_who_is_denied_is_logged_as_such(tmp_path: Path) -> None:
    async with proxies(tmp_path) as mesh:
        await mesh.join("exit")
        await mesh.configure("exit", targets=["*"], rules=[{"action": "deny"}], log={"file": {}})
        assert (await mesh.ask_as("exit", "CONNECT", "/api/targets/a.test:80", "alice"))[0] == 403
        (line,) = await lines(mesh, tmp_path, 1)
        assert (line["target"], line["username"], line["denied"]) == ("a.test:80", "alice", True)


async def test_requests_inside_of_opened_tls_are_logged(tmp_path: Path) -> None:
    async with opened(tmp_path, log={"file": {}}) as (mesh, served):
        stream = await connected(mesh, served, "http/1.1")
        await stream.write(POST[:-5].replace(b"5\r\n", b"0\r\n"))
        assert await read_exactly(stream, len(ANSWER)) == ANSWER
        (line,) = await lines(mesh, tmp_path, 1)
        assert (line["target"], line["path"]) == (f"{NAME}:{served.port}", "/form?a=1")
        assert SECRET not in repr(line)
        stream.abort()


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def test_the_file_is_rotated_and_a_few_old_ones_are_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "x.log", max_bytes=100)
    for number in range(20):
        await file.write([(0.0, {"number": number, "padding": "x" * 50})])
    names = ["x.log", *(f"x.log.{number}" for number in range(1, KEPT + 1))]
    assert modes(tmp_path) == dict.fromkeys(names, 0o600)
    assert json.loads((tmp_path / "x.log").read_text())["number"] == 19
    assert json.loads((tmp_path / "x.log.1").read_text())["number"] == 18


async def test_a_log_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / "x.log").symlink_to(victim)
    with pytest.raises(StorageError):
        await LogFile(tmp_path / "x.log").write([(0.0, {"a": 1})])
    assert victim.read_text() == ""


# ---------------------------------------------------------------------- Splunk


class Collector(Origin):
    """A Splunk collector on TLS that keeps the events and answers as told."""

    def __init__(self, directory: Path, *names: str) -> None:
        super().__init__(directory, *names)
        self.context.set_alpn_protocols(["http/1.1"])
        self.heads: list[bytes] = []
        self.events: list[Any] = []
        self.status = b"200 OK"
        self.came = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        rest = (await reader.readexactly(size)).decode()
        self.heads.append(head)
        while rest:
            event, end = json.JSONDecoder().raw_decode(rest)
            self.events.append(event)
            rest = rest[end:]
        writer.write(b"HTTP/1.1 " + self.status + b"\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        self.came.set()
        writer.close()


async def collected(collector: Collector) -> asyncio.Server:
    server = await asyncio.start_server(collector.serve, LOOPBACK, 0, ssl=collector.context)
    collector.port = server.sockets[0].getsockname()[1]
    return server


async def test_splunk_is_told_over_verified_tls_and_tried_again_with_what_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(books, "RETRY_SECONDS", 0.01)
    collector = Collector(tmp_path, LOOPBACK)
    collector.status = b"503 Busy"
    server = await collected(collector)
    async with proxies(tmp_path) as mesh:
        await mesh.join("exit")
        splunk = {"address": f"{LOOPBACK}:{collector.port}", "token": SECRET}
        await mesh.configure("exit", targets=["*"], log={"splunk": splunk}, originCa=str(collector.ca))
        book = mesh.apps[mesh.place("exit")].proxy.exit.book
        book.note(Peer("alice", "e", "10.0.0.1"), "a.test:80", Seen("GET", "/", {"host": "a.test"}, 0))
        await collector.came.wait()
        assert f"Authorization: Splunk {SECRET}".lower().encode() in collector.heads[0].lower()
        assert collector.heads[0].startswith(b"POST /services/collector/event ")
        collector.status = b"200 OK"
        await book.emptied(5.0)
        assert book.written == 1
        assert collector.events[0] == collector.events[-1]
        event = collector.events[0]["event"]
        assert event.pop("time").endswith("Z")
        assert event == {
            "username": "alice", "endpoint": "e", "ip": "10.0.0.1", "target": "a.test:80", "method": "GET",
            "path": "/", "headers": {"host": "a.test"}, "size": 0,
        }  # fmt: skip
        assert SECRET not in caplog.text
    server.close()


async def test_splunk_is_told_nothing_if_its_certificate_is_not_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(tmp_path, LOOPBACK)
    server = await collected(collector)
    async with proxies(tmp_path) as mesh:
        await mesh.join("exit")
        splunk = {"address": f"{LOOPBACK}:{collector.port}", "token": SECRET}
        await mesh.configure("exit", targets=["*"], log={"splunk": splunk})
        book = mesh.apps[mesh.place("exit")].proxy.exit.book
        book.note(Peer("alice"), "a.test:80", Seen("GET", "/", {}, 0))
        while "cannot be logged" not in caplog.text:
            await asyncio.sleep(0)
        assert "certificate" in caplog.text
        assert collector.heads == []
        mesh.apps[mesh.place("exit")].proxy.exit.book._queue.clear()
    server.close()


async def test_nobody_waits_for_a_log_that_takes_nothing_and_what_is_dropped_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "QUEUED", 10)
    async with proxies(tmp_path) as mesh:
        await mesh.join("exit")
        splunk = {"address": "http://127.0.0.1:1", "token": SECRET}
        await mesh.configure("exit", targets=["*"], log={"splunk": splunk})
        app = mesh.apps[mesh.place("exit")]
        for number in range(25):
            app.proxy.exit.book.note(Peer("alice"), "a.test:80", Seen("GET", f"/{number}", {}, 0))
        assert app.figures()["requests_dropped_total"] == 15
        assert len(app.proxy.exit.book._queue) == 10
        app.proxy.exit.book._queue.clear()
