"""Who may have a terminal, as whom, how many there may be, and what is noted of it."""

import json
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from app_mesh import read_all
from terminal_mesh import TerminalMesh

from ztm.errors import StorageError
from ztm.net.base import Stream
from ztm.net.http1 import connect_answer, connect_head

OTHER = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid not in (0, os.geteuid()))
"""A user of this machine that the tests do not run as."""
IS_ROOT = os.geteuid() == 0
OWN = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[TerminalMesh]:
    """An endpoint of alice, and one of bob."""
    made = TerminalMesh(tmp_path)
    await made.desk("hers")
    await made.desk("his", "bob")
    yield made
    await made.close()


async def connect(mesh: TerminalMesh, query: str = "", data: bytes = b"") -> Stream:
    """Bob's stream to alice's terminals, as another implementation opens it."""
    exchange = await mesh.connect(mesh.context("his"), mesh.context("hers").place.id)
    await exchange.response()
    await exchange.write(connect_head(f"/api/shell{query}"))
    return exchange


async def allow(mesh: TerminalMesh, **settings: object) -> None:
    place = mesh.context("hers").place.id
    status, _ = await mesh.ask("hers", "POST", f"/api/endpoints/{place}/config", settings)
    assert status == 201


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize("words", [(), ("--", "id")])
async def test_only_the_owner_may_unless_others_are_allowed(mesh: TerminalMesh, words: tuple[str, ...]) -> None:
    status, out, err = await mesh.run("his", "open", "hers", *words)
    assert (status, out) == (1, b"")
    assert err == "ztm: endpoint hers: user bob may not use the terminals of endpoint hers: only alice may\n"
    await allow(mesh, users=["bob"])
    assert (await mesh.run("his", "open", "hers", *words))[0] == 0
    await allow(mesh, users=["carol"])
    assert (await mesh.run("his", "open", "hers", *words))[0] == 1
    await allow(mesh, users=["*"])
    assert (await mesh.run("his", "open", "hers", *words))[0] == 0


async def test_a_refusal_is_a_403_with_its_reason_for_whom_understands_it(mesh: TerminalMesh) -> None:
    stream = await connect(mesh, "?cols=80&rows=24&term=xterm&ext=1")
    status, headers = await connect_answer(stream)
    assert status == 403
    assert "user bob may not" in unquote(dict(headers)["ztm-error"])


async def test_a_refused_v1_caller_reads_forbidden_and_the_end(mesh: TerminalMesh) -> None:
    stream = await connect(mesh)
    assert (await connect_answer(stream))[0] == 200
    assert await read_all(stream) == b"Forbidden\n"


@pytest.mark.parametrize("user", ["", "Alice", "root", "alice "])
async def test_whoever_is_not_the_owner_by_certificate_gets_no_shell(mesh: TerminalMesh, user: str) -> None:
    mesh.context("his").user = user  # what the session's certificate says, whatever way it came
    stream = await connect(mesh, "?ext=1&username=alice&src=" + mesh.context("hers").place.id)
    assert (await connect_answer(stream))[0] == 403


async def test_the_configuration_is_the_owners_to_see_and_to_change(mesh: TerminalMesh) -> None:
    for method, body in (("GET", None), ("POST", {"users": ["bob"]})):
        status, said = await mesh.ask("hers", method, "/api/config", body, user="bob")
        assert status == 403
        assert "only user alice" in said["message"]
    status, out, err = await mesh.run("his", "config", "--add-user", "bob", on="hers")
    assert (status, out) == (1, b"")
    assert "only user alice" in err
    status, said = await mesh.ask("hers", "GET", "/api/config", user="alice")
    assert (status, said["users"]) == (200, [])


async def test_a_user_who_is_allowed_no_more_loses_the_sessions_that_are_open(mesh: TerminalMesh) -> None:
    await allow(mesh, users=["bob"])
    seat = mesh.sit("his", "open", "hers", "--", "sh", "-c", "echo begun; sleep 1000")
    await seat.person.sees("begun")
    await allow(mesh, users=[])
    assert await seat.ended() == 255
    assert b"user bob is not allowed here any more" in seat.person.err


# ---------------------------------------------------------------------- as whom


