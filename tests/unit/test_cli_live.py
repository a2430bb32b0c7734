"""Names for completion as the agent tells them, and silence where it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_agent import HOME_ID, HUB_ID, WORK_ID, FakeAgent, endpoint_object, mesh_object, running_agent
from ztm.cli.completing.live import Live
from ztm.cli.context import Context
from ztm.cli.main import main


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.token = ""
        running.joined()
        yield running


def names(kind: str, begun: str = "", mesh: str = "") -> list[str]:
    return [name for name, _ in Live(Context(mesh=mesh)).named(kind, begun)]


def test_endpoints_are_named_and_those_of_one_name_by_id(agent: FakeAgent) -> None:
    third = endpoint_object("third", "work")
    agent.joined(endpoints=(endpoint_object(), endpoint_object(WORK_ID, "work"), third))
    assert names("endpoint") == ["home", WORK_ID, "third"]


def test_without_a_chosen_mesh_endpoints_are_named_with_theirs(agent: FakeAgent) -> None:
    agent.joined(mesh_object("a"), mesh_object("b"), endpoints=(endpoint_object(),))
    assert names("endpoint") == ["a/home", "b/home"]
    assert names("endpoint", "b/h") == ["b/home"]
    assert names("endpoint", mesh="a") == ["home"]


def test_only_endpoints_that_have_what_was_typed_are_asked_for(agent: FakeAgent) -> None:
    names("endpoint", "ho me")
    assert agent.sent("GET")[-1][0] == "/api/meshes/m/endpoints?keyword=ho%20me"


def test_each_kind_of_object_has_its_names(agent: FakeAgent) -> None:
    base = "/api/meshes/m"
    agent.answer("GET", f"{base}/hubs", {HUB_ID: {"ports": ["h:1", "h:2"], "connected": True}})
    agent.answer("GET", f"{base}/users", [{"name": "alice"}])
    agent.answer("GET", f"{base}/evictions", [{"username": "bob"}])
    agent.answer("GET", f"{base}/files", {"/shared/root/a b": {"size": 1}})
    apps = [
        {"provider": "ztm", "name": "x"},
        {"provider": "bob", "name": "x"},
        {"provider": "ztm", "name": "y", "tag": "1"},
    ]
    agent.answer("GET", f"{base}/endpoints/{HOME_ID}/apps", apps)
    agent.answer("GET", f"{base}/apps/ztm/tunnel/api/tunnels", [{"protocol": "tcp", "name": "web"}])
    agent.answer("GET", f"{base}/apps/ztm/tunnel/api/endpoints/{HOME_ID}/inbound", [{"protocol": "udp", "name": "dns"}])
    assert names("mesh") == ["m"]
    assert names("hub") == ["h:1", "h:2"]
    assert names("user") == ["alice"]
    assert names("evicted") == ["bob"]
    assert names("file") == ["/shared/root/a b"]
    assert names("app") == ["ztm/x", "bob/x", "y@1"]
    assert names("tunnel") == ["tcp/web"]
    assert names("inbound") == ["udp/dns"]


def test_an_answer_of_another_form_gives_no_names(agent: FakeAgent) -> None:
    for answer in ({"a": 1}, [1], ["x"], "text", [{}], None):
        for path in ("hubs", "users", "files", "endpoints"):
            agent.answer("GET", f"/api/meshes/m/{path}", answer)
        for kind in ("hub", "user", "file", "endpoint", "nosuch", "label"):
            assert names(kind) == []


def test_without_an_agent_there_are_no_names(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZTM_AGENT", "127.0.0.1:1")
    for kind in ("mesh", "endpoint", "hub", "user", "file", "app", "tunnel", "inbound"):
        assert names(kind) == []


def test_nothing_that_a_terminal_obeys_is_offered(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZTM_COMPLETION_TIMEOUT", "30")
    agent.joined(mesh_object("a\x1b[2J"), mesh_object("b\tc"), mesh_object("d\ne"), mesh_object("fine"))
    assert main(["__complete", "zsh", "--", "mesh", ""]) == 0
    assert capsys.readouterr().out == "words\nfine\tconnected\n"
    assert main(["__complete", "bash", "ztm mesh ", "=:"]) == 0
    assert capsys.readouterr().out == "words\nfine\n"
