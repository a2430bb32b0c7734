"""Moving contents by the command line, against agents that send too little, something else, or refuse."""

import contextlib
import io
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_agent import HOME_ID, WORK_ID, FakeAgent, endpoint_object, running_agent
from ztm.cli import client, talk, transfer
from ztm.cli.main import main
from ztm.core.files import file_hash
from ztm.model import Address

Captured = pytest.CaptureFixture[str]
PATH = "/shared/root/doc.txt"
CONTENT = b"hello world"
HASH = file_hash(CONTENT, PATH)
URL = f"/api/meshes/m/file-data{PATH}"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(endpoint_object(), endpoint_object(WORK_ID, "work")))
        yield running


class Scripted:
    """An agent that answers one request with fixed bytes, and keeps what it got."""

    def __init__(self, listener: socket.socket, answer: bytes, before_body: bytes) -> None:
        self.got = b""
        self._listener = listener
        self._answer = answer
        self._before_body = before_body
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while b"\r\n\r\n" not in self.got:
                self.got += connection.recv(65536)
            if self._before_body:
                connection.sendall(self._before_body)
            if b"chunked" in self.got:
                while not self.got.endswith(b"0\r\n\r\n"):
                    self.got += connection.recv(65536)
            with contextlib.suppress(OSError):  # the command may have left
                if self._answer:
                    connection.sendall(self._answer)
                    connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65536):
                    self.got += more


@contextmanager
def scripted(monkeypatch: pytest.MonkeyPatch, answer: bytes, before_body: bytes = b"") -> Iterator[Scripted]:
    """Have such an agent run instead; its mesh is known without asking."""
    monkeypatch.setattr("ztm.cli.resolve.find_mesh", lambda *_: {"name": "m", "agent": {"id": HOME_ID}})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        monkeypatch.setenv("ZTM_AGENT", f"127.0.0.1:{listener.getsockname()[1]}")
        made = Scripted(listener, answer, before_body)
        made.thread.start()
        try:
            yield made
        finally:
            made.thread.join(10)


def content(body: bytes, *, length: int | None = None, digest: str | None = HASH) -> bytes:
    """An answer with a content."""
    fields = f"content-length: {len(body) if length is None else length}\r\nconnection: close\r\n"
    tag = f'etag: "{digest}"\r\n' if digest else ""
    return f"HTTP/1.1 200 OK\r\n{fields}{tag}\r\n".encode() + body


# ---------------------------------------------------------------------- downloads


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (content(CONTENT, length=100), "broke off after 11 of 100 bytes"),
        (content(b"", length=100), "broke off after 0 of 100 bytes"),
        (content(b"hello w0rld"), "damaged"),
        (content(b""), "damaged"),
    ],
)
def test_a_content_that_is_cut_or_damaged_is_an_error_and_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, answer: bytes, why: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for older in (None, b"older"):
        if older is not None:
            (folder / "target").write_bytes(older)
        with scripted(monkeypatch, answer):
            assert main(["download", "file", PATH, "-o", str(folder / "target")]) == 1
        assert why in capsys.readouterr().err
        assert [one.read_bytes() for one in folder.iterdir()] == ([] if older is None else [older])


def test_what_is_sent_without_a_hash_is_taken_by_its_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(monkeypatch, content(b"anything", digest=None)) as agent:
        assert main(["download", "file", "shared/root/../root/doc.txt", "-o", str(tmp_path / "target")]) == 0
    assert (tmp_path / "target").read_bytes() == b"anything"
    assert agent.got.startswith(f"GET {URL} HTTP/1.1".encode())


def test_a_new_file_has_the_mode_that_any_new_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    before = os.umask(0o027)
    try:
        with scripted(monkeypatch, content(CONTENT)):
            assert main(["download", "file", PATH, "-o", str(target)]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "link"
    target.symlink_to(tmp_path / "real")
    with scripted(monkeypatch, content(CONTENT)):
        assert main(["download", "file", PATH, "-o", str(target)]) == 0
    assert target.is_symlink()
    assert (tmp_path / "real").read_bytes() == CONTENT


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer.os, "fsync", interrupt)
    with scripted(monkeypatch, content(CONTENT)):
        assert main(["download", "file", PATH, "-o", str(folder / "target")]) == 130
    assert list(folder.iterdir()) == []


# ---------------------------------------------------------------------- uploads

CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_file_is_sent_with_its_length_and_standard_input_in_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    with scripted(monkeypatch, CREATED, CONTINUE) as agent:
        assert main(["publish", "file", PATH, "-i", str(source)]) == 0
    head, _, body = agent.got.partition(b"\r\n\r\n")
    assert head.startswith(f"POST {URL} HTTP/1.1".encode())
    assert b"content-length: 11" in head.lower()
    assert body == CONTENT
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    with scripted(monkeypatch, CREATED, CONTINUE) as agent:
        assert main(["publish", "file", PATH, "-i", "-"]) == 0
    assert agent.got.partition(b"\r\n\r\n")[2] == b"b\r\nhello world\r\n0\r\n\r\n"


