"""`ztm permit list`, `ztm permit revoke` and `ztm invite --expires`, against an agent of canned answers."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_agent import FakeAgent, running_agent
from ztm.cli.completing.live import Live
from ztm.cli.context import Context
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
KEY = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"
NOON = 1_795_435_200_000
DAY = 86_400_000


def permit(id_: str, user: str = "alice", key: str = "ab" * 32, **changes: Any) -> dict[str, Any]:
    dates = {"issued": NOON, "notBefore": NOON, "expiration": NOON + 365 * DAY, "ends": None, "revoked": None}
    return {"id": id_, "username": user, "key": key, "issuedBy": "root", "state": "valid", **dates, **changes}


PERMITS = [
    permit("0a1b2c3d4e5f"),
    permit("0a9999999999", key="cd" * 32, state="expiring", expiration=NOON + 3 * DAY, ends=NOON + 3 * DAY),
    permit("777777777777", "root", "ef" * 32, issuedBy="hub", expiration=NOON + 200 * DAY),
    permit("888888888888", "bob", "01" * 32, state="revoked", revoked=NOON + DAY, issuedBy=""),
]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    monkeypatch.chdir(tmp_path)
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined()
        running.answer("GET", "/api/meshes/m/permits", PERMITS)
        yield running


def rows(capsys: Captured, *words: str) -> list[list[str]]:
    assert main(["permit", "list", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_permits_are_listed_with_user_key_dates_and_state(agent: FakeAgent, capsys: Captured) -> None:
    headings, first, *_, last = rows(capsys)
    assert headings == ["ID", "USER", "KEY", "ISSUED", "EXPIRES", "STATE"]
    assert (first[:3], first[-1]) == (["0a1b2c3d4e5f", "alice", "ab" * 8], "valid")
    assert "2026" in first[3]
    assert "2027" in first[4]
    assert last[-1] == "revoked"


def test_the_wide_form_tells_who_asked_and_whether_it_may_be_renewed(agent: FakeAgent, capsys: Captured) -> None:
    headings, first, second, third, last = rows(capsys, "-o", "wide")
    assert headings[6:] == ["ISSUED BY", "RENEWABLE", "REVOKED"]
    assert [row[6:8] for row in (first, second, third)] == [["root", "yes"], ["root", "no"], ["hub", "yes"]]
    assert last[6:8] == ["n/a", "yes"]
    assert "2026" in last[8]


def test_permits_are_sorted_by_time_and_given_to_scripts(agent: FakeAgent, capsys: Captured) -> None:
    ids = [row[0] for row in rows(capsys, "--sort", "expires", "--no-headers")]
    assert ids[:2] == ["0a9999999999", "777777777777"]
    assert main(["permit", "list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == PERMITS
    assert rows(capsys, "-o", "name") == [[one["id"]] for one in PERMITS]


def test_whoever_may_not_see_them_is_told_why(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes/m/permits", {"status": 403, "message": "only root may list permits"}, 403)
    assert main(["permit", "list"]) == 1
    assert capsys.readouterr().err == "ztm: cannot list the permits of mesh 'm': only root may list permits\n"


def test_revoking_takes_the_beginning_of_an_id_and_says_who_was_cut_off(agent: FakeAgent, capsys: Captured) -> None:
    cut = {"endpoints": [{"id": "e1", "name": "laptop"}, {"id": "e2", "name": ""}]}
    agent.answer("DELETE", "/api/meshes/m/permits/0a1b2c3d4e5f", cut)
    assert main(["permit", "revoke", "0A1", "--yes"]) == 0
    assert capsys.readouterr().out == "Revoked permit 0a1b2c3d4e5f of alice in mesh m: cut off laptop, e2\n"


def test_revoking_what_nobody_uses_says_so(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("DELETE", "/api/meshes/m/permits/0a1b2c3d4e5f", {"endpoints": []})
    assert main(["permit", "revoke", "0a1b2c3d4e5f"]) == 0
    assert capsys.readouterr().out == "Revoked permit 0a1b2c3d4e5f of alice in mesh m: no one used it\n"


def test_other_users_of_the_same_key_are_named(agent: FakeAgent, capsys: Captured) -> None:
    shared = [permit("111111111111", "bob"), permit("222222222222", "bbo")]
    agent.answer("GET", "/api/meshes/m/permits", shared)
    agent.answer("DELETE", "/api/meshes/m/permits/222222222222", {"endpoints": []})
    assert main(["permit", "revoke", "2"]) == 0
    assert "permit 222222222222 of bbo, bob in mesh m" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("begun", "said"),
    [("0a", "several permits' ids begin with '0a': 0a1b2c3d4e5f of alice, 0a9999999999"), ("ff", "see 'ztm permit li")],
)
def test_an_id_that_means_none_or_several_is_refused(agent: FakeAgent, capsys: Captured, begun: str, said: str) -> None:
    assert main(["permit", "revoke", begun, "--yes"]) == 1
    assert said in capsys.readouterr().err
    assert agent.sent("DELETE") == []


def test_a_revoked_permit_is_not_revoked_again(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["permit", "revoke", "8888", "--yes"]) == 0
    assert capsys.readouterr().out == "Permit 888888888888 of bob in mesh m was revoked before\n"
    assert agent.sent("DELETE") == []


def test_a_person_is_asked_first(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    monkeypatch.setattr("ztm.cli.output.is_terminal", lambda _stream: True)
    assert main(["permit", "revoke", "0a1"]) == 1
    assert "Revoke permit 0a1b2c3d4e5f of user 'alice', cutting off who uses it? [y/N]" in capsys.readouterr().err
    assert agent.sent("DELETE") == []


def test_an_invitation_says_after_how_many_days_it_ends(agent: FakeAgent, capsys: Captured) -> None:
    Path("alice.pem").write_text(KEY)
    agent.answer("POST", "/api/meshes/m/permits/alice", '{"ca":"x"}')
    assert main(["invite", "alice", "-i", "alice.pem", "--expires", "30"]) == 0
    assert [path for path, _ in agent.sent("POST")] == ["/api/meshes/m/permits/alice?expires=30"]


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "soon", "", "366"])
def test_an_expiry_that_is_no_number_of_days_is_a_mistake(agent: FakeAgent, capsys: Captured, days: str) -> None:
    Path("alice.pem").write_text(KEY)
    assert main(["invite", "alice", "-i", "alice.pem", f"--expires={days}"]) == 2
    assert "--expires" in capsys.readouterr().err
    assert agent.sent("POST") == []


def test_ids_that_can_be_revoked_are_offered(agent: FakeAgent) -> None:
    offered = Live(Context()).named("permit")
    assert offered == [
        ("0a1b2c3d4e5f", "alice, valid"),
        ("0a9999999999", "alice, expiring"),
        ("777777777777", "root, valid"),
    ]
