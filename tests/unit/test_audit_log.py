"""The audit log of one mesh: what is written, what it costs the disk, and what happens when that refuses."""

import asyncio
import errno
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ztm.agent.audit import log as audit_log
from ztm.agent.audit.files import AuditLimits
from ztm.agent.audit.log import AuditLog
from ztm.agent.audit.peers import noted, watched
from ztm.agent.audit.record import MAX_NAME, MAX_TEXT
from ztm.apps.audit import Trail, audited
from ztm.core.access import Verdict
from ztm.errors import NotFoundError, RefusedError
from ztm.model import Peer
from ztm.net.aio import AioNetwork
from ztm.net.scope import Message, Scope

HOME = ("5f0c7a3e-0000-4000-8000-000000000001", "home")


class Clock(AioNetwork):
    """A clock that stands until it is moved."""

    time = 1_800_000_000.25

    def wall(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


class Bench:
    def __init__(self, directory: Path, **more: Any) -> None:
        self.directory = directory / "mesh"
        self.clock = Clock()
        self.told = asyncio.Event()
        self.log = AuditLog(self.directory, self.clock, *HOME, tell=self.told.set, **more)
        self.audit = self.log.of("ztm/tunnel")

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.glob("audit*"))

    @property
    def records(self) -> list[dict[str, Any]]:
        self.log.save()
        return [json.loads(line) for line in (self.directory / "audit.jsonl").read_text().splitlines()]

    def write(self, subject: str = "x", **more: Any) -> None:
        with audited(self.audit, trail(subject, **more)):
            pass
        self.log.save()


def trail(subject: str = "outbound tcp/web", **more: Any) -> Trail:
    peer = more.pop("peer", Peer("alice", "ep-1", "10.1.2.3", 777))
    return Trail(side="exit", peer=peer, action="connect", subject=subject, **more)


@pytest.fixture
async def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.log.close()


# ---------------------------------------------------------------------- a record


async def test_a_session_leaves_one_line_with_all_that_is_known_of_it(bench: Bench) -> None:
    with audited(bench.audit, trail()) as told:
        told.decide(Verdict(True, "owner"))
        told.target = "10.0.0.1:80"
        told.meter.sent, told.meter.received = 5, 7
        bench.clock.time += 1.5
        assert bench.files == []
    await asyncio.sleep(0)
    assert bench.files != []
    (record,) = bench.records
    assert record == {
        "time": "2027-01-15T08:00:00.250Z", "duration": 1.5, "app": "ztm/tunnel", "side": "exit", "user": "alice",
        "endpoint": "ep-1", "from": "10.1.2.3:777", "action": "connect", "subject": "outbound tcp/web",
        "target": "10.0.0.1:80", "allowed": True, "rule": "owner", "sent": 5, "received": 7, "reason": "ended",
        "at": HOME[0], "atName": HOME[1],
    }  # fmt: skip
    assert bench.log.written == 1


async def test_the_files_are_for_their_owner_only(bench: Bench) -> None:
    bench.directory.mkdir(mode=0o700)
    (bench.directory / "audit.jsonl").touch(mode=0o644)
    bench.write()
    assert stat.S_IMODE(bench.files[0].stat().st_mode) == 0o600


async def test_nobody_can_forge_a_line_or_paint_a_terminal(bench: Bench) -> None:
    evil = 'x"}\n{"time": "forged"}\r\n\x1b[2J\u202e\u2028\x85\ud800'
    bench.write(evil, peer=Peer(evil, evil, evil, 1))
    text = (bench.directory / "audit.jsonl").read_text()
    assert len(text.splitlines()) == 1
    assert text.isprintable() or text[:-1].isprintable()
    assert "\\u202e" in bench.records[0]["subject"]


async def test_long_and_secret_texts_are_cut_out(bench: Bench) -> None:
    bench.write("x" * 5000, target="\n" * 5000, rule="http://u:secret@h/", peer=Peer("u" * 5000))
    (record,) = bench.records
    assert len(record["subject"]) == MAX_TEXT
    assert len(record["target"]) <= MAX_TEXT
    assert len(record["user"]) <= MAX_NAME
    assert record["subject"].endswith("(cut)")
    assert "secret@" not in record["rule"]


async def test_an_address_of_ipv6_can_be_told_from_its_port(bench: Bench) -> None:
    bench.write(peer=Peer("a", ip="fd00::1", port=5))
    bench.write(peer=Peer("a"))
    assert [one["from"] for one in bench.records] == ["[fd00::1]:5", ""]


# ---------------------------------------------------------------------- the disk


async def test_files_are_bounded_in_size_and_number(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limits=AuditLimits(file_bytes=1000, files=3))
    for number in range(50):
        bench.write(str(number))
    assert [one.name for one in bench.files] == ["audit.1.jsonl", "audit.2.jsonl", "audit.jsonl"]
    assert all(one.stat().st_size <= 1000 for one in bench.files)
    assert bench.records[-1]["subject"] == "49"
    bench.log.close()


async def test_a_line_that_was_torn_by_a_crash_spoils_no_other(bench: Bench) -> None:
    bench.directory.mkdir(mode=0o700)
    (bench.directory / "audit.jsonl").write_text('{"time": "20')
    bench.write()
    torn, whole = (bench.directory / "audit.jsonl").read_text().splitlines()
    assert torn == '{"time": "20'
    assert json.loads(whole)["subject"] == "x"


