"""Who may use the local API, and who may not."""

import json
import stat
from pathlib import Path

import pytest

from ztm.agent.guard import TOKEN_FILE, Credentials, Guard
from ztm.errors import UsageError
from ztm.model import Address
from ztm.net.scope import Message, Scope, Send

V4, V6 = Address("127.0.0.1", 7777), Address("::1", 7777)
EVERYWHERE = Address("0.0.0.0", 7777)


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    (tmp_path / "data").mkdir()
    return Credentials.issue(tmp_path / "data", tmp_path / "pointers", V4)


async def ask(credentials: Credentials, headers: dict[str, str], address: Address = V4, *, token: str = "") -> int:
    """The status that a request gets; 200 if it is let through."""
    statuses: list[int] = []

    async def app(_scope: Scope, _receive: object, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            assert message["status"] == 200 or (b"ztm-agent", credentials.instance.encode()) in message["headers"]

    async def receive() -> Message:
        raise AssertionError("a refused request is not read")

    fields = {"authorization": f"Bearer {token or credentials.token}"} | headers
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    await Guard(app, credentials, address)({"headers": raw}, receive, send)
    return statuses[0]


# ---------------------------------------------------------------------- token


async def test_the_token_lets_in(credentials: Credentials) -> None:
    assert await ask(credentials, {}) == 200


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {}x", "Bearer  {}", "bé"])
async def test_anything_else_does_not(credentials: Credentials, shown: str) -> None:
    assert await ask(credentials, {"authorization": shown.format(credentials.token)}) == 401


async def test_a_request_without_authorization_is_turned_away(credentials: Credentials) -> None:
    statuses = []

    async def app(*_args: object) -> None:
        raise AssertionError("let in")

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    await Guard(app, credentials, V4)({"headers": []}, app, send)  # type: ignore[arg-type]
    assert statuses[0] == 401


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


async def test_a_foreign_page_learns_nothing_about_its_token(credentials: Credentials) -> None:
    assert await ask(credentials, {"origin": "http://evil.example"}, token="guess") == 403


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
