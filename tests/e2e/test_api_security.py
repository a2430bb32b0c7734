"""Attacks on the local API of a real agent: a page of elsewhere, and who has no token, gets and changes nothing."""

import json
import re

import pytest
from raw_http import LABELS, Browser, connect, labels, operations, request, send
from world import Agent, Hub, World

# ---------------------------------------------------------------------- pages of elsewhere


def test_no_page_of_another_site_changes_or_reads_anything(mesh) -> None:
    home, path = mesh.home, LABELS.format(mesh.home.id)
    before = labels(home)
    port = home.port
    for refused in (
        {"origin": "http://evil.example.com"},
        {"origin": "null"},
        {"origin": f"http://localhost:{port + 1}"},
        {"host": f"evil.example.com:{port}"},
        {"host": f"127.0.0.1:{port + 1}"},
        {"host": f"127.0.0.1.evil.com:{port}"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        for method in ("GET", "POST"):
            answer = request(home, path, method, '["x"]' if method == "POST" else b"", **refused)
            assert answer.status == 403, refused
            assert answer.message
            assert "access-control-allow-origin" not in answer.headers
    assert labels(home) == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_simple_form_of_another_site_changes_nothing(kind: str, mesh) -> None:
    home = mesh.home
    before = labels(home)
    browser = Browser(home)
    browser.sign_in()
    for headers in ({"origin": "http://evil.example.com", "host": f"evil.example.com:{home.port}"}, {}):
        for cookie in ("", browser.cookie):  # a browser that forgets SameSite, and one that forgets Origin too
            answer = request(
                home, LABELS.format(home.id), "POST", '["x"]', token="", content_type=kind, cookie=cookie, **headers
            )
            assert answer.status in (401, 403), (headers, bool(cookie))
    assert labels(home) == before


def test_the_name_that_counts_is_the_one_in_the_request_line(mesh) -> None:
    home = mesh.home
    shown = f"authorization: Bearer {home.token}\r\nconnection: close\r\n\r\n"
    own = f"127.0.0.1:{home.port}"
    for line, status in (
        (f"GET http://{own}/api/version HTTP/1.1\r\nhost: {own}", 200),
        (f"GET http://{own}/api/version HTTP/1.1\r\nhost: evil.example.com", 200),
        (f"GET http://evil.example.com/api/version HTTP/1.1\r\nhost: {own}", 403),
        (f"GET http://evil.example.com:{home.port}/api/version HTTP/1.1\r\nhost: {own}", 403),
        (f"GET /api/version HTTP/1.1\r\nhost: {own}\r\nhost: evil.example.com", 400),
        (f"GET /api/version HTTP/1.1\r\nhost: evil.example.com\r\nhost: {own}", 400),
        (f"GET /api/version HTTP/1.1\r\nhost: {own}", 200),
        ("GET /api/version HTTP/1.1", 200),  # v1's command line says none
    ):
        assert send(home, f"{line}\r\n{shown}".encode()).status == status, line


def test_http_2_cannot_name_two_hosts_either(mesh) -> None:
    asked = (("localhost", "", 200), ("evil.example", "localhost", 400), ("evil.example", "", 403))
    for authority, host, wanted in asked:
        assert h2_status(mesh.home, authority, host) == wanted, (authority, host)


def h2_status(agent: Agent, authority: str, host: str) -> int:
    import h2.config
    import h2.connection
    import h2.events

    config = h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/api/version"), (":authority", authority)]
    fields += [("host", host)] if host else []
    connection.send_headers(1, [*fields, ("authorization", f"Bearer {agent.token}")], end_stream=True)
    with connect(agent) as stream:
        stream.sendall(connection.data_to_send())
        while data := stream.recv(1 << 16):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[":status"])
    return 0


def test_a_page_that_was_explicitly_allowed_needs_the_token_all_the_same(world: World) -> None:
    agent = world.agent("home", options=("--allow-origin", "tauri://localhost", "http://tauri.localhost"))
    for origin in ("tauri://localhost", "http://tauri.localhost"):
        page = {"origin": origin, "sec_fetch_site": "cross-site"}
        assert request(agent, token="", **page).status == 401
        answer = request(agent, **page)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, origin)
        asked = request(agent, method="OPTIONS", token="", access_control_request_method="POST", **page)
        assert asked.status == 204
    assert request(agent, origin="https://tauri.localhost").status == 403
    assert request(agent, origin="tauri://localhost.evil.com").status == 403


# ---------------------------------------------------------------------- who may come in


def test_without_the_token_there_is_nothing_but_the_way_to_sign_in(mesh) -> None:
    home = mesh.home
    opened = set()
    for method, path, is_open in operations(home):
        filled = re.sub(r"{mesh}", "my-mesh", path)
        filled = re.sub(r"{[^}]*}", home.id, filled)
        if is_open:
            opened.add((method, path))
            continue
        for token in ("", mesh.workplace.token):
            answer = request(home, filled, method, token=token)
            assert answer.status == 401, (method, path)
            assert method == "HEAD" or answer.message
    assert opened == {("GET", "/api/login"), ("POST", "/api/login"), ("GET", "/api/login/links/{code}")}
    for shown in (f"Bearer {home.token}x", f"Basic {home.token}", home.token, "Bearer", "Bearer " + home.token[:-1]):
        assert request(home, token="", authorization=shown).status == 401, shown
    cli = f"/api/meshes/my-mesh/apps/ztm/tunnel/cli?argv=%5B%5D&ep_id={home.id}"
    assert request(home, cli, "CONNECT", token="").status == 401
    assert [one["name"] for one in home.api("/api/meshes")] == ["my-mesh"]


# ---------------------------------------------------------------------- secrets


def test_no_key_material_is_in_any_answer(world: World) -> None:
    hub: Hub = world.hub()
    home = world.joined(hub, "home")
    home.ok("tunnel", "open", "outbound", "tcp/web", "--targets", "127.0.0.1:1")
    root = json.loads(hub.permit.read_text())
    secrets = [root["agent"]["privateKey"].splitlines()[2], "PRIVATE KEY-----", home.token]
    hub_id = next(iter(home.api("/api/meshes/my-mesh/hubs")))
    known = {
        "mesh": "my-mesh", "ep": home.id, "endpoint": home.id, "hub": hub_id, "user": "root", "provider": "ztm",
        "app": "tunnel", "proto": "tcp", "name": "web", "rest": "x", "hash": "0" * 64, "path": "x",
    }  # fmt: skip
    asked = 0
    for method, path, _ in operations(home):
        if method != "GET" or path == "/api/events":
            continue
        filled = re.sub(r"{([^}]*)}", lambda hole: known.get(hole[1], "x"), path)
        answer = request(home, filled)
        asked += 1
        for secret in secrets:
            assert secret.encode() not in answer.body, path
            assert all(secret not in value for value in answer.headers.values()), path
        assert b"Traceback" not in answer.body, path
        assert answer.status != 500, path
    assert asked > 15
    for body in ("garbage", root["agent"]["privateKey"]):
        said = request(home, "/api/meshes/my-mesh/agent/key", "POST", body)
        assert not any(secret.encode() in said.body for secret in secrets)
    assert not any(secret in home.log for secret in secrets)
