"""Who may open a WebSocket at the local API: as for requests, but a cookie needs the page's own Origin besides."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ztm.agent.local.guard import CALLER, SESSION, Doors, Guard
from ztm.agent.local.login import Login
from ztm.agent.local.origins import Origins
from ztm.agent.local.token import Credentials
from ztm.errors import NotFoundError
from ztm.model import Address
from ztm.net.asgi import Message, Receive, Scope, Send

HERE = Address("127.0.0.1", 7777)
APP = "/api/meshes/m/apps/ztm/x/live"
OWN = "http://127.0.0.1:7777"
FOREIGN = "tauri://localhost"


Answer = Callable[[Send], Awaitable[None]]


async def accept(send: Send) -> None:
    await send({"type": "websocket.accept"})


class Gate:
    """A guard before an application that accepts every WebSocket, or does something else."""

    def __init__(self, directory: Path, *, is_open: bool = False, answers: Answer | None = None) -> None:
        (directory / "data").mkdir()
        self.credentials = Credentials.issue(directory / "data", directory / "pointers", HERE)
        self.login = Login(self.credentials.token, HERE.port, lambda: 0.0)
        self.answers = answers or accept
        self.seen: list[Scope] = []
        origins = Origins(HERE, (FOREIGN,))
        self.guard = Guard(self._app, self._no_page, self.credentials, self.login, origins, Doors(is_open=is_open))

    @property
    def token(self) -> tuple[str, str]:
        return "authorization", f"Bearer {self.credentials.token}"

    @property
    def cookie(self) -> tuple[str, str]:
        return "cookie", f"{self.login.cookie}={self.login.enter_by_token(self.credentials.token)}"

    async def _app(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.seen.append(scope)
        await self.answers(send)

    async def _no_page(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("a WebSocket reached the pages")

    async def ask(self, *headers: tuple[str, str], path: str = APP, **extensions: Any) -> int:
        """The status of the handshake's answer."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("nothing is read before it is known who asks")

        scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "extensions": {name.replace("_", "."): value for name, value in extensions.items()},
        }
        await self.guard(scope, receive, send)
        if sent[0]["type"] == "websocket.accept":
            return 101
        start, body = sent
        assert (start["type"], body["type"]) == ("websocket.http.response.start", "websocket.http.response.body")
        fields = {name.decode(): value.decode() for name, value in start["headers"]}
        assert fields["content-type"] == "application/json"
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["ztm-agent"] == self.credentials.instance
        assert b'"status": %d' % start["status"] in body["body"]
        return int(start["status"])


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def test_the_token_opens_one_without_an_origin_and_is_not_shown_to_the_app(gate: Gate) -> None:
    assert await gate.ask(gate.token, ("cookie", "a=b"), ("x-other", "kept")) == 101
    (scope,) = gate.seen
    assert scope["headers"] == [(b"x-other", b"kept")]
    assert (scope["extensions"][CALLER], scope["extensions"][SESSION]) == ("token", None)


async def test_a_cookie_opens_one_only_with_the_pages_own_origin(gate: Gate) -> None:
    assert await gate.ask(gate.cookie, ("origin", OWN)) == 101
    assert gate.seen[0]["extensions"][CALLER] == "cookie"
    assert gate.seen[0]["extensions"][SESSION] is not None
    for origins in ((), ("http://evil.example",), ("null",), (OWN, "http://evil.example"), ("http://127.0.0.1:8888",)):
        assert await gate.ask(gate.cookie, *(("origin", origin) for origin in origins)) == 403
    assert len(gate.seen) == 1


async def test_a_csrf_value_is_no_origin(gate: Gate) -> None:
    cookie = gate.cookie
    session = gate.login.session([cookie[1]])
    assert session is not None
    assert await gate.ask(cookie, ("x-ztm-csrf", session.csrf)) == 403


async def test_an_allowed_foreign_page_needs_the_token(gate: Gate) -> None:
    assert await gate.ask(gate.cookie, ("origin", FOREIGN)) == 401
    assert await gate.ask(gate.token, ("origin", FOREIGN)) == 101


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (("host", "evil.example"), 403),
        (("origin", "http://evil.example"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("authorization", "Bearer wrong"), 401),
    ],
)
async def test_the_token_does_not_make_good_what_is_wrong(gate: Gate, header: tuple[str, str], status: int) -> None:
    assert await gate.ask(gate.token, header) == status
    assert not gate.seen


async def test_nobody_opens_one_without_showing_who_it_is(gate: Gate) -> None:
    for path in (APP, "/api/login", "/api/login/links/x", "/api/events"):
        assert await gate.ask(path=path) == 401
    assert await gate.ask(("sec-fetch-site", "cross-site"), path="/api/login/links/x") == 403
    assert not gate.seen


async def test_there_is_none_among_the_pages(gate: Gate) -> None:
    for path in ("/", "/app.js", "/anything"):
        assert await gate.ask(gate.token, path=path) == 404


async def test_the_socket_and_an_open_api_ask_for_no_token_and_turn_away_other_sites(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    for gate, extensions in ((Gate(tmp_path), {"ztm_socket": True}), (Gate(tmp_path / "open", is_open=True), {})):
        assert await gate.ask(**extensions) == 101
        assert await gate.ask(("origin", "http://evil.example"), **extensions) == 403


async def test_an_apps_own_denial_is_shielded_too(tmp_path: Path) -> None:
    async def deny(send: Send) -> None:
        fields = [(b"content-type", b"application/json"), (b"ztm-agent", gate.credentials.instance.encode())]
        await send({"type": "websocket.http.response.start", "status": 418, "headers": fields})
        await send({"type": "websocket.http.response.body", "body": b'{"status": 418}'})

    gate = Gate(tmp_path, answers=deny)
    assert await gate.ask(gate.token) == 418


async def test_a_refusal_of_the_api_is_a_status(tmp_path: Path) -> None:
    async def fail(_send: Send) -> None:
        raise NotFoundError("there is no such app")

    gate = Gate(tmp_path, answers=fail)
    assert await gate.ask(gate.token) == 404
