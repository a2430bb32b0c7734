"""Browsers at a real agent: signing in and out, what a cookie can do, and the files of the page."""

import json

from raw_http import LABELS, Browser, labels, request, send
from world import World

from ztm.agent.local.login import FAILURES

# ---------------------------------------------------------------------- browsers


def test_a_link_signs_in_one_browser_once_and_leaves_no_trace(mesh) -> None:
    home, browser, second = mesh.home, Browser(mesh.home), Browser(mesh.home)
    url = home.ok("gui", "--print").out.strip()
    assert url.startswith(f"http://127.0.0.1:{home.port}/api/login/links/")
    answer = browser.open(url)
    assert (answer.status, answer.headers["location"], answer.body) == (303, "/", b"")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert browser.ask("/api/login").json["signedIn"] is True
    again = second.open(url)
    assert again.status == 403
    assert "ztm gui" in again.message
    assert second.cookie == ""
    assert second.ask("/api/login").json == {"signedIn": False}
    code = url.rpartition("/")[2]
    for secret in (code, home.token, browser.cookie.partition("=")[2]):
        assert secret not in home.log
        assert secret not in browser.ask("/").body.decode()


def test_a_cookie_changes_nothing_without_the_header_and_nothing_after_signing_out(mesh) -> None:
    home, browser = mesh.home, Browser(mesh.home)
    browser.sign_in()
    path = LABELS.format(home.id)
    before = labels(home)
    assert browser.ask(path, "POST", '["gui"]', x_ztm_csrf="").status == 403
    assert browser.ask(path, "POST", '["gui"]', x_ztm_csrf="x").status == 403
    assert labels(home) == before
    assert browser.ask(path, "POST", '["gui"]').status in (200, 201)
    assert labels(home) == ["gui"]
    assert browser.ask(path, "POST", json.dumps(before)).status in (200, 201)
    stolen = browser.cookie
    assert browser.ask("/api/login", "DELETE").status == 204
    assert browser.cookie.endswith("=")
    browser.cookie = stolen
    assert browser.ask("/api/meshes").status == 401
    assert browser.ask(path, "POST", '["gui"]').status == 401


def test_the_token_can_be_pasted_and_guessing_it_is_stopped(world: World) -> None:
    agent = world.agent("home")
    browser = Browser(agent)
    entered = browser.ask("/api/login", "POST", json.dumps({"token": f" {agent.token}\n"}))
    assert (entered.status, entered.json["signedIn"]) == (200, True)
    assert browser.ask("/api/meshes").status == 200
    guesser = Browser(agent)
    for _ in range(FAILURES):
        assert guesser.ask("/api/login", "POST", '{"token":"guess"}').status == 401
    assert guesser.ask("/api/login", "POST", json.dumps({"token": agent.token})).status == 429
    assert guesser.ask("/api/login/links/guess").status == 403
    Browser(agent).sign_in()  # by a link: who guesses keeps nobody out
    assert request(agent).status == 200  # who has the token is not locked out
    assert browser.ask("/api/meshes").status == 200
    for body in ("", "{", "[]", '{"token":5}', '{"token":"' + "x" * 10_000 + '"}'):
        assert guesser.ask("/api/login", "POST", body).status in (400, 413), body[:20]


def test_every_answer_tells_browsers_to_be_careful(mesh) -> None:
    home = mesh.home
    browser = Browser(home)
    for answer in (
        request(home),
        request(home, token=""),
        request(home, origin="http://evil.example.com"),
        request(home, "/api/nowhere"),
        request(home, "/api/meshes/nowhere"),
        request(home, "/api/meshes", "DELETE"),
        request(home, "/api/meshes/x", "POST", "{"),
        browser.ask("/"),
        browser.ask("/nowhere"),
        browser.ask("/", "POST"),
    ):
        assert answer.status >= 200
        assert answer.headers["x-content-type-options"] == "nosniff", answer
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert request(home).headers["cache-control"] == "no-store"


# ---------------------------------------------------------------------- files of the page


def test_the_page_is_there_for_everybody_and_nothing_beside_it(mesh) -> None:
    home = mesh.home
    page = send(home, b"GET / HTTP/1.0\r\n\r\n")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    secret = (home.data / "api.token").read_bytes()
    depth = "../" * 12
    for path in (
        f"/{depth}etc/passwd",
        "/" + depth.replace("../", "%2e%2e/") + "etc/passwd",
        "/" + depth.replace("../", "..%2f") + "etc/passwd",
        "/" + depth.replace("../", "%2e%2e%2f") + "etc/passwd",
        "/" + depth.replace("../", "..\\") + "etc\\passwd",
        "/" + depth.replace("../", "..%5c") + "etc%5cpasswd",
        "/" + depth.replace("../", "%252e%252e%252f") + "etc%252fpasswd",
        "/" + depth.replace("../", "%c0%ae%c0%ae/") + "etc/passwd",
        "/" + depth.replace("../", "....//") + "etc/passwd",
        f"/{depth}{home.data}/api.token",
        f"{home.data}/api.token",
        f"/{home.data}/api.token",
        "/index.html%00.js",
        "/./index.html",
        "/app.js/../index.html",
        "/__init__.py",
        "/../agent/local/guard.py",
        "/%2e%2e/agent/local/guard.py",
        "/\xff\xfe",
    ):
        fields = b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        answer = send(home, b"GET " + path.encode("latin-1") + fields)
        assert answer.status in (400, 404), path
        assert secret not in answer.body
        assert b"root:" not in answer.body
    assert "Traceback" not in home.log
