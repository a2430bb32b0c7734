"""Joining, leaving and being in meshes; inviting, evicting and readmitting users (spec cli 8 and 9)."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_agent import HOME_ID, HUB_ID, VERSION, WORK_ID, FakeAgent, endpoint_object, mesh_object, running_agent
from ztm.apps.grammar import Arguments
from ztm.cli import membership
from ztm.cli.context import Context
from ztm.cli.main import main
from ztm.cli.waiting import WAIT
from ztm.errors import DeadlineError

Captured = pytest.CaptureFixture[str]
PERMIT = {"ca": "CA", "agent": {"certificate": "CERT", "privateKey": "KEY"}, "bootstraps": ["127.0.0.1:8888"]}
KEY = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"
APPS = f"/api/meshes/m/endpoints/{HOME_ID}/apps"
WORK = endpoint_object(WORK_ID, "work", username="alice", online=False, ping=0)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    monkeypatch.chdir(tmp_path)
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(endpoint_object(), WORK))
        running.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}", WORK)
        hub = {"zone": "default", "ports": ["127.0.0.1:8888"], "version": VERSION, "connected": True}
        running.answer("GET", "/api/meshes/m/hubs", {HUB_ID: hub})
        yield running


@pytest.fixture
def permit(tmp_path: Path) -> Path:
    path = tmp_path / "root.json"
    path.write_text(json.dumps(PERMIT))
    return path


def test_join_waits_until_the_hub_has_accepted(agent: FakeAgent, permit: Path, capsys: Captured) -> None:
    waiting = mesh_object(connected=True, state="connecting")
    agent.answer("POST", "/api/meshes/m", waiting, 201)
    agent.answers_in_turn("GET", "/api/meshes/m", waiting, mesh_object())
    assert main(["join", "m", "--as", "home", "--permit", "root.json"]) == 0
    assert capsys.readouterr().out == f"Connected to mesh m as home (endpoint {HOME_ID})\n"
    settings = {"ca": "CA", "agent": {"name": "home", "certificate": "CERT", "privateKey": "KEY"}}
    assert agent.sent("POST") == [("/api/meshes/m", {**settings, "bootstraps": ["127.0.0.1:8888"]})]


def test_join_without_waiting_says_nothing(agent: FakeAgent, permit: Path, capsys: Captured) -> None:
    agent.answer("POST", "/api/meshes/m", mesh_object(state="connecting"), 201)
    assert main(["join", "m", "--as", "home", "-p", "root.json", "--no-wait"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("state", ["evicted", "refused", "full", "bad permit"])
def test_join_says_at_once_why_a_hub_will_not_have_us(
    agent: FakeAgent, permit: Path, capsys: Captured, state: str
) -> None:
    agent.answer("POST", "/api/meshes/m", mesh_object(state="connecting"), 201)
    agent.answer("GET", "/api/meshes/m", mesh_object(state=state, connected=False, lastError="the hub said no"))
    assert main(["join", "m", "--as", "home", "-p", "root.json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ztm: mesh 'm' is not connected: {state}: the hub said no; ")


def test_join_gives_up_after_the_time_it_was_given_and_tells_the_last_reason(agent: FakeAgent, permit: Path) -> None:
    unreachable = mesh_object(state="unreachable", connected=False, lastError="no hub answers at 127.0.0.1:8888")
    agent.answer("POST", "/api/meshes/m", unreachable, 201)
    agent.answer("GET", "/api/meshes/m", unreachable)
    clock = [0.0]

    def pass_time(seconds: float) -> None:
        clock[0] += seconds

    context = Context(timeout=2.0, now=lambda: clock[0], sleep=pass_time)
    arguments = Arguments({"mesh name": "m"}, {"--as": ("home",), "--permit": (str(permit),)})
    with pytest.raises(DeadlineError, match=r"after 1.9 s: unreachable: no hub answers at 127.0.0.1:8888; the agent"):
        membership.join(context, arguments)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("garbage", "invalid format of permit: p.json"),
        ("[]", "invalid format of permit: p.json"),
        ("{}", "permit missing CA certificate"),
        ('{"ca": "CA"}', "permit missing user certificate"),
        ('{"ca": "CA", "agent": {"certificate": "C"}}', "permit missing bootstraps"),
        ('{"ca": "CA", "agent": {"certificate": "C"}, "bootstraps": ["h:99999"]}', "invalid bootstrap address"),
        ('{"ca": "CA", "agent": {"certificate": "C"}, "bootstraps": ["8888"]}', "invalid bootstrap address"),
        ('{"ca": "CA", "agent": {"certificate": "C"}, "bootstraps": [7]}', "invalid bootstrap address"),
    ],
)
def test_a_bad_permit_is_refused_before_the_agent_sees_it(
    agent: FakeAgent, capsys: Captured, content: str, said: str
) -> None:
    Path("p.json").write_text(content)
    assert main(["join", "m", "--as", "home", "--permit", "p.json"]) == 1
    assert capsys.readouterr().err.startswith(f"ztm: {said}")
    assert agent.requests == []


def test_leave_deletes_the_mesh(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("DELETE", "/api/meshes/m", None, 204)
    assert main(["leave", "m"]) == 0
    assert agent.sent("DELETE") == [("/api/meshes/m", "")]
    assert capsys.readouterr() == ("", "")


def test_identity_is_printed_as_it_is(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/identity", KEY)
    assert main(["identity"]) == 0
    assert capsys.readouterr().out == KEY


def test_an_issued_permit_is_written_byte_for_byte_and_readable_by_its_owner_only(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY))
    agent.answer("POST", "/api/meshes/m/permits/alice", '{"ca":"x", "z":1}')
    Path("alice.json").touch(0o644)
    assert main(["invite", "alice", "-i", "-", "-p", "alice.json"]) == 0
    assert Path("alice.json").read_text() == '{"ca":"x", "z":1}'
    assert Path("alice.json").stat().st_mode & 0o777 == 0o600
    assert agent.sent("POST") == [("/api/meshes/m/permits/alice", KEY)]
    assert capsys.readouterr() == ("", "")


def test_a_permit_that_cannot_be_written_is_not_issued(agent: FakeAgent, capsys: Captured) -> None:
    Path("a.pem").write_text(KEY)
    assert main(["invite", "alice", "-i", "a.pem", "-p", "nowhere/alice.json"]) == 1
    assert capsys.readouterr().err.startswith("ztm: cannot write to file: nowhere/alice.json")
    assert agent.sent("POST") == []


def test_what_is_no_public_key_is_not_sent(agent: FakeAgent, capsys: Captured) -> None:
    Path("a.pem").write_text("garbage")
    assert main(["invite", "alice", "-i", "a.pem"]) == 1
    assert "a.pem is not an identity" in capsys.readouterr().err
    assert agent.requests == []


def test_a_refused_invitation_says_what_was_refused(agent: FakeAgent, capsys: Captured) -> None:
    Path("a.pem").write_text(KEY)
    agent.answer("POST", "/api/meshes/m/permits/alice", None, 403)
    assert main(["invite", "alice", "-i", "a.pem"]) == 1
    assert capsys.readouterr().err == "ztm: cannot invite 'alice' to mesh 'm': Forbidden\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def knows_user(agent: FakeAgent, name: str, endpoints: int = 2) -> None:
    path = f"/api/meshes/m/users/{name.replace(' ', '%20')}"
    agent.answer("GET", path, {"name": name, "endpoints": {"count": endpoints, "instances": []}})
    agent.answer("DELETE", path, None, 204)


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("YES\n", 0), ("\n", 1), ("", 1), ("no\n", 1)])
@pytest.mark.parametrize(
    ("line", "asked", "asks"),
    [
        (["evict", "a b"], ("DELETE", "/api/meshes/m/users/a%20b"), "Evict user 'a b' from mesh 'm', cutting off 2 "),
        (["leave", "m"], ("DELETE", "/api/meshes/m"), "Leave mesh 'm' (endpoint 'home'), deleting "),
        (["disable", "mesh", "m", "--erase-permit"], ("POST", "/api/meshes/m"), "Erase the permit of mesh 'm'?"),
        (["erase", "app", "hello"], ("DELETE", f"{APPS}/root/hello"), "Erase app 'root/hello' on endpoint 'home'"),
    ],
)
def test_what_destroys_something_asks_on_a_terminal(
    agent: FakeAgent,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    typed: str,
    status: int,
    line: list[str],
    asked: tuple[str, str],
    asks: str,
) -> None:
    knows_user(agent, "a b")
    agent.answer("GET", APPS, [{"provider": "root", "name": "hello", "isDownloaded": True}])
    agent.answer("GET", "/api/meshes/m/apps", [])
    agent.answer(*asked, None, 204)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert main(line) == status
    assert len(agent.sent(asked[0])) == (status == 0)
    err = capsys.readouterr().err
    assert err.startswith(asks)
    assert err.endswith(" [y/N] " if status == 0 else " [y/N] ztm: nothing was changed\n")


@pytest.mark.parametrize(("words", "stdin"), [(["--yes"], Terminal("")), (["-y"], Terminal("")), ([], io.StringIO())])
@pytest.mark.parametrize("line", [["evict", "bob"], ["leave", "m"], ["disable", "mesh", "m", "--erase-permit"]])
def test_a_script_is_not_asked(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, line: list[str], words: list[str], stdin: io.StringIO
) -> None:
    knows_user(agent, "bob")
    agent.answer("DELETE", "/api/meshes/m", None, 204)
    agent.answer("POST", "/api/meshes/m", None, 201)
    monkeypatch.setattr("sys.stdin", stdin)
    assert main([*line, *words]) == 0


def test_an_eviction_says_what_it_did(agent: FakeAgent, capsys: Captured) -> None:
    knows_user(agent, "bob", endpoints=1)
    assert main(["evict", "bob"]) == 0
    assert capsys.readouterr().out == (
        "Evicted bob from mesh m: 1 endpoint cut off; a permit issued from now on lets bob in again\n"
    )
    assert agent.sent("DELETE") == [("/api/meshes/m/users/bob", "")]


def test_evicting_somebody_unknown_fails_unless_it_is_forced(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("DELETE", "/api/meshes/m/users/nobody", None, 204)
    assert main(["evict", "nobody"]) == 1
    assert capsys.readouterr().err == (
        "ztm: cannot evict 'nobody' from mesh 'm': no endpoint of that user is known (see 'ztm user list'); "
        "--force evicts the name anyhow\n"
    )
    assert agent.sent("DELETE") == []
    assert main(["evict", "nobody", "--force"]) == 0
    assert agent.sent("DELETE") == [("/api/meshes/m/users/nobody?force=true", "")]


def test_evicting_root_or_without_being_root_fails_also_where_an_agent_would_answer_success(
    agent: FakeAgent, capsys: Captured
) -> None:
    knows_user(agent, "root")
    knows_user(agent, "bob")
    assert main(["evict", "root"]) == 1
    assert "root cannot be evicted" in capsys.readouterr().err
    alice = mesh_object(agent={"id": HOME_ID, "name": "home", "username": "alice", "certificate": "C"})
    agent.joined(alice)
    for line, verb in ((["evict", "bob"], "evict"), (["user", "readmit", "bob"], "readmit")):
        assert main(line) == 1
        assert f"only root may {verb}, and that mesh is joined as 'alice'" in capsys.readouterr().err
    assert agent.sent("DELETE") == []


def test_a_refused_eviction_says_what_was_refused(agent: FakeAgent, capsys: Captured) -> None:
    knows_user(agent, "bob")
    agent.answer("DELETE", "/api/meshes/m/users/bob", {"status": 503, "message": "mesh m is not connected"}, 503)
    assert main(["evict", "bob"]) == 1
    assert capsys.readouterr() == ("", "ztm: cannot evict 'bob' from mesh 'm': mesh m is not connected\n")


def test_an_eviction_can_be_undone_once(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("DELETE", "/api/meshes/m/evictions/bob", None, 204)
    assert main(["user", "readmit", "bob"]) == 0
    assert capsys.readouterr().out.startswith("Readmitted bob to mesh m: ")
    agent.answer("DELETE", "/api/meshes/m/evictions/bob", {"message": "user 'bob' is not evicted"}, 404)
    assert main(["user", "readmit", "bob"]) == 1
    assert capsys.readouterr().err == "ztm: cannot readmit 'bob' to mesh 'm': user 'bob' is not evicted\n"


def test_leaving_says_what_is_kept_if_anything_is(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("DELETE", "/api/meshes/m", None, 204)
    assert main(["leave", "m", "--keep-data"]) == 0
    assert agent.sent("DELETE") == [("/api/meshes/m?keepData=true", "")]
    assert "its files and apps stay in the agent's data directory (meshes/m)" in capsys.readouterr().out


def offline(**agent: object) -> dict[str, object]:
    own = {"id": HOME_ID, "name": "home", "username": "root", "certificate": "CERT", "offline": True, **agent}
    return mesh_object(state="offline", connected=False, agent=own)


def test_disabling_goes_offline_and_can_erase_the_permit(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("POST", "/api/meshes/m", offline(), 201)
    assert main(["disable", "mesh", "m"]) == 0
    agent.answer("POST", "/api/meshes/m", offline(certificate=""), 201)
    assert main(["disable", "mesh", "m", "--erase-permit"]) == 0
    assert [body for _, body in agent.sent("POST")] == [
        {"agent": {"offline": True}},
        {"agent": {"offline": True, "certificate": ""}},
    ]
    assert capsys.readouterr() == ("", "")


def test_a_mesh_that_the_agent_leaves_as_it_was_is_not_called_disabled(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("POST", "/api/meshes/m", mesh_object(), 201)
    assert main(["disable", "mesh", "m"]) == 1
    assert "mesh 'm' is not disabled" in capsys.readouterr().err


def test_enabling_waits_until_the_mesh_is_connected(agent: FakeAgent, capsys: Captured) -> None:
    agent.answers_in_turn("GET", "/api/meshes/m", offline(), mesh_object(state="connecting"), mesh_object())
    agent.answer("POST", "/api/meshes/m", mesh_object(state="connecting"), 201)
    assert main(["enable", "mesh", "m"]) == 0
    assert capsys.readouterr().out == f"Connected to mesh m as home (endpoint {HOME_ID})\n"
    assert agent.sent("POST") == [("/api/meshes/m", {"agent": {"offline": False}})]


def test_enabling_by_a_permit_replaces_ca_and_certificate_but_not_the_hubs(agent: FakeAgent, permit: Path) -> None:
    agent.answers_in_turn("GET", "/api/meshes/m", offline(certificate=""), mesh_object())
    agent.answer("POST", "/api/meshes/m", mesh_object(), 201)
    assert main(["enable", "mesh", "m", "--permit", "root.json"]) == 0
    own = {"offline": False, "certificate": "CERT", "privateKey": "KEY"}
    assert agent.sent("POST") == [("/api/meshes/m", {"agent": own, "ca": "CA"})]


def test_a_mesh_without_a_permit_cannot_be_enabled_without_one(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes/m", offline(certificate=""))
    assert main(["enable", "mesh", "m"]) == 1
    assert "give one with 'ztm enable mesh -p FILE'" in capsys.readouterr().err
    assert agent.sent("POST") == []


OTHER_HUB = "b1d0cd3d-c2da-4818-b5e5-0c47c96fec46"


def two_hubs(attached: str) -> dict[str, object]:
    hub = {"zone": "default", "version": VERSION}
    hubs = {HUB_ID: {**hub, "ports": ["a:1"]}, OTHER_HUB: {**hub, "ports": ["b:1", "b:2"]}}
    return {id_: {**one, "connected": id_ == attached} for id_, one in hubs.items()}


def test_attaching_waits_until_the_other_hub_is_the_attached_one(agent: FakeAgent, capsys: Captured) -> None:
    agent.answers_in_turn("GET", "/api/meshes/m/hubs", *[two_hubs(HUB_ID)] * 3, two_hubs(OTHER_HUB))
    agent.answer("POST", f"/api/meshes/m/hubs/{OTHER_HUB}", None, 201)
    assert main(["attach", "b:2"]) == 0
    assert agent.sent("POST") == [(f"/api/meshes/m/hubs/{OTHER_HUB}", {"connected": True})]
    assert capsys.readouterr() == ("", "")


def test_attaching_to_the_attached_hub_asks_nothing(agent: FakeAgent) -> None:
    agent.answer("GET", "/api/meshes/m/hubs", two_hubs(HUB_ID))
    assert main(["attach", HUB_ID]) == 0
    assert agent.sent("POST") == []


def test_a_hub_that_is_never_attached_is_not_success(agent: FakeAgent, permit: Path) -> None:
    agent.answer("GET", "/api/meshes/m/hubs", two_hubs(HUB_ID))
    agent.answer("POST", f"/api/meshes/m/hubs/{OTHER_HUB}", None, 201)
    clock = [0.0]

    def pass_time(seconds: float) -> None:
        clock[0] += seconds

    context = Context(now=lambda: clock[0], sleep=pass_time)
    with pytest.raises(DeadlineError, match="is not attached to hub 'b:1' yet"):
        membership.attach(context, Arguments({"hub name": "b:1"}, {}))
    assert clock[0] >= WAIT - 1


@pytest.mark.parametrize("words", ["openclaw", "openclaw --user-name u --ep-name e --targets a:1 b:2", "bogus"])
def test_there_is_no_trial_service_here(agent: FakeAgent, capsys: Captured, words: str) -> None:
    assert main(["try", *words.split()]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "ztm run hub" in err
    assert agent.requests == []
