"""Joining, leaving, inviting and evicting, and how objects are shown (spec cli 8 to 11)."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_agent import HOME_ID, HUB_ID, VERSION, WORK_ID, FakeAgent, endpoint_object, mesh_object, running_agent
from ztm.apps.grammar import Arguments
from ztm.cli import mesh as mesh_commands
from ztm.cli.context import Context
from ztm.cli.main import main
from ztm.errors import DeadlineError

Captured = pytest.CaptureFixture[str]
PERMIT = {"ca": "CA", "agent": {"certificate": "CERT", "privateKey": "KEY"}, "bootstraps": ["127.0.0.1:8888"]}
KEY = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"
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

    context = Context(now=lambda: clock[0], sleep=pass_time)
    arguments = Arguments({"mesh name": "m"}, {"--as": ("home",), "--permit": (str(permit),), "--timeout": ("2",)})
    with pytest.raises(DeadlineError, match=r"after 2 s: unreachable: no hub answers at 127.0.0.1:8888"):
        mesh_commands.join(context, arguments)
    assert 2.0 <= clock[0] < 2.0 + 2 * mesh_commands.POLL


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


def test_a_refused_invitation_or_eviction_says_what_was_refused(agent: FakeAgent, capsys: Captured) -> None:
    Path("a.pem").write_text(KEY)
    agent.answer("POST", "/api/meshes/m/permits/alice", None, 403)
    assert main(["invite", "alice", "-i", "a.pem"]) == 1
    assert capsys.readouterr().err == "ztm: cannot invite 'alice' to mesh 'm': Forbidden\n"
    agent.answer("DELETE", "/api/meshes/m/users/bob", {"status": 404, "message": "no such user"}, 404)
    assert main(["evict", "bob"]) == 1
    assert capsys.readouterr().err == "ztm: cannot evict 'bob' from mesh 'm': no such user\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("\n", 1), ("", 1)])
def test_evict_asks_on_a_terminal(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured, typed: str, status: int
) -> None:
    agent.answer("DELETE", "/api/meshes/m/users/a%20b", None, 204)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert main(["evict", "a b"]) == status
    assert len(agent.sent("DELETE")) == (status == 0)
    assert capsys.readouterr().err.startswith("Evict user 'a b' from mesh 'm'")


@pytest.mark.parametrize(("words", "stdin"), [(["--yes"], Terminal("")), ([], io.StringIO())])
def test_evict_does_not_ask_a_script(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, words: list[str], stdin: io.StringIO
) -> None:
    agent.answer("DELETE", "/api/meshes/m/users/bob", None, 204)
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["evict", "bob", *words]) == 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "Connected"),
        ({"state": None}, "Connected"),
        ({"state": None, "connected": False, "errors": [{"message": "No hub found"}]}, "ERROR: No hub found"),
        ({"state": "connecting"}, "Connecting"),
        ({"state": "evicted"}, "ERROR: evicted"),
        ({"state": "unreachable", "lastError": "no route"}, "ERROR: unreachable: no route"),
        ({"state": "evicted", "lastError": "user was evicted"}, "ERROR: user was evicted"),
        ({"state": "offline", "agent": {"id": HOME_ID, "name": "home", "offline": True}}, "Offline"),
    ],
)
def test_the_status_of_a_mesh_is_what_the_agent_knows(
    agent: FakeAgent, capsys: Captured, changes: dict[str, object], status: str
) -> None:
    agent.joined(mesh_object(**changes))
    assert main(["get", "mesh", "--no-headers"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"127.0.0.1:8888  {status}")


def test_get_mesh_is_the_table_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "meshes"]) == 0
    assert capsys.readouterr().out == (
        "NAME  JOINED AS  USER  HUBS            STATUS     \nm     home       root  127.0.0.1:8888  Connected  \n"
    )
    assert main(["get", "mesh", "other"]) == 0
    assert capsys.readouterr().out == "NAME  JOINED AS  USER  HUBS  STATUS  \n"


def test_get_ep_is_the_table_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "ep"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"NAME          USER   IP         PORT   STATUS   PING  {'ID':36}  EDITION    VERSION  LABELS  ",
        f"home (local)  root   127.0.0.1  40956  Online   1ms   {HOME_ID}  Community  v1.0.4           ",
        f"work          alice  127.0.0.1  40956  Offline  n/a   {WORK_ID}  Community  v1.0.4           ",
    ]


def test_more_endpoints_than_one_page_are_all_listed(agent: FakeAgent, capsys: Captured) -> None:
    pages = [[endpoint_object(f"id-{n}", f"ep-{n}") for n in page] for page in (range(100), range(100, 150))]
    agent.answers_in_turn("GET", "/api/meshes/m/endpoints", *pages)
    assert main(["get", "ep", "-o", "json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [f"id-{n}" for n in range(150)]


def test_an_agent_that_ignores_the_offset_is_not_asked_for_ever(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes/m/endpoints", [endpoint_object(f"id-{n}", f"ep-{n}") for n in range(100)])
    assert main(["get", "ep", "--output=json"]) == 0


def test_get_hub_filters_by_part_of_an_address(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "hub", "127"]) == 0
    row = f"127.0.0.1:8888  default  Yes       Community  v1.0.4   {HUB_ID}  "
    assert capsys.readouterr().out.splitlines()[1] == row
    assert main(["get", "hub", "nope", "--no-headers"]) == 0
    assert capsys.readouterr().out == ""


def test_describe_ep_has_every_label_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["describe", "ep", "work"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Endpoint: work",
        f"ID: {WORK_ID}",
        "Username: alice",
        "Hubs:",
        f"  {HUB_ID} 127.0.0.1:8888",
        "IP: 127.0.0.1",
        "Port: 40956",
        "Ping: N/A",
        "Status: Offline",
        "Stats:",
        "  Control Sessions: 1",
        "  Passive Sessions: 0",
        "Labels: (none)",
        "Version:",
        "        EDITION    TAG     COMMIT  DATE  ",
        "  ztm   Community  v1.0.4  n/a     n/a   ",
        "  pipy  n/a        n/a     n/a     n/a   ",
    ]
    assert main(["describe", "ep", "work", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == WORK


def test_describe_mesh_shows_certificates_status_and_errors(agent: FakeAgent, capsys: Captured) -> None:
    errors = [{"time": "T", "message": "No hub found"}]
    agent.joined(mesh_object(state="unreachable", errors=errors))
    assert main(["describe", "mesh", "m"]) == 0
    assert capsys.readouterr().out == (
        f"Mesh: m\nHubs:\n  127.0.0.1:8888\nAgent:\n  Endpoint ID: {HOME_ID}\n  Endpoint Name: home\n"
        "  User Name: root\nCA Certificate:\nCA\n\nUser Certificate:\nCERT\n\n"
        "Status: ERROR: unreachable: No hub found\nErrors:\n  T No hub found\n"
    )


def test_describe_hub_shows_ports_peers_and_load(agent: FakeAgent, capsys: Captured) -> None:
    hub = {"id": HUB_ID, "zone": "default", "ports": [{"name": "127.0.0.1:8888", "ping": 0, "online": True}]}
    load = {"peers": [], "capacity": {"agents": 100, "sessions": 1000}, "load": {"agents": 3, "sessions": 0}}
    agent.answer("GET", f"/api/meshes/m/hubs/{HUB_ID}", {**hub, **load, "connected": True, "version": VERSION})
    assert main(["describe", "hub", "127.0.0.1:8888"]) == 0
    assert capsys.readouterr().out.splitlines()[:10] == [
        f"Hub: {HUB_ID}",
        "Zone: default",
        "Ports:",
        "  NAME            STATUS  PING  ",
        "  127.0.0.1:8888  Online  0ms   ",
        "Peers: (no peers)",
        "Load:",
        "  Agents: 3/100",
        "  Sessions: 0/1000",
        "Attached: Yes",
    ]


def test_an_id_wins_over_a_name_and_two_names_are_ambiguous(agent: FakeAgent, capsys: Captured) -> None:
    agent.joined(endpoints=(endpoint_object(HOME_ID, WORK_ID), WORK, endpoint_object("third", "work")))
    assert main(["describe", "ep", WORK_ID]) == 0
    capsys.readouterr()
    assert main(["describe", "ep", "work"]) == 1
    assert capsys.readouterr().err == f"ztm: ambiguous endpoint name 'work': use one of the ids {WORK_ID}, third\n"


HOPS = [
    {"endpoint": {"id": HOME_ID, "name": "home"}, "start": 1795431886946, "end": 1795431886949, "error": None},
    {"hub": {"id": HUB_ID, "names": ["127.0.0.1:8888"]}, "start": 1795431886948, "end": 1795431886948, "error": None},
]


@pytest.mark.parametrize("line", ["ping work", "ping ep work", "ep work ping", "ep m/work ping ep"])
def test_ping_shows_each_hop(agent: FakeAgent, capsys: Captured, line: str) -> None:
    agent.answer("GET", f"/api/meshes/m/ping/endpoints/{WORK_ID}", HOPS)
    assert main(line.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "TYPE", "NAME", "START", "END", "DURATION", "ERROR"]
    assert lines[1].split()[:3] == [HOME_ID, "Endpoint", "home"]
    assert "  0.003s  " in lines[1]
    assert lines[2].split()[:3] == [HUB_ID, "Hub", "127.0.0.1:8888"]
    assert "  0s  " in lines[2]


def test_ping_alone_probes_the_own_endpoint_and_a_failed_hop_exits_1(agent: FakeAgent, capsys: Captured) -> None:
    failed = [HOPS[0], {**HOPS[1], "end": None, "error": "Active session not found"}]
    agent.answer("GET", f"/api/meshes/m/ping/endpoints/{HOME_ID}", failed)
    assert main(["ping"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2].rstrip().endswith("Active session not found")
    assert err == "ztm: no answer from endpoint 'home': Active session not found\n"


def test_stats_of_all_and_of_one(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes/m/stats/endpoints", {WORK_ID: {"send": 1024, "receive": 0}})
    assert main(["stats", "ep"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "work      1.000KB/s  0.000KB/s  "
    one = {"send": 2048, "receive": 0, "peers": {HOME_ID: {"send": 2048, "receive": 0}}}
    agent.answer("GET", f"/api/meshes/m/stats/endpoints/{WORK_ID}", one)
    assert main(["stats", "ep", "work"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "PEER         SEND       RECEIVE    ",
        "home         2.000KB/s  0.000KB/s  ",
        "(All Peers)  2.000KB/s  0.000KB/s  ",
    ]


def test_log_prints_time_and_message_with_nothing_a_terminal_obeys(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", f"/api/meshes/m/endpoints/{HOME_ID}/log", [{"time": "T1", "message": "up \x1b[2J"}])
    assert main(["log", "ep"]) == 0
    assert capsys.readouterr().out == "T1 up \\u001b[2J\n"
    agent.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}/log", None, 403)
    assert main(["log", "ep", "work"]) == 1
    assert capsys.readouterr().err == "ztm: cannot read the log of endpoint 'work': Forbidden\n"


def test_labels_are_deleted_then_added_and_printed_sorted(agent: FakeAgent, capsys: Captured) -> None:
    path = f"/api/meshes/m/endpoints/{WORK_ID}/labels"
    agent.answer("GET", path, ["zone", "gpu"])
    agent.answer("POST", path, None, 201)
    assert main(["ep", "work", "label", "--delete", "gpu", "none", "--add", "a", "zone"]) == 0
    assert agent.sent("POST") == [(path, ["zone", "a"])]
    assert capsys.readouterr().out == "a\nzone\n"