async def test_a_log_that_somebody_deletes_is_begun_anew(bench: Bench) -> None:
    bench.write("before")
    bench.files[0].unlink()
    bench.write("after")
    assert [one["subject"] for one in bench.records] == ["after"]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A disk that takes so many bytes more; nothing is patched while the list is empty."""
    room: list[int] = []
    write = os.write

    def limited(descriptor: int, data: bytes) -> int:
        if not room:
            return write(descriptor, data)
        taken = min(room[0], len(data))
        room[0] -= taken
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:taken])

    monkeypatch.setattr(os, "write", limited)
    yield room
    room.clear()


async def test_a_full_disk_harms_no_session_is_said_once_and_counted(
    bench: Bench, full: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    bench.write("first")
    full.append(10)
    for _ in range(3):
        bench.write("lost")
    assert (bench.log.written, bench.log.lost) == (1, 3)
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 1
    assert "the disk is full" in caplog.text
    full.clear()
    bench.write("last")
    assert [one["subject"] for one in bench.records] == ["first", "last"]  # no half line is left behind
    assert "3 records were lost" in caplog.text


async def test_the_lines_of_one_turn_are_written_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    for number in range(5):
        with audited(bench.audit, trail(str(number))):
            pass
    await asyncio.sleep(0)
    assert len(sizes) == 1
    assert [one["subject"] for one in bench.records] == list("01234")


async def test_of_lines_that_do_not_fit_together_those_are_kept_that_fit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def limited(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:700])

    monkeypatch.setattr(os, "write", limited)
    for subject in ("first", "x" * 1000, "last"):
        with audited(bench.audit, trail(subject)):
            pass
    assert [one["subject"] for one in bench.records] == ["first", "last"]
    assert (bench.log.written, bench.log.lost) == (2, 1)


async def test_a_directory_that_is_a_file_harms_no_session(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.directory.write_text("")
    bench.write()
    assert bench.log.lost == 1


# ---------------------------------------------------------------------- the agent's end


async def test_what_is_under_way_when_the_agent_stops_is_written_with_that_reason(bench: Bench) -> None:
    left = trail("left")
    bench.audit.begin(left)

    async def session() -> None:
        with audited(bench.audit, trail("cut")):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(session())
    await asyncio.sleep(0)
    bench.log.stop("the agent stopped")
    with pytest.raises(RefusedError), audited(bench.audit, trail("own reason")):
        raise RefusedError("the target said no")
    task.cancel()
    await asyncio.wait((task,))
    bench.log.close()
    bench.audit.end(left)
    assert {one["subject"]: one["reason"] for one in bench.records} == {
        "own reason": "the target said no", "cut": "the agent stopped", "left": "the agent stopped",
    }  # fmt: skip
    assert len(bench.records) == 3


async def test_followers_are_told_once_of_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "TELL_AFTER", 0.01)
    for _ in range(5):
        bench.write()
    assert not bench.told.is_set()
    await asyncio.wait_for(bench.told.wait(), 5)


async def test_a_session_that_never_began_or_ended_already_is_not_written(bench: Bench) -> None:
    one = trail()
    bench.audit.end(one)
    bench.audit.begin(one)
    bench.audit.end(one)
    bench.audit.end(one)
    bench.log.save()
    assert bench.log.written == 1


# ---------------------------------------------------------------------- peers


async def ask(app: Any, method: str, path: str = "/api/x?q=1", kind: str = "http") -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    raw = path.partition("?")[0].encode()
    await app({"type": kind, "method": method, "raw_path": raw, "extensions": {}}, receive, send)
    return sent


def answering(status: int) -> Any:
    async def app(_scope: Scope, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


async def test_a_peers_change_is_audited_and_its_look_is_not(bench: Bench) -> None:
    peer = Peer("bob", "ep-2")
    for method, status in (("GET", 200), ("HEAD", 200), ("CONNECT", 200), ("POST", 201), ("DELETE", 403)):
        assert (await ask(watched(answering(status), bench.audit, peer), method))[0]["status"] == status
    assert [(one["subject"], one["allowed"], one["reason"]) for one in bench.records] == [
        ("POST /api/x", True, "answered 201"), ("DELETE /api/x", False, "answered 403"),
    ]  # fmt: skip
    assert {(one["user"], one["action"], one["side"]) for one in bench.records} == {("bob", "configure", "exit")}


async def test_a_change_that_fails_is_audited_too(bench: Bench) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await ask(watched(broken, bench.audit, Peer("bob")), "POST")
    assert bench.records[0]["reason"] == "no answer"


async def test_what_an_app_audits_by_itself_is_not_written_twice(bench: Bench) -> None:
    async def own(scope: Scope, receive: object, send: Any) -> None:
        bench.write("own record")
        await answering(201)(scope, receive, send)

    await ask(watched(own, bench.audit, Peer("bob")), "POST")
    assert [one["subject"] for one in bench.records] == ["own record"]


async def test_a_stream_that_no_app_takes_is_audited(bench: Bench) -> None:
    class Offer:
        accepted = False

    offer: Any = Offer()
    with pytest.raises(NotFoundError), noted(bench.log, Peer("bob"), "eve", "chat\n", offer):
        raise NotFoundError("app chat does not run here")
    offer.accepted = True
    with pytest.raises(RefusedError), noted(bench.log, Peer("bob"), None, "chat", offer):
        raise RefusedError("later, within the stream")
    (record,) = bench.records
    assert (record["user"], record["allowed"], record["subject"]) == ("bob", False, "app eve/chat\\n")
    assert record["reason"] == "app chat does not run here"