def test_a_refused_upload_sends_no_byte_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT * 100_000)
    refusal = b'{"status":403,"message":"not yours"}'
    head = f"HTTP/1.1 403 Forbidden\r\ncontent-length: {len(refusal)}\r\nconnection: close\r\n\r\n".encode()
    with scripted(monkeypatch, b"", head + refusal) as agent:
        assert main(["publish", "file", PATH, "-i", str(source)]) == 1
    assert capsys.readouterr().err == "ztm: not yours\n"
    assert agent.got.endswith(b"\r\n\r\n")


def test_an_agent_that_never_says_that_it_wants_the_body_gets_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "CONTINUING", 0.01)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    with scripted(monkeypatch, CREATED) as agent:
        assert main(["publish", "file", PATH, "-i", "-"]) == 0
    assert b"hello world" in agent.got


def test_a_file_that_shrinks_while_it_is_read_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    fstat = os.fstat

    class Longer:
        st_mode = stat.S_IFREG
        st_size = len(CONTENT) + 1

    monkeypatch.setattr(transfer.os, "fstat", lambda number: Longer if fstat(number).st_size == 11 else fstat(number))
    with scripted(monkeypatch, b"", CONTINUE) as agent:
        assert main(["publish", "file", PATH, "-i", str(source)]) == 1
    assert "has become shorter" in capsys.readouterr().err
    assert agent.got.endswith(CONTENT)  # one byte is missing of what was announced: the agent takes nothing


# ---------------------------------------------------------------------- tables


def test_files_are_shown_in_every_form(agent: FakeAgent, capsys: Captured) -> None:
    files = {
        "/users/root/b": {"hash": "h2", "size": 2, "time": 1795431602722},
        "/shared/root/a": {"hash": "h1", "size": 30, "time": 9007199254740991},
    }
    agent.answer("GET", "/api/meshes/m/files", files)
    assert main(["get", "file", "-o", "name"]) == 0
    assert capsys.readouterr().out == "/shared/root/a\n/users/root/b\n"
    assert main(["get", "file", "users", "-o", "wide", "--no-headers"]) == 0
    assert capsys.readouterr().out.split()[-1] == "h2"
    assert main(["get", "file"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["PATH", "SIZE", "TIME"]
    assert len(rows) == 3


def test_a_file_is_described_with_the_names_of_its_sources(agent: FakeAgent, capsys: Captured) -> None:
    found = {"hash": HASH, "size": 11, "time": 1795431602722, "since": 1795431603173, "sources": [WORK_ID, "gone"]}
    agent.answer("GET", f"/api/meshes/m/files{PATH}", found)
    assert main(["describe", "file", PATH.lstrip("/")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines[:5]] == ["Path", "Size", "Time", "Hash", "Sources:"]
    assert [line.split() for line in lines[6:]] == [["work", WORK_ID], ["gone"]]


@pytest.mark.parametrize("command", ["download", "erase", "unpublish", "publish"])
def test_files_are_this_machines_whatever_endpoint_is_named(command: str, capsys: Captured) -> None:
    assert main(["ep", "work", command, "file", PATH]) == 2
    assert "this machine's agent only" in capsys.readouterr().err


def test_erasing_and_unpublishing_ask_the_agent_about_the_path(agent: FakeAgent) -> None:
    agent.answer("DELETE", "/api/meshes/m/files/shared/root/a%20b")
    agent.answer("DELETE", "/api/meshes/m/file-data/shared/root/a%20b")
    assert main(["erase", "file", "/shared/root//a b", "--yes"]) == 0
    assert main(["unpublish", "file", "shared/root/x/../a b"]) == 0
    assert len(agent.sent("DELETE")) == 2


def test_a_token_that_is_refused_first_is_replaced_before_the_body_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two agents of this user are known, so the one that listens says which it is."""
    taken: list[bytes] = []
    wanted = b"HTTP/1.1 401 Unauthorized\r\nztm-agent: two\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for before, after in ((b"", wanted), (CONTINUE, CREATED)):
                connection, _ = listener.accept()
                with connection:
                    got = b""
                    while b"\r\n\r\n" not in got:
                        got += connection.recv(65536)
                    connection.sendall(before or after)
                    while before and not got.endswith(CONTENT):
                        got += connection.recv(65536)
                    if before:
                        connection.sendall(after)
                    taken.append(got)

        address = Address("127.0.0.1", listener.getsockname()[1])
        with running_agent(tmp_path, monkeypatch) as both:
            for instance in ("one", "two"):
                both.leave_pointer(instance, f"token-{instance}", str(address))
        thread = threading.Thread(target=serve)
        thread.start()
        agent = client.AgentClient(address)
        agent.upload(URL, iter([CONTENT]), len(CONTENT))
        thread.join(10)
    assert [CONTENT in got for got in taken] == [False, True]
    assert b"Authorization: Bearer token-two" in taken[1]
