"""Pages of apps by others: what they show, where they live, and what they can never reach."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from pathlib import Path

import pytest
from page_browser import CHAT, CSRF, HOST, OTHER, OWN, Machine, facts, installed

from ztm.agent.local.ends import EndedError
from ztm.agent.local.login import SESSION_SECONDS, SESSIONS
from ztm.agent.local.passes import AppPlace, entrance, holder_of, pass_of, shown_in
from ztm.errors import StorageError
from ztm.logs import redact
from ztm.net.asgi import Message, Send

GUESS = "A" * 43


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# ---------------------------------------------------------------------- the way in


async def test_a_signed_in_browser_is_sent_on_to_a_url_with_a_pass(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    got = await machine.ask(f"{CHAT}/sub/?a=b", cookie=cookie, sec_fetch_site="same-origin")
    assert got.status == 303
    assert got.fields["cache-control"] == "no-store"
    page = got.fields["location"]
    assert page.startswith(f"{CHAT}/~")
    assert page.endswith("/sub/?a=b")
    shown = await machine.ask(page)
    assert (shown.status, shown.body) == (200, b"sub")
    assert await machine.page(cookie) == await machine.page(cookie)  # two tabs of one browser have one pass


async def test_a_cookie_alone_opens_no_app_by_others(machine: Machine) -> None:
    cookie, session = machine.sign_in()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        got = await machine.ask(f"{CHAT}/api/x", method, cookie=cookie, origin=OWN, **{CSRF: session.csrf})
        assert got.status == 403
    assert (await machine.ask(f"{CHAT}/api/live", kind="websocket", cookie=cookie, origin=OWN)).status == 403
    assert (await machine.ask(f"{CHAT}/api/x", cookie=cookie)).status == 303
    assert machine.seen == []


async def test_another_site_is_not_sent_on(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    assert (await machine.ask(f"{CHAT}/", cookie=cookie, sec_fetch_site="cross-site")).status == 403
    assert (await machine.ask(f"{CHAT}/", cookie=cookie, origin="null")).status == 403
    assert (await machine.ask(f"{CHAT}/")).status == 401


# ---------------------------------------------------------------------- the page


async def test_the_page_has_an_origin_of_its_own_and_reaches_only_its_prefix(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    got = await machine.ask(page)
    policy = got.fields["content-security-policy"]
    own = f"{OWN}{page}"
    assert policy.startswith("sandbox allow-scripts allow-forms allow-modals allow-downloads; ")
    assert "allow-same-origin" not in policy
    assert "'self'" not in policy.replace("frame-ancestors 'self'", "")
    assert f"default-src {own} " in policy
    assert f"connect-src {own} ws{own.removeprefix('http')} " in policy
    assert "frame-ancestors 'self'" in policy
    assert got.fields["x-frame-options"] == "SAMEORIGIN"
    assert got.fields["x-content-type-options"] == "nosniff"
    assert got.fields["referrer-policy"] == "no-referrer"
    assert got.fields["cache-control"] == "no-store"
    assert got.fields["content-type"] == "text/html; charset=utf-8"
    assert "access-control-allow-origin" not in got.fields


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("", "text/html; charset=utf-8", b"<title>chat</title>"),
        ("index.html", "text/html; charset=utf-8", b"<title>chat</title>"),
        ("app.js", "text/javascript; charset=utf-8", b"1"),
        ("sub/", "text/html; charset=utf-8", b"sub"),
        ("%61pp.js", "text/javascript; charset=utf-8", b"1"),
        ("big.bin", "application/octet-stream", b"x" * 200_000),
    ],
)
async def test_files_are_served_without_the_app(machine: Machine, path: str, kind: str, body: bytes) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    got = await machine.ask(page + path)
    assert (got.status, got.fields["content-type"], got.body) == (200, kind, body)
    assert got.fields["content-length"] == str(len(body))
    assert (await machine.ask(page + path, "HEAD")).body == b""
    assert machine.seen == []


@pytest.mark.parametrize(
    "path",
    ["nowhere", "api/notes.txt", "api/x", "a%70i/notes.txt", ".secret", "../chat/gui/index.html", "..%2f..%2fx", "sub"],
)
async def test_all_else_is_the_apps(machine: Machine, path: str) -> None:
    cookie, _ = machine.sign_in()
    got = await machine.ask(await machine.page(cookie) + path)
    assert got.body == b"the app's own"
    assert machine.seen[0]["raw_path"] == f"/{path}".encode()


async def test_a_change_of_a_file_that_is_not_a_look_is_the_apps(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    assert (
        await machine.ask(await machine.page(cookie) + "index.html", "POST", origin="null")
    ).body == b"the app's own"


async def test_no_link_leads_out_of_the_folder(machine: Machine, tmp_path: Path) -> None:
    cookie, _ = machine.sign_in()
    gui = machine.apps["chat"].folder / "gui"
    (gui / "link.txt").symlink_to(tmp_path / "data" / "api.token")
    (gui / "dir").symlink_to(tmp_path / "data")
    page = await machine.page(cookie)
    for path in ("link.txt", "dir/api.token"):
        assert (await machine.ask(page + path)).body == b"the app's own"


async def test_another_version_of_the_app_has_its_own_files(machine: Machine, tmp_path: Path) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    await machine.ask(page)
    machine.apps["chat"] = installed(tmp_path / "chat2", "chat", "2")
    (tmp_path / "chat2" / "gui" / "index.html").write_text("newer")
    assert (await machine.ask(page)).body == b"newer"


async def test_a_file_that_is_gone_is_an_error_that_is_said(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    await machine.ask(page)
    (machine.apps["chat"].folder / "gui" / "app.js").unlink()
    got = await machine.ask(page + "app.js")
    assert got.status == StorageError.status


# ---------------------------------------------------------------------- what a pass opens


async def test_a_pass_opens_its_app_for_scripts_forms_and_websockets(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        got = await machine.ask(f"{page}api/x", method, origin="null", sec_fetch_site="cross-site")
        assert (got.status, got.body) == (200, b"the app's own")
        assert got.fields["access-control-allow-origin"] == "null"
        assert "access-control-allow-credentials" not in got.fields
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "x-y"}
    got = await machine.ask(f"{page}api/x", "OPTIONS", origin="null", **asked)
    assert (got.status, got.fields["access-control-allow-origin"]) == (204, "null")
    assert got.fields["access-control-allow-headers"] == "*"
    assert len(machine.seen) == 5


async def test_a_pass_is_not_the_cookie_and_the_app_never_sees_either(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    await machine.ask(f"{page}api/x", cookie=cookie, authorization="Bearer x")
    (scope,) = machine.seen
    assert facts(scope) == ("pass", page.rsplit("/", 2)[1])
    assert [name for name, _ in scope["headers"]] == [b"host"]
    assert scope["root_path"] == page[:-1]  # so that URLs that the app makes work in its page
    assert scope["extensions"]["ztm.session"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/api/version",
        "/api/meshes",
        "/api/login",
        "/api/login/links",
        "/api/identity",
        "/api/events",
        "/api/meshes/m/audit",
        f"{OTHER}/",
        f"{OTHER}/api/x",
        "/api/meshes/m/apps/ztm/terminal/api/x",
    ],
)
async def test_the_page_reaches_nothing_else_of_the_agent(machine: Machine, path: str) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    given = page.rsplit("/", 2)[1]
    for method in ("GET", "POST"):
        for fields in ({}, {"cookie": cookie}):
            assert (await machine.ask(path, method, origin="null", **fields)).status == 403
            assert (await machine.ask(path, method, sec_fetch_site="cross-site", **fields)).status in (401, 403)
        assert (await machine.ask(path, method, authorization=f"Bearer {given[1:]}")).status in (200, 401)
        if path != "/api/login/links":  # below it are the links, which everybody may try
            assert (await machine.ask(f"{path.removesuffix('/')}/{given}/", method)).status == 401
    assert (await machine.ask(path, kind="websocket", origin="null", cookie=cookie)).status == 403
    assert machine.seen == []
    assert all(scope["raw_path"] == b"/api/login" for scope in machine.beyond)


@pytest.mark.parametrize(
    "rest",
    ["../../../../version", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/version", "..%2f..%2f..%2f..%2fversion", "../other/api/x",
     "/../../../other/", "~" + GUESS + "/", "//api/version", "\\..\\..\\version", "%00/api/version"],
)  # fmt: skip
async def test_no_way_of_writing_a_path_leads_out_of_the_prefix(machine: Machine, rest: str) -> None:
    cookie, _ = machine.sign_in()
    await machine.ask(f"{await machine.page(cookie)}{rest}")
    assert machine.beyond == []
    assert all(scope["root_path"].startswith(f"{CHAT}/~") for scope in machine.seen)


async def test_commands_are_not_for_pages(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    for method in ("CONNECT", "TRACE", "PROPFIND"):
        assert (await machine.ask(f"{page}cli", method, origin="null")).status == 403
    assert machine.seen == []


@pytest.mark.parametrize("origin", [OWN, "http://evil.example", "", "NULL", "tauri://localhost", "null, null"])
async def test_a_stolen_pass_is_of_no_use_to_scripts_of_other_sites(machine: Machine, origin: str) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    if origin:
        got = await machine.ask(f"{page}api/x", "POST", origin=origin)
        assert got.status == 403
        assert "access-control-allow-origin" not in got.fields
        assert (await machine.ask(f"{page}api/live", kind="websocket", origin=origin)).status == 403
    for host in ("evil.example", "localhost.evil.example:7777", "127.0.0.1:1"):
        assert (await machine.ask(page, host=host)).status == 403
    assert machine.seen == []


async def test_a_guess_and_another_apps_pass_open_nothing_and_are_told_nothing(machine: Machine) -> None:
    cookie, session = machine.sign_in()
    foreign = pass_of(session, AppPlace("m", "eve", "other"))
    for given in (GUESS, foreign, "", "~", "x" * 10_000, "%ff", pass_of(session, AppPlace("n", "eve", "chat"))):
        for fields in ({}, {"cookie": cookie}, {"origin": "null"}):
            got = await machine.ask(f"{CHAT}/~{given}/", **fields)
            assert got.status in (401, 403), given
            assert "access-control-allow-origin" not in got.fields
    asked = {"origin": "null", "access_control_request_method": "POST"}
    assert (await machine.ask(f"{CHAT}/~{GUESS}/api/x", "OPTIONS", **asked)).status == 401
    assert machine.seen == []


# ---------------------------------------------------------------------- what an app answers


EVIL = {
    "set-cookie": "ztm-7777=fixed; Path=/", "clear-site-data": '"*"', "service-worker-allowed": "/",
    "access-control-allow-origin": "*", "access-control-allow-credentials": "true",
    "content-security-policy": "default-src *", "content-security-policy-report-only": "x", "x-frame-options": "ALLOW",
    "referrer-policy": "unsafe-url", "cache-control": "public, max-age=99", "cross-origin-opener-policy": "same-origin",
    "strict-transport-security": "max-age=99", "www-authenticate": "Basic", "ztm-agent": "x", "report-to": "x",
}  # fmt: skip


async def test_an_app_by_others_cannot_act_beyond_its_answer_whoever_asks(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    machine.answer_fields = [(name.title().encode(), value.encode()) for name, value in EVIL.items()]
    machine.answer_fields.append((b"x-own", b"kept"))
    by_token = {"authorization": f"Bearer {machine.credentials.token}"}
    for got in (await machine.ask(f"{page}api/x"), await machine.ask(f"{CHAT}/api/x", **by_token)):
        assert got.status == 200
        shown = [value for name, value in got.fields.items() if EVIL.get(name.lower()) == value]
        assert shown == []
        assert got.fields["content-security-policy"].startswith("sandbox")
        assert got.fields["x-own"] == "kept"
        assert not {"set-cookie", "Set-Cookie"} & got.fields.keys()
    assert "default-src 'none'" in got.fields["content-security-policy"]  # what a program asks for runs nowhere


async def test_not_by_a_websocket_either(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    machine.answer_fields = [(b"set-cookie", b"a=b"), (b"x-own", b"kept")]
    sent: list[Message] = []
    page = await machine.page(cookie)
    task = asyncio.ensure_future(machine.ask(f"{page}api/live", kind="websocket", origin="null", sent=sent))
    while not sent:
        await asyncio.sleep(0)
    assert sent[0]["headers"] == [(b"x-own", b"kept")]
    await machine.guard.ends.close()
    await task


# ---------------------------------------------------------------------- the end


async def test_a_pass_dies_with_its_sign_in(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    other, _ = machine.sign_in()
    page, others = await machine.page(cookie), await machine.page(other)
    assert page != others
    machine.login.leave([cookie])
    assert (await machine.ask(page)).status == 401
    assert (await machine.ask(page, cookie=other)).status == 401
    assert (await machine.ask(others)).status == 200
    machine.now = SESSION_SECONDS + 1
    assert (await machine.ask(others)).status == 401


async def test_a_sign_in_too_many_ends_the_oldest_with_its_pass(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    for _ in range(SESSIONS):
        machine.sign_in()
    assert (await machine.ask(page)).status == 401


def test_an_app_cannot_make_the_pass_of_another_one(machine: Machine) -> None:
    _, session = machine.sign_in()
    own = pass_of(session, AppPlace("m", "eve", "chat"))
    named = json.dumps(["m", "eve", "chat"]).encode()
    made = hmac.digest(session.seal, named, hashlib.sha256)
    assert own == base64.urlsafe_b64encode(made).rstrip(b"=").decode()
    assert len({own, *(pass_of(session, AppPlace(*names)) for names in (
        ("m", "eve", "chatt"), ("m", "eve/chat", ""), ("m/eve", "", "chat"), ("me", "ve", "chat"), ("m\0eve", "x", "y")
    ))}) == 6  # fmt: skip
    assert repr(session.seal) not in repr(session)


def test_a_shown_pass_is_read_from_the_path_as_sent() -> None:
    shown = shown_in(b"/api/meshes/my%20mesh/apps/e/c/~x/a%2Fb/c")
    assert shown is not None
    assert (shown.place, shown.given, shown.rest) == (AppPlace("my mesh", "e", "c"), "x", b"/a%2Fb/c")
    for path in (b"/api/meshes/m/apps/e/c/x", b"/api/meshes/m/apps/e/~x/", b"/api/meshes//apps/e/c/~x/", b"/~x/"):
        assert shown_in(path) is None


def test_the_entrance_is_where_a_pass_is_found_again(machine: Machine) -> None:
    _, session = machine.sign_in()
    place = AppPlace("my mesh", "e/f", "c;d~")
    shown = shown_in(entrance(session, place).encode())
    assert shown is not None
    assert (shown.place, shown.rest) == (place, b"/")
    assert holder_of(shown, [session]) is session


async def test_no_pass_is_logged(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cookie, session = machine.sign_in()
    page = await machine.page(cookie)
    (machine.apps["chat"].folder / "gui" / "app.js").unlink()
    await machine.ask(f"{page}app.js")
    given = pass_of(session, AppPlace("m", "eve", "chat"))
    assert given not in caplog.text
    assert given not in redact(f"GET {page}api/x failed")
    assert HOST in redact(f"http://{HOST}{page}")


# ---------------------------------------------------------------------- what is open


async def opened(machine: Machine, path: str, sent: list[Message]) -> "asyncio.Task[object]":
    """A WebSocket of an app's page."""
    task = asyncio.ensure_future(machine.ask(path, kind="websocket", sent=sent, origin="null"))
    async with asyncio.timeout(5):
        while not sent:
            await asyncio.sleep(0)
    return task


