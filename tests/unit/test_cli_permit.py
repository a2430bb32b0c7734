"""`ztm permit show`: what a permit says, never its key, and why it cannot be used."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_agent import FakeAgent, running_agent
from ztm import pki
from ztm.cli.main import main
from ztm.model import Address, Permit

Captured = pytest.CaptureFixture[str]
NOW = datetime.now(UTC)
AUTHORITY = pki.Authority.create(NOW)
KEY = pki.new_key()
BOOTSTRAPS = (Address("hub.example", 8888),)


def permit(user: str = "alice", *, key: str | None = None, days: int = 365, began: int = 0, ca: str = "") -> str:
    begin = NOW - timedelta(days=began)
    certificate = AUTHORITY.sign_user(user, pki.public_key(KEY), NOW, days, not_before=begin)
    return pki.format_permit(Permit(ca or AUTHORITY.certificate, certificate, BOOTSTRAPS, key, ("site=paris",)))


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.token = ""
        running.answer("GET", "/api/identity", pki.public_key(KEY))
        yield running


def shown(tmp_path: Path, capsys: Captured, text: str, *, status: int = 0) -> dict[str, Any]:
    (tmp_path / "permit.json").write_text(text)
    assert main(["permit", "show", str(tmp_path / "permit.json"), "-o", "json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_users_permit_is_shown_with_its_facts(agent: FakeAgent, tmp_path: Path, capsys: Captured) -> None:
    found = shown(tmp_path, capsys, permit())
    assert (found["user"], found["isRoot"], found["hasPrivateKey"], found["problem"]) == ("alice", False, False, "")
    assert (found["daysLeft"], found["keyType"], found["issuer"]) in [
        (364, "EC P-256", "ca"),
        (365, "EC P-256", "ca"),
    ]
    assert (found["bootstraps"], found["labels"]) == (["hub.example:8888"], ["site=paris"])
    assert found["fitsThisAgent"] is True
    assert len(found["ca"]["fingerprint"]) == 64


def test_a_permit_of_root_is_shown_without_its_key(agent: FakeAgent, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "root.json"
    file.write_text(permit("root", key=KEY))
    for form in ("table", "json", "yaml"):
        assert main(["permit", "show", str(file), "-o", form]) == 0
        out = capsys.readouterr().out
        assert "PRIVATE KEY-----" not in out
        assert not any(line in out for line in KEY.splitlines() if len(line) > 20)
    found = shown(tmp_path, capsys, permit("root", key=KEY))
    assert (found["isRoot"], found["hasPrivateKey"], found["fitsThisAgent"]) == (True, True, True)


def test_a_permit_made_for_another_agent_is_told_from_one_that_fits(
    agent: FakeAgent, tmp_path: Path, capsys: Captured
) -> None:
    agent.answer("GET", "/api/identity", pki.public_key(pki.new_key()))
    assert shown(tmp_path, capsys, permit())["fitsThisAgent"] is False


def test_without_an_agent_a_permit_is_shown_all_the_same(
    agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ZTM_AGENT", "127.0.0.1:1")
    assert shown(tmp_path, capsys, permit())["fitsThisAgent"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (permit(days=10, began=30), "expired"),
        (permit(ca=pki.Authority.create(NOW).certificate), "was not signed by this mesh's CA"),
        (permit(key=pki.new_key()), "private key does not belong"),
    ],
)
def test_a_permit_that_nobody_can_use_says_why_and_exits_1(
    agent: FakeAgent, tmp_path: Path, capsys: Captured, text: str, said: str
) -> None:
    assert said in shown(tmp_path, capsys, text, status=1)["problem"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "invalid format of permit"),
        ("[]", "invalid format of permit"),
        ("{}", "permit missing CA certificate"),
        ('{"ca": "x"}', "permit missing user certificate"),
        ('{"ca": "x", "agent": {"certificate": "y"}}', "permit missing bootstraps"),
        ('{"ca": "x", "agent": {"certificate": "y"}, "bootstraps": ["h"]}', "invalid bootstrap address"),
        ('{"ca": "x", "agent": {"certificate": "y"}, "bootstraps": ["h:1"]}', "not a certificate"),
        ('{"ca": 7, "agent": {"certificate": "y"}, "bootstraps": ["h:1"]}', "must be texts"),
        ("[" * 100_000, "invalid format of permit"),
    ],
)
def test_what_is_no_permit_is_refused_in_one_line(
    agent: FakeAgent, tmp_path: Path, capsys: Captured, text: str, said: str
) -> None:
    (tmp_path / "bad.json").write_text(text)
    assert main(["permit", "show", str(tmp_path / "bad.json")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_missing_file_is_named(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["permit", "show", "missing.json"]) == 1
    assert "cannot open file: missing.json" in capsys.readouterr().err
