"""Finding records in an audit log: filters, order, bounds, files that are rotated meanwhile."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.agent.audit import files as audit_files
from ztm.agent.audit import search as audit_search
from ztm.agent.audit.files import AuditFiles, AuditLimits
from ztm.agent.audit.record import stamp
from ztm.agent.audit.search import Query, as_list, epoch_of, found, query_of
from ztm.errors import StorageError, UsageError

NOON = 1_800_000_000.0


def line(number: int, **more: Any) -> bytes:
    made = {"time": stamp(NOON + number), "duration": 0.0, "app": "ztm/tunnel", "user": "alice", "allowed": True}
    return json.dumps({**made, "subject": str(number), **more}).encode() + b"\n"


def subjects(files: AuditFiles, **query: Any) -> list[str]:
    return [json.loads(one)["subject"] for one in found(files, Query(**query))]


@pytest.fixture
def files(tmp_path: Path) -> Any:
    made = AuditFiles(tmp_path, AuditLimits(file_bytes=1000, files=4))
    yield made
    made.close()


def test_the_newest_come_last_across_rotated_files(files: AuditFiles) -> None:
    for number in range(20):
        files.append(line(number))
    assert subjects(files, limit=12) == [str(number) for number in range(8, 20)]
    assert subjects(files, limit=2, offset=3) == ["15", "16"]


def test_filters_select(files: AuditFiles) -> None:
    files.append(line(1))
    files.append(line(2, app="eve/chat", user="bob"))
    files.append(line(3, allowed=False, user="bob"))
    files.append(line(4, duration=10.0))
    assert subjects(files, app="tunnel") == subjects(files, app="ztm/tunnel") == ["1", "3", "4"]
    assert subjects(files, app="chat") == []
    assert subjects(files, app="eve/chat") == ["2"]
    assert subjects(files, user="bob") == ["2", "3"]
    assert subjects(files, is_allowed=False) == ["3"]
    assert subjects(files, is_allowed=True, user="bob") == ["2"]
    assert subjects(files, since=NOON + 3) == ["3", "4"]  # a session counts from its end
    assert subjects(files, until=NOON + 3) == ["1", "2", "3"]
    assert subjects(files, since=NOON + 2, until=NOON + 2) == ["2"]


def test_a_clock_that_was_set_back_hides_nothing(files: AuditFiles) -> None:
    for number in (100, 200, 50):
        files.append(line(number))
    assert subjects(files, since=NOON + 90) == ["100", "200"]


def test_the_search_ends_where_all_is_older(files: AuditFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (0, 10_000):
        files.append(line(number))
    read = []
    monkeypatch.setattr(audit_search, "_decode", lambda one, was=audit_search._decode: read.append(one) or was(one))
    assert subjects(files, since=NOON + 20_000) == []
    assert len(read) == 1


def test_what_is_no_record_is_skipped(files: AuditFiles) -> None:
    files.append(line(1))
    for other in (b"{\n", b"\n", b"\xff\xfe\n", b"[]\n", line(2)[:-9] + b"\n", b"x" * 100_000 + b"\n"):
        files.append(other)
    files.append(line(3, time="soon"))
    files.append(line(4))
    assert subjects(files) == ["1", "4"]


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(line(1) + line(2)[:-1])
    assert subjects(AuditFiles(tmp_path, AuditLimits())) == ["1"]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert found(AuditFiles(tmp_path / "nowhere", AuditLimits()), Query()) == []


def test_a_log_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(StorageError, match="cannot read the audit log"):
        found(AuditFiles(tmp_path, AuditLimits()), Query())


def test_a_rotation_while_reading_shows_nothing_twice(files: AuditFiles) -> None:
    for number in range(20):
        files.append(line(number))
    lines = files.backwards()
    seen = [next(lines)]
    for number in range(20, 30):
        files.append(line(number))
    seen += lines
    assert len({*seen}) == len(seen)
    assert json.loads(seen[0])["subject"] == "19"


def test_an_answer_is_bounded(files: AuditFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_search, "MOST_BYTES", 300)
    for number in range(6):
        files.append(line(number))
    assert 2 <= len(subjects(files, limit=1000)) <= 4


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(1, 200), st.binary(max_size=50))
def test_every_whole_line_is_read_once_whatever_the_blocks(sizes: list[int], block: int, torn: bytes) -> None:
    import tempfile

    lines = [b"%d:" % number + b"x" * size for number, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(audit_files, "BLOCK", block)
        (Path(name) / "audit.jsonl").write_bytes(b"".join(one + b"\n" for one in lines) + torn.replace(b"\n", b""))
        assert list(AuditFiles(Path(name), AuditLimits()).backwards()) == lines[::-1]


# ---------------------------------------------------------------------- what is asked


def test_a_time_is_rfc_3339_or_seconds() -> None:
    assert epoch_of("") == 0.0
    assert epoch_of("1800000000.5") == 1800000000.5
    assert epoch_of(stamp(NOON)) == NOON
    assert epoch_of("2027-01-15T09:00:00+01:00") == NOON
    assert epoch_of("2027-01-15T08:00:00") == NOON
    for wrong in ("soon", "1h", "-5", "1e9", "9" * 40, "0000-00-00T00:00:00Z"):
        with pytest.raises(UsageError, match="not a time"):
            epoch_of(wrong)


def test_a_query_is_checked() -> None:
    asked = query_of({"since": "5", "app": "proxy", "allowed": "false", "limit": "7", "offset": "2"})
    assert asked == Query(since=5.0, app="proxy", is_allowed=False, limit=7, offset=2)
    for wrong in ({"allowed": "no"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"offset": "-1"}):
        with pytest.raises(UsageError):
            query_of(wrong)


def test_records_are_one_list() -> None:
    assert json.loads(as_list([])) == []
    assert json.loads(as_list([b'{"a":1}', b'{"a":2}'])) == [{"a": 1}, {"a": 2}]
