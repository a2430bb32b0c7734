"""`ztm doctor`: what each check finds when something is wrong, and a bundle that tells no secret."""

import json
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_agent import HOME_ID, FakeAgent, mesh_object, running_agent
from ztm import pki
from ztm.cli.checkup.bundle import clean_of_secrets
from ztm.cli.checkup.findings import Check, Finding, concurrently
from ztm.cli.checkup.hub import hub_check
from ztm.cli.main import main
from ztm.model import Address
from ztm.net.base import TlsConfig
from ztm.net.tls import context

Captured = pytest.CaptureFixture[str]
NOW = datetime.now(UTC)
AUTHORITY = pki.Authority.create(NOW - timedelta(days=200))
HUB = "91d0cd3d-c2da-4818-b5e5-0c47c96fec46"
KEY = pki.new_key()


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[Address]:
    """A server that serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield Address("127.0.0.1", server.getsockname()[1])
        thread.join()


def hub(certificate: str) -> Callable[[socket.socket], None]:
    """The TLS of a hub that shows `certificate`."""
    tls = context(
        TlsConfig(ca=AUTHORITY.certificate, certificate=certificate, key=KEY, admit=lambda _: None), server=True
    )

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):  # the stranger without a certificate is turned away
            tls.wrap_socket(connection, server_side=True).close()

    return serve


def found(address: Address, ca: str = AUTHORITY.certificate) -> dict[str, Finding]:
    """What the check of a hub finds, by its last word."""
    return {one.what.rpartition(" ")[2]: one for one in hub_check(address, ca, "m").run()}


def test_a_hub_of_the_mesh_passes_every_check() -> None:
    with listening(hub(AUTHORITY.sign_hub(HUB, pki.public_key(KEY), NOW))) as address:
        checks = found(address)
    assert {name: one.level for name, one in checks.items()} == dict.fromkeys(
        ("name", "TCP", "TLS", "certificate"), "ok"
    )
    assert HUB in checks["certificate"].why


@pytest.mark.parametrize(
    ("certificate", "ca", "said"),
    [
        (AUTHORITY.sign_hub(HUB, pki.public_key(KEY), NOW - timedelta(days=99)), AUTHORITY.certificate, "expired"),
        (
            AUTHORITY.sign_hub(HUB, pki.public_key(KEY), NOW),
            pki.Authority.create(NOW).certificate,
            "was not signed by this mesh's CA",
        ),
        (AUTHORITY.sign_user("mallory", pki.public_key(KEY), NOW), AUTHORITY.certificate, "may not act as a server"),
    ],
)
def test_a_hub_with_a_wrong_certificate_fails_and_says_why(certificate: str, ca: str, said: str) -> None:
    with listening(hub(certificate)) as address:
        finding = found(address, ca)["certificate"]
    assert finding.level == "fail"
    assert said in finding.why
    assert finding.do


def test_what_does_not_speak_tls_is_called_so() -> None:
    def web(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(web) as address:
        assert found(address)["TLS"].why == "what listens there does not speak TLS"


def test_a_hub_that_agrees_on_no_key_exchange_leads_to_the_options_for_it() -> None:
    def stubborn(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # a fatal alert: handshake_failure (RFC 8446 section 6)

    with listening(stubborn) as address:
        assert "--pqc-key-exchange" in found(address)["TLS"].do


def test_who_hangs_up_in_the_handshake_is_no_hub() -> None:
    with listening(lambda connection: None) as address:
        assert found(address)["TLS"].level in ("fail", "warn")


def test_a_closed_port_and_an_unknown_name_are_told_apart() -> None:
    closed = found(Address("127.0.0.1", 1))
    assert (closed["name"].level, closed["TCP"].level) == ("ok", "fail")
    assert "refused" in closed["TCP"].why
    unknown = found(Address("nosuch.invalid", 1))
    assert unknown["name"].level == "fail"
    assert "cannot be resolved" in unknown["name"].why


def test_a_hub_out_of_reach_is_a_warning_where_the_agent_has_its_way_but_a_wrong_one_is_not() -> None:
    closed = hub_check(Address("127.0.0.1", 1), AUTHORITY.certificate, "m", is_needed=False).run()
    assert [one.level for one in closed] == ["ok", "warn"]
    with listening(hub(AUTHORITY.sign_hub(HUB, pki.public_key(KEY), NOW))) as address:
        wrong = hub_check(address, pki.Authority.create(NOW).certificate, "m", is_needed=False).run()
    assert wrong[-1].level == "fail"


def test_checks_run_at_once_and_one_that_hangs_delays_no_other() -> None:
    hangs, meets = threading.Event(), threading.Barrier(2)

    def together() -> list[Finding]:
        meets.wait(30)  # passes only if the other runs meanwhile
        return [Finding("ok", "met", "")]

    def refused() -> list[Finding]:
        raise OSError("refused")

    checks = [
        Check("hang", lambda: [Finding("ok", str(hangs.wait(60)), "")]),
        *(Check("meet", together) for _ in range(2)),
        Check("bad", refused),
    ]
    results = concurrently(checks, 2.0)
    hangs.set()
    assert [one.level for one in results] == ["fail", "ok", "ok", "fail"]
    assert (results[0].why, results[3].why) == ("no answer within 2 s", "refused")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.token = "secret-of-the-agent-0123456789"
        (tmp_path / "agent-data").mkdir(mode=0o700)
        running.leave_pointer("one", running.token)
        (tmp_path / ".ztm").chmod(0o700)
        (tmp_path / "data-one").chmod(0o700)
        (tmp_path / "data-one" / "api.token").chmod(0o600)
        running.answer("GET", "/api/version", {"ztm": {"edition": "Python", "tag": "v9"}})
        mesh = mesh_object(
            ca=AUTHORITY.certificate, bootstraps=["127.0.0.1:1"], state="unreachable", lastError="refused"
        )
        running.joined(mesh)
        yield running


def results(capsys: Captured, *words: str, status: int) -> list[dict[str, str]]:
    assert main(["doctor", "-o", "json", *words]) == status
    listed: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return listed


def test_each_finding_is_a_line_and_what_fails_has_one_more_with_what_to_do(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"ok    agent at 127.0.0.1:{agent.port}: answers as ztm v9" in lines
    failed = lines.index("fail  mesh m: hub 127.0.0.1:1: TCP: no TCP connection: Connection refused")
    assert lines[failed + 1].startswith("        see that the hub runs")


def test_files_that_others_may_read_fail_with_the_command_that_closes_them(
    agent: FakeAgent, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "data-one" / "api.token").chmod(0o644)
    (finding,) = [one for one in results(capsys, status=1) if one["what"].endswith("data-one: modes")]
    assert (finding["level"], finding["why"]) == ("fail", "others may read api.token")
    assert finding["do"].startswith("chmod go= ")


def test_without_an_agent_the_checks_of_this_machine_are_made(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ZTM_AGENT", "127.0.0.1:1")
    found_ = {one["what"]: one["level"] for one in results(capsys, status=1)}
    assert found_["agent at 127.0.0.1:1"] == "fail"
    assert any(what.endswith("disk") for what in found_)


def test_a_port_that_something_else_uses_is_told_from_a_free_one(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # taken, and nobody listens
        monkeypatch.setenv("ZTM_AGENT", f"127.0.0.1:{bound.getsockname()[1]}")
        (taken,) = [one for one in results(capsys, status=1) if one["what"].startswith("agent at")]
    assert "see what uses that port" in taken["do"]


def test_the_hubs_of_a_permit_are_checked_before_it_is_used(agent: FakeAgent, tmp_path: Path, capsys: Captured) -> None:
    permit = {"ca": AUTHORITY.certificate, "agent": {"certificate": "x"}, "bootstraps": ["nosuch.invalid:1"]}
    (tmp_path / "p.json").write_text(json.dumps(permit))
    listed = results(capsys, "--permit", str(tmp_path / "p.json"), status=1)
    assert [one["level"] for one in listed if one["what"] == "permit: hub nosuch.invalid:1: name"] == ["fail"]
    assert not any("hub 127.0.0.1:1" in one["what"] for one in listed)


SECRETS = ("secret-of-the-agent-0123456789", "hunter2", "BEGIN PRIVATE KEY", KEY.splitlines()[1])


def test_a_bundle_has_all_and_no_secret(
    agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    said = f"dialling http://bob:hunter2@proxy:1\n{KEY}\nAuthorization: Bearer {agent.token}"
    agent.answer("GET", "/api/meshes/m/log", [{"time": "t", "message": said}, {"time": "t", "message": "connected"}])
    monkeypatch.setenv("ZTM_PROXY", "http://bob:hunter2@proxy:1")
    (tmp_path / "data-one" / "root.json").write_text(KEY)
    (tmp_path / "data-one" / "root.json").chmod(0o600)
    file = tmp_path / "bundle.tar.gz"
    assert main(["doctor", "--bundle", str(file)]) == 1
    assert "read it before you pass it on" in capsys.readouterr().err
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        texts = {one.name.partition("/")[2]: archive.extractfile(one).read().decode() for one in archive}  # type: ignore[union-attr]
    assert {"about.json", "system.json", "config.json", "status.json", "doctor.json", "files.json", "log-1.txt"} <= set(
        texts
    )
    assert "connected" in texts["log-1.txt"]
    assert "ZTM_PROXY" in texts["system.json"]
    for name, text in texts.items():
        assert not [secret for secret in SECRETS if secret in text], name
    assert json.loads(texts["status.json"])["meshes"][0]["endpoint"]["id"] == HOME_ID


def test_a_bundle_that_cannot_be_written_is_told_before_any_check(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["doctor", "--bundle", "/nosuch/dir/b.tgz"]) == 1
    out, err = capsys.readouterr()
    assert (out, agent.requests) == ("", [])
    assert "cannot write to file: /nosuch/dir/b.tgz" in err


def test_known_secrets_are_blotted_out_wherever_they_stand() -> None:
    cleaned: Any = clean_of_secrets(f"a tok-1 b {KEY} c", ["tok-1"])
    assert cleaned == "a [secret] b [secret]\n c"
