"""The page of an installed app by others at a real agent: the way in, what its pass opens, and how it ends."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_http import Browser, connect, request
from world import Agent, World, until

MANIFEST = 'name = "echo"\nversion = "1.0.0"\napi = 1\nentry = "echo:app"\npermissions = []\n'
CODE = """
from ztm_app import App

async def answer(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            await send({"type": (await receive())["type"] + ".complete"})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"set-cookie", b"evil=1")]})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    names = b",".join(sorted(name for name, _ in scope["headers"]))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"evil=1; Path=/")]})
    await send({"type": "http.response.body", "body": scope["path"].encode() + b" " + names})

app = App(user=answer)
"""
PREFIX = "/api/meshes/my-mesh/apps/root/echo"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    world = World(tmp_path_factory.mktemp("pages"))
    try:
        home = world.joined(world.hub(), "home")
        folder = Path(world.path) / "echo"
        (folder / "gui").mkdir(parents=True)
        for name, content in (("ztm-app.toml", MANIFEST), ("echo.py", CODE), ("gui/index.html", "<title>echo</title>")):
            (folder / name).write_text(content)
        home.ok("app", "install", folder, "--yes")
        yield home
    finally:
        world.close()


def page_of(browser: Browser) -> str:
    """The URL that a signed-in browser is sent on to."""
    answer = browser.ask(f"{PREFIX}/")
    assert answer.status == 303
    return answer.headers["location"]


def is_running(agent: Agent) -> bool:
    found = next(
        app for app in request(agent, f"/api/meshes/my-mesh/endpoints/{agent.id}/apps").json if app["name"] == "echo"
    )
    return bool(found["isRunning"])


def test_the_page_is_there_while_the_app_does_not_run(agent: Agent) -> None:
    agent.ok("stop", "app", "echo")
    browser = Browser(agent)
    browser.sign_in()
    shown = request(agent, page_of(browser), token="")
    assert (shown.status, shown.body) == (200, b"<title>echo</title>")
    assert shown.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert not is_running(agent)


def test_a_link_leads_to_the_page_at_once(agent: Agent) -> None:
    browser = Browser(agent)
    answer = browser.open(agent.ok("gui", "--app", "echo", "--print").out.strip())
    assert answer.status == 303
    assert answer.headers["location"].startswith(f"{PREFIX}/~")
    assert request(agent, answer.headers["location"], token="", sec_fetch_site="cross-site").status == 200
    assert "not found" in agent.fails("gui", "--app", "nothing")


def test_the_page_asks_its_app_and_the_app_gets_no_secret_and_sets_no_cookie(agent: Agent) -> None:
    browser = Browser(agent)
    browser.sign_in()
    page = page_of(browser)
    answer = request(agent, f"{page}api/x", "POST", "{}", token="", origin="null", cookie=browser.cookie)
    assert answer.status == 200
    assert f"{page}api/x " in answer.body.decode()  # as ASGI has it, below the root path
    assert "host" in answer.body.decode()
    assert not any(secret in answer.body for secret in (b"cookie", b"authorization"))
    assert answer.headers["access-control-allow-origin"] == "null"
    assert "set-cookie" not in answer.headers
    by_program = request(agent, f"{PREFIX}/api/x")
    assert by_program.status == 200
    assert by_program.headers["content-security-policy"].startswith("sandbox;")
    assert "set-cookie" not in by_program.headers


def test_its_pass_opens_nothing_else(agent: Agent) -> None:
    browser = Browser(agent)
    browser.sign_in()
    given = page_of(browser).rsplit("/", 2)[1]
    for path in (
        "/api/version",
        "/api/meshes",
        f"/api/meshes/my-mesh/apps/ztm/tunnel/{given}/api/inbound",
        "/api/login",
    ):
        for cookie in ("", browser.cookie):
            assert request(agent, path, token="", origin="null", cookie=cookie).status in (401, 403)
        assert request(agent, path, token=given[1:]).status in (200, 401)
    assert request(agent, f"/api/meshes/my-mesh/apps/ztm/tunnel/{given}/", token="").status == 401
    assert request(agent, f"{PREFIX}/cli", "CONNECT", token="", origin="null").status in (400, 403)


def opened(agent: Agent, page: str) -> socket.socket:
    """A WebSocket of the page."""
    connection = connect(agent, timeout=20.0)
    head = [f"GET {page}api/live HTTP/1.1", f"host: 127.0.0.1:{agent.port}", "origin: null", "upgrade: websocket"]
    head += ["connection: Upgrade", "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    connection.sendall("\r\n".join(head).encode())
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(1000)
    assert got.startswith(b"HTTP/1.1 101"), got
    assert b"set-cookie" not in got
    return connection


def code_of(connection: socket.socket) -> int:
    """The code with which the agent closes (RFC 6455 section 5.5.1); the frame is short and unmasked."""
    head = connection.recv(2)
    assert head[:1] == b"\x88", head
    return int.from_bytes(connection.recv(2), "big")


def test_signing_out_ends_what_the_page_has_open_and_its_pass(agent: Agent) -> None:
    browser = Browser(agent)
    browser.sign_in()
    page = page_of(browser)
    with opened(agent, page) as connection:
        assert browser.ask("/api/login", "DELETE").status == 204
        assert code_of(connection) == 1008
    assert request(agent, page, token="").status == 401
    assert request(agent, page, token="", origin="null").status == 401


def test_no_pass_is_in_the_log_and_a_stopping_agent_says_goodbye(agent: Agent) -> None:
    browser = Browser(agent)
    browser.sign_in()
    page = page_of(browser)
    with opened(agent, page) as connection:
        agent.stop()
        assert code_of(connection) == 1001
    assert page.rsplit("/", 2)[1] not in agent.log
    agent.start()
    until(lambda: agent.mesh["connected"])
    assert request(agent, page, token="").status == 401
