"""The local API: who may use it, what it survives, and that nothing secret leaves it."""

import http.client
import json
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from world import Agent, World, one_line, run_ztm, until


def ask(
    agent: Agent, path: str = "/api/meshes", method: str = "GET", body: str = "", **headers: str
) -> tuple[int, str]:
    """The status and body of one request; `token` is shown unless another ``authorization`` is given."""
    fields = {"authorization": f"Bearer {agent.token}"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=5)
    try:
        connection.putrequest(method, path, skip_host="host" in fields)
        for name, value in fields.items():
            if value:
                connection.putheader(name, value)
        if body:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body.encode() or None)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_only_holders_of_the_token_are_served(mesh) -> None:
    assert ask(mesh.home)[0] == 200
    for shown in ("", "Bearer ", "Bearer wrong", "Basic " + mesh.home.token, "Bearer " + mesh.workplace.token):
        status, body = ask(mesh.home, authorization=shown)
        assert status == 401, shown
        assert mesh.home.token not in body
    assert ask(mesh.home, "/api/identity", authorization="")[0] == 401
    assert ask(mesh.home, "/api/openapi.json", authorization="")[0] == 401


def test_pages_of_elsewhere_are_turned_away_even_with_the_token(mesh) -> None:
    port = mesh.home.port
    for host in ("evil.example.com", f"evil.example.com:{port}", "127.0.0.1:1", f"127.0.0.1.evil.com:{port}"):
        assert ask(mesh.home, host=host)[0] == 403, host
    for origin in ("http://evil.example.com", "null", f"http://127.0.0.1:{port + 1}", "https://127.0.0.1"):
        assert ask(mesh.home, origin=origin)[0] == 403, origin
    assert ask(mesh.home, sec_fetch_site="cross-site")[0] == 403
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert ask(mesh.home, host=host, origin=f"http://{host}")[0] == 200, host


def test_another_users_program_cannot_read_the_token(mesh) -> None:
    for agent in (mesh.home, mesh.alice):
        assert stat.S_IMODE(agent.data.stat().st_mode) == 0o700
        pointers = agent.home / ".ztm" / "agents"
        for file in [*agent.data.rglob("*"), pointers, *pointers.rglob("*")]:
            assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file
    for file in [mesh.hub.data, *mesh.hub.data.rglob("*")]:
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file
    assert stat.S_IMODE(mesh.hub.permit.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become another user")
def test_the_command_line_of_another_user_is_refused_with_advice(mesh, tmp_path: Path) -> None:
    line = one_line(run_ztm(tmp_path, "get", "mesh", env={"ZTM_AGENT": f"127.0.0.1:{mesh.home.port}"}), 1)
    assert "token" in line
    assert "another user" in line
    read = ["/usr/bin/env", "-i", "cat", str(mesh.home.data / "api.token")]
    assert subprocess.run(read, user=65534, group=65534, extra_groups=[], capture_output=True, check=False).returncode


def test_the_api_describes_itself(mesh) -> None:
    status, text = ask(mesh.home, "/api/openapi.json")
    assert status == 200
    described: dict[str, Any] = json.loads(text)
    assert described["openapi"].startswith("3.")
    for path, operations in described["paths"].items():
        assert path.startswith("/"), path
        for method, operation in operations.items():
            assert method in ("get", "post", "put", "delete", "x-connect"), (path, method)
            assert operation["responses"], path
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert all("{" + name + "}" in path for name in named), path
    for wanted in ("/api/meshes", "/api/meshes/{mesh}", "/api/identity", "/api/version"):
        assert wanted in described["paths"]
    references = [part.split('"')[0] for part in text.split('"$ref":"')[1:]]
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in described["components"]["schemas"]


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000,
        b"GET /" + b"a" * 200_000,
        b"POST /api/meshes/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/meshes/x HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + b"\x00\x00\x05\x01\x04\x00\x00\x00\x01abcde",
        os.urandom(100_000),
        b"",
    ],
)
def test_garbage_on_the_port_harms_nothing(sent: bytes, mesh) -> None:
    with socket.create_connection(("127.0.0.1", mesh.home.port), 15) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
        except OSError:
            pass
    assert ask(mesh.home)[0] == 200
    assert "Traceback" not in mesh.home.log