async def test_signing_out_ends_the_websockets_of_that_browser_only(machine: Machine) -> None:
    (cookie, _), (other, _) = machine.sign_in(), machine.sign_in()
    mine: list[Message] = []
    theirs: list[Message] = []
    first = await opened(machine, await machine.page(cookie) + "api/live", mine)
    second = await opened(machine, await machine.page(other) + "api/live", theirs)
    machine.login.leave([cookie])
    await asyncio.wait_for(first, 5)
    assert mine[-1] == {"type": "websocket.close", "code": 1008, "reason": "the browser's sign-in is over"}
    assert not second.done()
    await machine.guard.ends.close()
    await asyncio.wait_for(second, 5)
    assert theirs[-1]["code"] == 1001


async def test_what_a_browser_has_open_ends_when_its_time_is_over(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    page = await machine.page(cookie)
    machine.now = SESSION_SECONDS - 0.05
    sent: list[Message] = []
    task = await opened(machine, f"{page}api/live", sent)
    await asyncio.wait_for(task, 5)
    assert sent[-1]["code"] == 1008


async def test_a_request_under_way_is_refused_when_its_browser_signs_out(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    begun = asyncio.Event()

    async def slow(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    machine.app = slow
    page = await machine.page(cookie)
    task = asyncio.ensure_future(machine.ask(f"{page}api/x", origin="null"))
    await asyncio.wait_for(begun.wait(), 5)
    machine.login.leave([cookie])
    assert (await asyncio.wait_for(task, 5)).status == 401


async def test_a_stream_of_events_is_cut_when_its_browser_signs_out(machine: Machine) -> None:
    cookie, _ = machine.sign_in()
    sent: list[Message] = []

    async def events(_scope: object, _receive: object, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    machine.guard._api = events
    task = asyncio.ensure_future(machine.ask("/api/events", cookie=cookie, sent=sent))
    while not sent:
        await asyncio.sleep(0)
    machine.login.leave([cookie])
    with pytest.raises(EndedError, match="sign-in is over"):  # on which whoever serves it cuts the stream
        await asyncio.wait_for(task, 5)


async def test_signing_out_is_answered_itself(machine: Machine) -> None:
    cookie, session = machine.sign_in()

    async def leaving(_scope: object, _receive: object, send: object) -> None:
        machine.login.leave([cookie])
        await asyncio.sleep(0)
        await machine._say(send, b"signed out")  # type: ignore[arg-type]

    machine.guard._api = leaving
    got = await machine.ask("/api/login", "DELETE", cookie=cookie, **{CSRF: session.csrf})
    assert (got.status, got.body) == (200, b"signed out")
