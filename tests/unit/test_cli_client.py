"""Reaching the agent: which token is shown to whom, and what each failure is called."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_agent import FakeAgent, running_agent
from ztm.cli.client import AgentClient
from ztm.cli.failures import AgentUnreachableError
from ztm.errors import BrokenStreamError, DeadlineError, ForbiddenError, RefusedError, UnauthorizedError
from ztm.model import Address


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.answer("GET", "/api/version", {"ztm": {}})
        yield running


def ask(agent: FakeAgent, host: str = "127.0.0.1") -> object:
    return AgentClient(Address(host, agent.port)).request("GET", "/api/version")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_token_of_the_only_agent_at_the_address_is_shown_at_once(agent: FakeAgent, host: str) -> None:
    agent.leave_pointer("one", "right")
    assert ask(agent, host) == {"ztm": {}}
    assert agent.tokens == ["Bearer right"]


def test_an_agent_listening_on_every_address_is_found_too(agent: FakeAgent) -> None:
    agent.leave_pointer("one", "right", f"0.0.0.0:{agent.port}")
    assert ask(agent) == {"ztm": {}}


def test_of_several_agents_the_one_that_answers_gets_its_own_token_and_no_other(agent: FakeAgent) -> None:
    agent.leave_pointer("one", "right")
    agent.leave_pointer("two", "wrong")
    assert ask(agent) == {"ztm": {}}
    assert agent.tokens == ["", "Bearer right"]


def test_tokens_of_agents_elsewhere_are_never_shown(agent: FakeAgent) -> None:
    agent.leave_pointer("one", "right", "127.0.0.1:1")
    with pytest.raises(UnauthorizedError, match="runs as another user"):
        ask(agent)
    assert set(agent.tokens) == {""}


def test_a_replaced_token_is_told_from_a_missing_one(agent: FakeAgent) -> None:
    agent.leave_pointer("one", "old")
    with pytest.raises(UnauthorizedError, match="refused this user's token"):
        ask(agent)


def test_the_environment_wins_over_every_pointer(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.leave_pointer("one", "wrong")
    monkeypatch.setenv("ZTM_TOKEN", "right")
    assert ask(agent) == {"ztm": {}}
    assert agent.tokens == ["Bearer right"]


def test_an_agent_that_wants_no_token_needs_none(agent: FakeAgent) -> None:
    agent.token = ""
    assert ask(agent) == {"ztm": {}}


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"instance": 1, "address": 7, "data": null}', "\xff"])
def test_a_malformed_pointer_is_passed_over(agent: FakeAgent, content: str) -> None:
    agent.leave_pointer("one", "right")
    (agent.home / ".ztm" / "agents" / "bad.json").write_text(content, encoding="latin-1")
    assert ask(agent) == {"ztm": {}}


def test_a_token_is_never_part_of_a_representation(agent: FakeAgent) -> None:
    from ztm.cli.tokens import credentials

    agent.leave_pointer("one", "right")
    assert "right" not in repr(credentials(Address("127.0.0.1", agent.port)))


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (403, None, ForbiddenError, "Forbidden"),
        (403, {"status": 403, "message": "not root"}, ForbiddenError, "not root"),
        (400, {"message": "bad port"}, RefusedError, "bad port"),
        (500, "Not connected to mesh", RefusedError, "Not connected to mesh"),
    ],
)
def test_a_refusal_keeps_its_class_and_its_reason(
    agent: FakeAgent, status: int, body: object, kind: type[Exception], message: str
) -> None:
    agent.token = ""
    agent.answer("GET", "/api/version", body, status)
    with pytest.raises(kind, match=message):
        ask(agent)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_nothing_listening_names_the_command_that_starts_an_agent() -> None:
    with pytest.raises(AgentUnreachableError, match="start it with 'ztm run agent'"):
        AgentClient(Address("127.0.0.1", closed_port())).request("GET", "/api/version")


def test_an_agent_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = AgentClient(Address("127.0.0.1", server.getsockname()[1]), timeout=0.05)
        with pytest.raises(DeadlineError, match=r"did not answer within 0\.05 s"):
            client.request("GET", "/api/version")


@pytest.mark.parametrize(
    ("said", "message"), [(b"", "closed without an answer"), (b"SSH-2.0-x\r\n", "not a ztm agent")]
)
def test_what_is_no_agent_is_called_so(said: bytes, message: str) -> None:
    from threading import Thread

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            stream, _ = server.accept()
            with stream:
                stream.recv(65536)
                stream.sendall(said)

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(BrokenStreamError, match=message):
            AgentClient(Address("127.0.0.1", server.getsockname()[1])).request("GET", "/api/version")
        thread.join()
