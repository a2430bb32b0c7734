"""Who may use the local API, and who may not."""

import asyncio
import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from ztm.agent.local.guard import Doors, Guard
from ztm.agent.local.login import CSRF_HEADER, Login
from ztm.agent.local.origins import Origins
from ztm.agent.local.token import TOKEN_FILE, Credentials
from ztm.errors import UsageError
from ztm.model import Address
from ztm.net.scope import Message, Receive, Scope, Send

V4, V6 = Address("127.0.0.1", 7777), Address("::1", 7777)
EVERYWHERE = Address("0.0.0.0", 7777)


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    (tmp_path / "data").mkdir()
    return Credentials.issue(tmp_path / "data", tmp_path / "pointers", V4)


@dataclass
class Door:
    """A guard before an application that answers 200 and notes what it was let see."""

    credentials: Credentials
    address: Address = V4
    origins: tuple[str, ...] = ()
    doors: Doors = field(default_factory=Doors)
    seen: list[Scope] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.login = Login(self.credentials.token, self.address.port, lambda: 0.0)
        origins = Origins(self.address, self.origins)
        self.guard = Guard(self._api, self._pages, self.credentials, self.login, origins, self.doors)

    async def _api(self, scope: Scope, _receive: object, send: Send) -> None:
        self.seen.append(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"api"})

    async def _pages(self, _scope: Scope, _receive: object, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-cache")]})
        await send({"type": "http.response.body", "body": b"page"})

    async def request(
        self,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        path: str = "/api/meshes",
        method: str = "GET",
        **extensions: object,
    ) -> tuple[int, dict[str, str], bytes]:
        """The status, header fields and body of one answer."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("a refused request is not read")

        pairs = headers.items() if isinstance(headers, dict) else headers or []
        scope = {
            "type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in pairs],
            "extensions": {name.replace("_", "."): value for name, value in extensions.items()},
        }  # fmt: skip
        await self.guard(scope, receive, send)
        fields = {name.decode(): value.decode() for name, value in sent[0].get("headers", ())}
        return sent[0]["status"], fields, b"".join(message.get("body", b"") for message in sent[1:])


async def ask(credentials: Credentials, headers: dict[str, str], address: Address = V4, *, token: str = "") -> int:
    """The status that a request gets; 200 if it is let through."""
    shown = {"authorization": f"Bearer {token or credentials.token}"} | headers
    status, fields, _ = await Door(credentials, address).request(shown)
    assert status == 200 or fields["ztm-agent"] == credentials.instance
    return status


# ---------------------------------------------------------------------- token


async def test_the_token_lets_in(credentials: Credentials) -> None:
    assert await ask(credentials, {}) == 200


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {}x", "Bearer  {}", "bé"])
async def test_anything_else_does_not(credentials: Credentials, shown: str) -> None:
    assert await ask(credentials, {"authorization": shown.format(credentials.token)}) == 401


async def test_a_request_without_authorization_is_turned_away(credentials: Credentials) -> None:
    door = Door(credentials)
    status, fields, _ = await door.request()
    assert (status, door.seen) == (401, [])
    assert fields["www-authenticate"].startswith("Bearer")


async def test_the_token_shown_twice_or_beside_another_does_not_let_in(credentials: Credentials) -> None:
    good, bad = f"Bearer {credentials.token}", "Bearer wrong"
    for shown in ((good, good), (good, bad), (bad, good)):
        assert (await Door(credentials).request([("authorization", each) for each in shown]))[0] == 401


async def test_an_open_api_asks_for_no_token_and_still_knows_its_name(credentials: Credentials) -> None:
    door = Door(credentials, doors=Doors(is_open=True))
    assert (await door.request())[0] == 200
    assert (await door.request({"host": "evil.example"}))[0] == 403
    assert (await door.request({"origin": "http://evil.example"}))[0] == 403


async def test_the_socket_asks_for_no_token_and_has_no_name(credentials: Credentials) -> None:
    door = Door(credentials)
    assert (await door.request({"host": "anything"}, ztm_socket=True))[0] == 200
    assert (await door.request({"origin": "http://evil.example"}, ztm_socket=True))[0] == 403


# ---------------------------------------------------------------------- browsers


async def test_a_cookie_lets_look_and_changes_nothing_without_the_header(credentials: Credentials) -> None:
    door = Door(credentials)
    id_ = door.login.enter_by_token(credentials.token)
    cookie = f"other=1; {door.login.cookie}={id_}"
    session = door.login.session([cookie])
    assert session is not None
    assert (await door.request({"cookie": cookie}))[0] == 200
    for method in ("POST", "DELETE", "PUT", "PATCH", "CONNECT"):
        assert (await door.request({"cookie": cookie}, method=method))[0] == 403
        assert (await door.request({"cookie": cookie, CSRF_HEADER: "wrong"}, method=method))[0] == 403
        assert (await door.request({"cookie": cookie, CSRF_HEADER: session.csrf}, method=method))[0] == 200
    door.login.leave([cookie])
    assert (await door.request({"cookie": cookie}))[0] == 401


async def test_a_wrong_token_is_not_made_good_by_a_cookie(credentials: Credentials) -> None:
    door = Door(credentials)
    cookie = f"{door.login.cookie}={door.login.enter_by_token(credentials.token)}"
    assert (await door.request({"cookie": cookie, "authorization": "Bearer wrong"}))[0] == 401


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/app.js", "GET", 200),
        ("/api/login", "GET", 200),
        ("/api/login", "POST", 200),
        ("/api/login", "DELETE", 401),
        ("/api/login/links", "POST", 401),
        ("/api/login/links/x", "GET", 200),
        ("/api/login/links/x", "POST", 401),
        ("/api/%6cogin", "GET", 401),
        ("/api/loginx", "GET", 401),
        ("/api", "GET", 401),
        ("/API/meshes", "GET", 401),
        ("//api/meshes", "GET", 401),
        ("/%61pi/meshes", "GET", 401),
        ("/api%2fmeshes", "GET", 401),
        ("/api/events", "GET", 401),
        ("/api/openapi.json", "GET", 401),
    ],
)
async def test_without_a_token_there_are_pages_and_the_way_to_sign_in(
    credentials: Credentials, path: str, method: str, status: int
) -> None:
    assert (await Door(credentials).request(path=path, method=method))[0] == status


async def test_every_answer_tells_browsers_to_be_careful(credentials: Credentials) -> None:
    door = Door(credentials, origins=("tauri://localhost",))
    shown = {"authorization": f"Bearer {credentials.token}"}
    answers = [
        await door.request(shown),
        await door.request(),
        await door.request({"host": "evil.example"}),
        await door.request(path="/"),
        await door.request({**shown, "origin": "tauri://localhost"}),
    ]
    for _, fields, _ in answers:
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["x-frame-options"] == "DENY"
        assert fields["referrer-policy"] == "no-referrer"
        assert "unsafe" not in fields["content-security-policy"]
        assert "frame-ancestors 'none'" in fields["content-security-policy"]
    assert answers[0][1]["cache-control"] == "no-store"
    assert answers[3][1]["cache-control"] == "no-cache"
    assert "access-control-allow-origin" not in answers[0][1]


async def test_what_lets_in_goes_no_further(credentials: Credentials) -> None:
    door = Door(credentials)
    shown = {"authorization": f"Bearer {credentials.token}", "cookie": "a=b", "accept": "x/y"}
    assert (await door.request(shown))[0] == 200
    assert door.seen[0]["headers"] == [(b"accept", b"x/y")]


# ---------------------------------------------------------------------- Host


@pytest.mark.parametrize(
    "host", ["localhost:7777", "LOCALHOST:7777", "127.0.0.1:7777", "[::1]:7777", "localhost", "127.0.0.1", "[::1]"]
)
@pytest.mark.parametrize("address", [V4, V6, EVERYWHERE])
async def test_a_loopback_name_is_answered(credentials: Credentials, host: str, address: Address) -> None:
    assert await ask(credentials, {"host": host}, address) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7777",
        "localhost:7778",
        "localhost.evil.example:7777",
        "127.0.0.1.evil.example",
        "127.0.0.1:80",
        "[::2]:7777",
        "::1",
        "0.0.0.0:7777",
        "localhost:7777:7777",
        "user@localhost:7777",
    ],
)
@pytest.mark.parametrize("address", [V4, EVERYWHERE])
async def test_another_name_is_not_even_with_the_token(credentials: Credentials, host: str, address: Address) -> None:
    assert await ask(credentials, {"host": host}, address) == 403


async def test_the_address_that_it_listens_on_is_a_name_of_it(credentials: Credentials) -> None:
    assert await ask(credentials, {"host": "10.1.2.3:7777"}, Address("10.1.2.3", 7777)) == 200
    assert await ask(credentials, {"host": "[fd00::1]:7777"}, Address("fd00::1", 7777)) == 200
    assert await ask(credentials, {"host": "10.1.2.4:7777"}, Address("10.1.2.3", 7777)) == 403


# ---------------------------------------------------------------------- pages of other sites


@pytest.mark.parametrize(
    "origin", ["http://localhost:7777", "HTTP://LOCALHOST:7777", "http://127.0.0.1:7777", "http://[::1]:7777"]
)
async def test_its_own_page_is_let_in(credentials: Credentials, origin: str) -> None:
    assert await ask(credentials, {"origin": origin, "sec-fetch-site": "same-origin"}) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost",
        "http://localhost:8080",
        "https://localhost:7777",
        "http://localhost:7777.evil.example",
        "file://",
    ],
)
async def test_a_page_of_another_origin_is_not_even_with_the_token(credentials: Credentials, origin: str) -> None:
    assert await ask(credentials, {"origin": origin}) == 403


async def test_on_port_80_an_origin_has_no_port(credentials: Credentials) -> None:
    assert await ask(credentials, {"origin": "http://localhost"}, Address("127.0.0.1", 80)) == 200
    assert await ask(credentials, {"origin": "http://localhost:7777"}, Address("127.0.0.1", 80)) == 403


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("none", 200), ("odd", 200)])
async def test_a_browser_that_says_who_asks_is_believed(credentials: Credentials, site: str, status: int) -> None:
    assert await ask(credentials, {"sec-fetch-site": site}) == status


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/app.js", "GET", 200),
        ("/api/login/links/x", "GET", 200),
        ("/", "POST", 403),
        ("/api/login", "GET", 403),
        ("/api/login", "POST", 403),
        ("/api/login/links", "POST", 403),
        ("/api/meshes", "GET", 403),
    ],
)
async def test_a_link_from_elsewhere_leads_to_the_page_and_no_further(
    credentials: Credentials, path: str, method: str, status: int
) -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert (await Door(credentials).request(followed, path=path, method=method))[0] == status
    by_script = {**followed, "origin": "http://evil.example"}
    assert (await Door(credentials).request(by_script, path=path, method=method))[0] == 403


async def test_a_foreign_page_learns_nothing_about_its_token(credentials: Credentials) -> None:
    assert await ask(credentials, {"origin": "http://evil.example"}, token="guess") == 403


async def test_two_hosts_are_none(credentials: Credentials) -> None:
    shown = ("authorization", f"Bearer {credentials.token}")
    for hosts in (("localhost", "evil.example"), ("evil.example", "localhost"), ("localhost", "localhost")):
        assert (await Door(credentials).request([shown, *(("host", host) for host in hosts)]))[0] == 400


async def test_an_allowed_page_needs_the_token_and_no_cookie_serves_it(credentials: Credentials) -> None:
    door = Door(credentials, origins=("tauri://localhost",))
    page = {"origin": "tauri://localhost", "sec-fetch-site": "cross-site"}
    cookie = f"{door.login.cookie}={door.login.enter_by_token(credentials.token)}"
    assert (await door.request(page))[0] == 401
    assert (await door.request({**page, "cookie": cookie}))[0] == 401
    status, fields, _ = await door.request({**page, "authorization": f"Bearer {credentials.token}"})
    assert (status, fields["access-control-allow-origin"], fields["vary"]) == (200, "tauri://localhost", "origin")
    assert "access-control-allow-credentials" not in fields
    status, fields, _ = await door.request({**page, "access-control-request-method": "POST"}, method="OPTIONS")
    assert status == 204
    assert "authorization" in fields["access-control-allow-headers"]
    asked = await Door(credentials).request({**page, "access-control-request-method": "POST"}, method="OPTIONS")
    assert asked[0] == 403


async def test_two_origins_are_judged_by_the_worse(credentials: Credentials) -> None:
    door = Door(credentials, origins=("tauri://localhost",))
    shown = ("authorization", f"Bearer {credentials.token}")
    for good in ("tauri://localhost", "http://localhost:7777"):
        assert (await door.request([shown, ("origin", good), ("origin", "http://evil.example")]))[0] == 403


async def test_a_body_that_does_not_come_is_given_up(credentials: Credentials) -> None:
    async def api(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    login = Door(credentials).login
    shown = [(b"authorization", f"Bearer {credentials.token}".encode())]
    for path, headers, doors in (
        ("/api/x", shown, Doors(body_seconds=0.01)),
        ("/api/login", [], Doors(unknown_seconds=0.01, body_seconds=0)),
    ):
        guard = Guard(api, api, credentials, login, Origins(V4), doors)
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
        await guard({**scope, "extensions": {}}, receive, send)
        assert sent.pop(0)["status"] == 408
        sent.clear()


# ---------------------------------------------------------------------- where the owner finds it


def test_the_token_and_its_pointer_are_private(tmp_path: Path, credentials: Credentials) -> None:
    token = tmp_path / "data" / TOKEN_FILE
    assert token.read_text() == credentials.token
    assert len(credentials.token) >= 32
    for path in (token, credentials.pointer):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pointers").stat().st_mode) == 0o700
    where = json.loads(credentials.pointer.read_text())
    assert where == {
        "instance": credentials.instance,
        "address": "127.0.0.1:7777",
        "data": str((tmp_path / "data").resolve()),
    }


def test_the_token_is_not_in_what_is_printed(credentials: Credentials) -> None:
    assert credentials.token not in repr(credentials)


def test_each_run_has_a_token_of_its_own_and_drops_the_last_runs_pointer(
    tmp_path: Path, credentials: Credentials
) -> None:
    (tmp_path / "other").mkdir()
    other = Credentials.issue(tmp_path / "other", tmp_path / "pointers", V6)
    (tmp_path / "pointers" / "odd.json").write_text("{")
    second = Credentials.issue(tmp_path / "data", tmp_path / "pointers", V4)
    assert second.token != credentials.token
    assert not credentials.pointer.exists()
    assert other.pointer.exists()
    second.withdraw()
    second.withdraw()
    assert not second.pointer.exists()


def test_a_pointer_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "pointers").write_text("")
    with pytest.raises(UsageError, match="regular file"):
        Credentials.issue(tmp_path, tmp_path / "pointers", V4)