def test_malformed_bodies_are_answered_400(mesh) -> None:
    for body in (
        "{",
        "[]",
        '{"ca":5}',
        '{"agent":{"labels":"x"}}',
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ):
        status, text = ask(mesh.home, "/api/meshes/new", "POST", body)
        assert status == 400, body
        assert json.loads(text)["message"], body
    assert ask(mesh.home, "/api/meshes/a%2Fb", "POST", "{}")[0] == 400
    assert ask(mesh.home, "/api/meshes/..", "POST", "{}")[0] in (400, 404)
    assert ask(mesh.home, "/api/nowhere")[0] == 404
    assert ask(mesh.home, "/api/meshes", "DELETE")[0] == 405
    assert [one["name"] for one in mesh.home.ok("get", "mesh", "-o", "json").json] == ["my-mesh"]


def test_a_refusal_says_its_status_and_reason_and_nothing_else(mesh) -> None:
    for path, method, body, shown in (
        ("/api/meshes", "GET", "", ""),
        ("/api/meshes/nowhere", "GET", "", None),
        ("/api/nowhere", "GET", "", None),
        ("/api/meshes", "DELETE", "", None),
        ("/api/meshes/x", "POST", "{", None),
        ("/api/meshes/my-mesh/endpoints/x", "GET", "", None),
        ("/api/meshes/my-mesh/permits/dave", "POST", "garbage", None),
        ("/api/meshes/my-mesh/apps/ztm/nowhere/", "GET", "", None),
        ("/api/events?types=x", "GET", "", None),
        ("/api/login/links/x", "GET", "", None),
    ):
        status, text = ask(mesh.home, path, method, body, **({} if shown is None else {"authorization": shown}))
        said = json.loads(text)
        assert said.keys() == {"status", "message"}, path
        assert said["status"] == status >= 400
        assert said["message"], path
        assert "Traceback" not in text
        assert ".py" not in text


def test_an_agent_restarted_has_a_new_token_and_its_command_line_finds_it(world: World) -> None:
    agent = world.agent("home")
    before = agent.token
    for end in (agent.kill, agent.stop):
        end()
        agent.start()
        assert agent.ok("get", "mesh").rows == []
    assert agent.token != before
    pointers = list((agent.home / ".ztm" / "agents").iterdir())
    assert len(pointers) == 1
    agent.stop()
    assert list((agent.home / ".ztm" / "agents").iterdir()) == []


def test_no_secret_is_in_any_log_or_output(world: World) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    alice = world.invited(hub, home, "alice")
    root = json.loads(hub.permit.read_text())
    said = [
        run.out + run.err
        for run in (
            home.ztm("get", "mesh", "-o", "json"),
            home.ztm("describe", "mesh", "my-mesh", "-o", "json"),
            home.ztm("get", "ep", "-o", "json"),
            home.ztm("log", "ep"),
            home.ztm("log", "hub", home.ok("get", "hub", "-o", "json").json[0]["id"]),
            alice.ztm("identity"),
            home.ztm("join", "again", "--as", "x", "--permit", hub.permit),
            home.ztm("invite", "x", "-i", "-", stdin=root["agent"]["privateKey"]),
            home.ztm("mesh", "my-mesh", "evict", "alice"),
        )
    ]
    until(lambda: alice.mesh["state"] == "evicted", what="evicted")
    said += [ask(home, "/api/meshes")[1], ask(home, "/api/meshes/my-mesh")[1]]
    for agent in (home, alice):
        said.append(ask(agent, "/api/meshes/m2", "POST", hub.permit.read_text())[1])
        agent.stop()
    hub.stop()
    secrets = [home.token, alice.token, root["agent"]["privateKey"].splitlines()[1], "PRIVATE KEY-----"]
    for text in [*said, *world.logs().values()]:
        for secret in secrets:
            assert secret not in text


def test_a_hub_started_again_prints_no_permit(world: World) -> None:
    hub = world.hub()
    hub.stop()
    hub.permit.unlink()
    hub.start()
    assert not hub.permit.exists()
    assert "'ztm root' makes another" in hub.log
    made = run_ztm(hub.home, "root", "--data", hub.data, "--names", f"127.0.0.1:{hub.port}", "--permit", hub.permit)
    assert (made.status, made.out, made.err) == (0, "", "")
    world.joined(hub, "home")