@pytest.mark.skipif(not IS_ROOT, reason="only root may run programs as somebody else")
async def test_a_mapped_user_is_that_user_of_the_system_and_nobody_else(mesh: TerminalMesh) -> None:
    await allow(mesh, users=["bob"], osUsers={"bob": OTHER})
    script = "id -un; id -Gn; echo $HOME $USER; cat /etc/shadow"
    status, out, err = await mesh.run("his", "open", "hers", "--", "sh", "-c", script)
    name, groups, home, *rest = out.decode().splitlines()
    assert (status, name, rest) == (1, OTHER, [])
    assert "root" not in groups.split()
    assert home == f"{pwd.getpwnam(OTHER).pw_dir} {OTHER}"
    assert "ermission denied" in err
    seat = mesh.sit("his", "open", "hers", "--tty", "--", "sh", "-c", "echo typed > /dev/tty; ls -l $(tty)")
    assert await seat.ended() == 0
    said = seat.person.out.decode()
    assert "typed" in said
    assert said.splitlines()[-1].startswith("crw-------")
    assert f" {OTHER} " in said
    assert (await mesh.run("hers", "open", "hers", "--", "id", "-un"))[1] == f"{OWN}\n".encode()


async def test_once_anybody_is_mapped_other_users_need_a_user_of_theirs(mesh: TerminalMesh) -> None:
    await allow(mesh, users=["*"], osUsers={"carol": OWN})
    status, _, err = await mesh.run("his", "open", "hers", "--", "id")
    assert status == 1
    assert "user bob is mapped to no user of that machine" in err
    assert (await mesh.run("hers", "open", "hers", "--", "true"))[0] == 0


