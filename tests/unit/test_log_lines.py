"""One line an event, with the ids of what it is about, in text or JSON; and no secret in any of them."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from ztm import logs
from ztm.logs import JsonFormat, LogOptions, LogRing, TextFormat, about, bind, log_to_stderr, redact
from ztm.pki import new_key


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Our own top logger, and the root logger, as they were afterwards."""
    own, root = logging.getLogger("ztm"), logging.getLogger()
    before = own.level, root.level, root.handlers[:]
    yield own
    own.setLevel(before[0])
    root.setLevel(before[1])
    root.handlers[:] = before[2]


def record(message: str, *args: object, level: int = logging.INFO, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("ztm.hub", level, __file__, 1, message, args, None)
    made.__dict__.update(more)
    return made


def failure(message: str) -> logging.LogRecord:
    try:
        raise ValueError("bad\nluck")
    except ValueError:
        return logging.LogRecord("ztm.hub", logging.ERROR, __file__, 1, message, (), sys.exc_info())


def test_a_line_of_text_has_time_with_zone_level_message_and_ids() -> None:
    with about(mesh="m", endpoint="e-1"):
        line = TextFormat().format(record("joined %s", "it"))
    time, rest = line.split(" ", 1)
    assert datetime.fromisoformat(time).utcoffset() is not None
    assert len(time.split(".")[1]) == len("123+00:00")
    assert rest == "[INF] joined it mesh=m endpoint=e-1"


def test_a_line_of_json_is_one_object_with_the_ids_beside_the_message() -> None:
    with about(mesh="m"):
        line = JsonFormat().format(record('said "%s"', "hi", ids={"app": "ztm/tunnel"}, level=logging.WARNING))
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    expected = {"level": "warning", "logger": "ztm.hub", "message": 'said "hi"', "mesh": "m", "app": "ztm/tunnel"}
    assert found == expected


def test_a_peer_cannot_claim_another_message_by_an_id() -> None:
    with about(message="forged", level="error"):
        found = json.loads(JsonFormat().format(record("real")))
    assert (found["message"], found["level"]) == ("real", "info")


@pytest.mark.parametrize("format_", [TextFormat(), JsonFormat()], ids=["text", "json"])
def test_an_event_is_one_line_whatever_it_holds(format_: logging.Formatter) -> None:
    for text in ("a\nb", "a\r\nb", "a\x1b[2Jb", "a\u2028b\x85c", "a\x00b"):
        line = format_.format(record("%s", text))
        assert len(line.splitlines()) == 1
        assert line.isprintable()
    assert len(format_.format(failure("it failed")).splitlines()) == 1


def test_a_stack_is_in_the_line_of_its_event() -> None:
    assert r"\nValueError: bad\nluck" in TextFormat().format(failure("it failed"))
    found = json.loads(JsonFormat().format(failure("it failed")))
    assert found["message"] == "it failed"
    assert found["error"].endswith("ValueError: bad\nluck")


def test_a_message_of_any_length_gives_a_line_of_bounded_length() -> None:
    for format_ in (TextFormat(), JsonFormat()):
        assert len(format_.format(record("x" * 1_000_000))) < 2 * logs.LONGEST


def test_ids_with_blanks_are_quoted_in_text() -> None:
    with about(user="a b=c"):
        assert TextFormat().format(record("x")).endswith('x user="a b=c"')


async def test_ids_go_with_the_task_that_they_were_bound_in_and_those_it_starts() -> None:
    seen: dict[str, dict[str, str]] = {}

    async def note(name: str) -> None:
        seen[name] = logs.ids_of(record("x"))

    async def one(name: str) -> None:
        bind(mesh=name)
        await asyncio.create_task(note(name))

    await asyncio.gather(asyncio.create_task(one("a")), asyncio.create_task(one("b")))
    assert seen == {"a": {"mesh": "a"}, "b": {"mesh": "b"}}
    assert logs.ids_of(record("x")) == {}


def test_an_id_ends_with_its_body_or_when_it_is_taken_away() -> None:
    with about(mesh="m"):
        bind(hub="h")
        assert logs.ids_of(record("x")) == {"mesh": "m", "hub": "h"}
        bind(hub="")
        assert logs.ids_of(record("x")) == {"mesh": "m"}
    assert logs.ids_of(record("x")) == {}


@pytest.mark.parametrize("format_", [TextFormat(), JsonFormat()], ids=["text", "json"])
def test_what_looks_like_a_secret_is_blotted_out(format_: logging.Formatter) -> None:
    key = new_key()
    body = key.splitlines()[1]
    for text in (key, repr(key), json.dumps({"privateKey": key}), key[: len(key) // 2]):
        line = format_.format(record("it said %s", text))
        assert body[:30] not in line
        assert "[secret]" in line
    line = format_.format(record("Authorization: Bearer c2VjcmV0LXRva2Vu"))
    assert "c2VjcmV0" not in line
    assert "hunter2" not in format_.format(record("by %s", "http://me:hunter2@proxy:3128/"))


def test_public_things_are_shown_as_they_are() -> None:
    for text in ("-----BEGIN CERTIFICATE-----\nAAAA", "http://127.0.0.1:7777/metrics", "a bearer of news", "x@y"):
        assert redact(text) == text


def test_lines_kept_for_the_log_command_hold_no_secret_either() -> None:
    ring = LogRing(2)
    ring.emit(record("one"))
    ring.emit(record("two %s", new_key()))
    ring.emit(record("three", level=logging.ERROR))
    entries = ring.entries()
    assert [entry.message for entry in entries] == ["two [secret]\n", "three"]
    assert [entry.type for entry in entries] == ["info", "error"]


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_shows_itself_and_what_is_more_important(
    level: str, shown: int, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(LogOptions(level=level))
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(number, "said")
    assert len(capsys.readouterr().err.splitlines()) == shown


def test_in_the_journal_a_line_has_a_priority_and_no_second_time(
    logger: logging.Logger, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat(2)
    monkeypatch.setattr(sys, "stderr", os.fdopen(os.dup(2), "w"))
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    log_to_stderr()
    logger.warning("careful")
    sys.stderr.close()
    assert capfd.readouterr().err == "<4>[WRN] careful\n"


def test_a_line_is_out_at_once(logger: logging.Logger) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        log_to_stderr()
        logger.info("first")
        os.set_blocking(reader.fileno(), False)
        assert os.read(reader.fileno(), 4096).endswith(b"[INF] first\n")
