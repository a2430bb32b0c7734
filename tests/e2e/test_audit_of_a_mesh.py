"""The audit log of real agents: what peers and the own user leave in it, and who may read it."""

import json
import socket
import stat
from pathlib import Path

from targets import Server, after_end, connected, echo, read_all, read_exactly
from world import Agent, World, open_tunnel, until


def records(agent: Agent, *words: str) -> list[dict]:
    """What ``ztm log audit`` shows."""
    return [json.loads(line) for line in agent.ok("log", "audit", *words, "-o", "json").out.splitlines()]


def lines(agent: Agent) -> list[dict]:
    """What is in the file."""
    (file,) = Path(agent.data).glob("meshes/*/audit.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_session_of_a_tunnel_leaves_a_line_at_both_ends(mesh) -> None:
    with Server(after_end) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port)
        with connected(port) as connection:
            connection.sendall(b"x" * 1000)
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)

    def sessions(agent: Agent) -> list[dict]:
        return [one for one in records(agent, "--app", "tunnel") if one["sent"] == 1000]

    (entry,) = until(lambda: sessions(mesh.home))
    (exit_,) = until(lambda: sessions(mesh.workplace))
    assert (entry["side"], exit_["side"]) == ("entry", "exit")
    assert {entry["user"], exit_["user"]} == {"root"}
    assert (exit_["endpoint"], exit_["at"], exit_["atName"]) == (mesh.home.id, mesh.workplace.id, "workplace")
    assert (exit_["allowed"], exit_["rule"]) == (True, "owner")
    assert {entry["received"], exit_["received"]} == {len(b"1000 bytes")}
    assert exit_["target"] == f"127.0.0.1:{server.port}"
    assert exit_["from"]


def test_another_endpoints_log_is_for_its_own_user_and_tells_who_configured_it(mesh) -> None:
    mesh.home.ok("ep", "workplace", "tunnel", "open", "outbound", "tcp/audited", "--targets", "127.0.0.1:9")
    (change,) = [one for one in records(mesh.home, "workplace") if "audited" in one["subject"]]
    assert (change["action"], change["user"], change["endpoint"]) == ("configure", "root", mesh.home.id)
    assert change["subject"].startswith("POST /api/outbound/tcp/audited")
    assert change["allowed"] is True
    assert "belongs to user root" in mesh.alice.fails("log", "audit", "workplace")
    mesh.home.ok("ep", "workplace", "tunnel", "close", "outbound", "tcp/audited")


def test_what_is_refused_is_found_among_the_rest(mesh) -> None:
    mesh.alice.fails("ep", "workplace", "tunnel", "open", "outbound", "tcp/evil", "--targets", "127.0.0.1:9")
    (refused,) = until(lambda: records(mesh.workplace, "--denied", "--user", "alice"))
    assert (refused["allowed"], refused["endpoint"], refused["side"]) == (False, mesh.alice.id, "exit")
    assert records(mesh.workplace, "--denied", "--user", "root") == []


def test_a_stream_that_no_app_takes_is_found_as_refused(mesh) -> None:
    mesh.workplace.ok("stop", "app", "tunnel")
    try:
        mesh.alice.fails("ep", "workplace", "tunnel", "get", "outbound")
        (refused, *_) = [one for one in records(mesh.workplace, "--denied") if one["subject"] == "app ztm/tunnel"]
    finally:
        mesh.workplace.ok("start", "app", "tunnel")
    assert (refused["user"], refused["action"], refused["allowed"]) == ("alice", "connect", False)
    assert "does not run here" in refused["reason"]


def test_a_session_under_way_when_the_agent_stops_is_written(world: World) -> None:
    hub = world.hub()
    home, work = world.joined(hub, "home"), world.joined(hub, "work", options=("--drain", "0"))
    with Server(echo) as server:
        port = open_tunnel(home, work, server.port)
        with connected(port) as connection:
            connection.sendall(b"hello")
            assert read_exactly(connection, 5) == b"hello"
            work.stop()
            (record,) = [one for one in lines(work) if one["sent"] == 5]
    assert record["allowed"] is True
    assert record["reason"] == "the agent stopped"
    assert stat.S_IMODE(next(Path(work.data).glob("meshes/*/audit.jsonl")).stat().st_mode) == 0o600
    assert "private" not in json.dumps(lines(work)).lower()
    work.start()
    until(lambda: records(work))  # what is written is found after a start as well