async def test_an_agent_that_is_not_root_refuses_to_promise_other_users(
    mesh: TerminalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    place = mesh.context("hers").place.id
    path = f"/api/endpoints/{place}/config"
    status, said = await mesh.ask("hers", "POST", path, {"osUsers": {"bob": "root"}})
    assert status == 403
    assert "only one that runs as root can run programs as root" in said["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"osUsers": {"bob": "no-such-user-here"}},
        {"osUsers": {"bob": "../x"}},
        {"osUsers": {"b/b": OWN}},
        {"users": ["a/b"]},
        {"users": "bob"},
        {"shell": "sh 'unended"},
        {"shell": "a\0b"},
        {"idleTimeout": -1},
        {"idleTimeout": "1"},
        {"maxSessions": 0},
        {"record": "yes"},
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(mesh: TerminalMesh, body: object) -> None:
    path = f"/api/endpoints/{mesh.context('hers').place.id}/config"
    before = await mesh.ask("hers", "GET", path)
    status, said = await mesh.ask("hers", "POST", path, body)
    assert status == 400, said
    assert said["message"]
    assert await mesh.ask("hers", "GET", path) == before


async def test_what_cannot_be_saved_is_not_in_force(mesh: TerminalMesh) -> None:
    mesh.context("hers").disk.is_full = True
    path = f"/api/endpoints/{mesh.context('hers').place.id}/config"
    assert (await mesh.ask("hers", "POST", path, {"users": ["bob"]}))[0] == StorageError.status
    assert (await mesh.run("his", "open", "hers", "--", "true"))[0] == 1


async def test_settings_are_kept_as_v1_reads_them_and_survive_a_restart(mesh: TerminalMesh) -> None:
    await allow(mesh, users=["bob", "carol", "bob"], idleTimeout=5, maxSessions=3)
    kept = json.loads(mesh.context("hers").disk.local["config.json"])
    assert (kept["shell"], kept["users"]) == ("/bin/sh", ["bob", "carol"])
    await mesh.restart("hers")
    assert (await mesh.run("his", "open", "hers", "--", "true"))[0] == 0
    await allow(mesh, shell=None)
    _, said = await mesh.ask("hers", "GET", "/api/config", user="alice")
    assert (said["shell"], said["users"], said["idleTimeout"], said["maxSessions"]) == ("", ["bob", "carol"], 5, 3)


# ---------------------------------------------------------------------- limits


async def test_one_session_more_than_may_be_is_refused_with_a_reason(mesh: TerminalMesh) -> None:
    await allow(mesh, maxSessions=1)
    seat = mesh.sit("hers", "open", "hers", "--", "sh", "-c", "echo begun; read x")
    await seat.person.sees("begun")
    status, _, err = await mesh.run("hers", "open", "hers", "--", "true")
    assert (status, err) == (1, "ztm: endpoint hers has 1 sessions, its most\n")
    seat.person.type("\n")
    assert await seat.ended() == 0
    assert (await mesh.run("hers", "open", "hers", "--", "true"))[0] == 0


async def test_a_session_in_which_nothing_happens_for_too_long_is_ended_with_a_reason(mesh: TerminalMesh) -> None:
    await allow(mesh, users=["bob"], idleTimeout=0.2)
    seat = mesh.sit("his", "open", "hers")
    assert await seat.ended() == 255
    assert b"the session was ended: nothing was typed or shown for 0.2 seconds" in seat.person.err
    trail = await mesh.trail("his")
    assert trail.reason == "exit status 255"


async def test_typing_keeps_a_session_alive(mesh: TerminalMesh) -> None:
    await allow(mesh, idleTimeout=0.4)
    seat = mesh.sit("hers", "open", "hers", "--", "sh", "-c", "for i in 1 2 3 4; do sleep 0.2; echo $i; done")
    assert await seat.ended() == 0


# ---------------------------------------------------------------------- a bad shell


@pytest.mark.parametrize(
    ("shell", "words", "status", "said"),
    [
        ("/no/such/shell -i", (), 127, "/no/such/shell: no such program"),
        ("no-such-shell", (), 127, "no-such-shell: no such program"),
        ("/etc/passwd", (), 126, "/etc/passwd: is not executable"),
        ("/etc", (), 126, "/etc: is not executable"),
        ("", ("--", "no-such-program"), 127, "no-such-program: no such program"),
        ("", ("--tty", "--", "/etc/passwd"), 126, "/etc/passwd: is not executable"),
    ],
)
async def test_a_program_that_cannot_be_started_is_named_and_gives_a_shells_status(
    mesh: TerminalMesh, shell: str, words: tuple[str, ...], status: int, said: str
) -> None:
    await allow(mesh, shell=shell, users=["bob"])
    for who in ("hers", "his"):
        seat = mesh.sit(who, "open", "hers", *words)
        assert await seat.ended() == status
        assert seat.person.err.decode().startswith(f"ztm: {said}")
        assert seat.person.err.count(b"\n") == 1


async def test_a_file_that_the_system_does_not_run_gives_126(mesh: TerminalMesh, tmp_path: Path) -> None:
    file = tmp_path / "odd"
    file.write_bytes(b"\x7fELF nothing of the kind")
    file.chmod(0o755)
    status, _, err = await mesh.run("hers", "open", "hers", "--", str(file))
    assert status == 126
    assert "cannot be started" in err


async def test_a_system_without_terminals_says_so(mesh: TerminalMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ztm.apps.terminal.accounts.sys.platform", "win32")
    status, _, err = await mesh.run("hers", "open", "hers", "--", "true")
    assert status == 1
    assert "runs Windows, where terminals are not supported yet" in err


# ---------------------------------------------------------------------- what is noted


async def test_a_session_is_noted_at_both_ends_with_who_what_and_how_much(mesh: TerminalMesh) -> None:
    await allow(mesh, users=["bob"])
    mesh.context("hers").trail.trails.clear()
    await mesh.run("his", "open", "hers", "--", "sh", "-c", "cat; exit 4", "--password=hunter2", typed=b"12345")
    entry, exit_ = await mesh.trail("his"), await mesh.trail("hers")
    assert (entry.side, entry.peer.user, entry.action, entry.subject) == ("entry", "bob", "run", "terminal of hers")
    assert entry.target == mesh.context("hers").place.id
    assert (exit_.side, exit_.peer.user, exit_.action, exit_.rule) == ("exit", "bob", "run", "user bob")
    assert exit_.peer.endpoint == mesh.context("his").place.id
    assert exit_.target.endswith(f"sh as {OWN}")
    for trail in (entry, exit_):
        assert trail.is_allowed
        assert (trail.meter.sent, trail.meter.received, trail.reason) == (5, 5, "exit status 4")
        assert "hunter2" not in repr(trail)


async def test_a_refusal_is_noted_at_both_ends(mesh: TerminalMesh) -> None:
    await mesh.run("his", "open", "hers")
    for name in ("his", "hers"):
        trail = await mesh.trail(name)
        assert not trail.is_allowed
        assert "user bob may not" in trail.reason
    assert (await mesh.trail("hers")).rule == "only alice"


async def test_a_caller_who_leaves_is_noted(mesh: TerminalMesh) -> None:
    await allow(mesh, users=["bob"])
    mesh.context("hers").trail.trails.clear()
    seat = mesh.sit("his", "open", "hers", "--", "sh", "-c", "echo begun; sleep 1000")
    await seat.person.sees("begun")
    await seat.leave()
    assert (await mesh.trail("hers")).reason == "the caller left"


async def test_a_change_of_the_settings_is_noted(mesh: TerminalMesh) -> None:
    await mesh.ask("hers", "POST", "/api/config", {"users": ["bob"]}, user="alice")
    trail = await mesh.trail("hers")
    assert (trail.action, trail.peer.user, trail.is_allowed) == ("configure", "alice", True)


async def test_a_change_that_is_refused_is_noted_too(mesh: TerminalMesh) -> None:
    await mesh.ask("hers", "POST", "/api/config", {"users": ["bob"]}, user="bob")
    trail = await mesh.trail("hers")
    assert (trail.action, trail.peer.user, trail.is_allowed) == ("configure", "bob", False)
