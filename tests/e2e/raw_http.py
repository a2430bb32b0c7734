"""HTTP as an attacker or a browser speaks it to an agent: bytes of one's own choice, and every byte of the answer."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from world import Agent

LABELS = "/api/meshes/my-mesh/endpoints/{}/labels"
"""Where a change shows; takes an endpoint's id."""


@dataclass(frozen=True)
class Answer:
    """One answer, taken apart; status 0 is a connection closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The reason of a refusal, which has the common form."""
        assert self.json["status"] == self.status, self
        return str(self.json["message"])


def connect(agent: Agent, timeout: float = 10.0) -> socket.socket:
    """A connection to the agent's local port."""
    return socket.create_connection(("127.0.0.1", agent.port), timeout)


def send(agent: Agent, *parts: bytes, timeout: float = 10.0) -> Answer:
    """Send exactly these bytes, and read until the agent closes."""
    with connect(agent, timeout) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass  # it closed before it had all; what it said is still there
        return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    """All that comes until the other side closes, as one answer."""
    got = b""
    try:
        while data := connection.recv(1 << 16):
            got += data
    except OSError:
        pass
    return parse(got)


def parse(got: bytes) -> Answer:
    """One answer out of bytes."""
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if len(lines[0].split(" ")) < 2:
        return Answer(0, {}, got)
    headers = dict(line.partition(":")[::2] for line in lines[1:])
    return Answer(int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, value in headers.items()}, body)


def request(
    agent: Agent,
    path: str = "/api/meshes",
    method: str = "GET",
    body: bytes | str = b"",
    *,
    token: str | None = None,
    **headers: str,
) -> Answer:
    """One well-formed request; without `token` the agent's own is shown, with an empty one none."""
    shown = agent.token if token is None else token
    fields = {"host": f"127.0.0.1:{agent.port}", "connection": "close"}
    fields |= {"authorization": f"Bearer {shown}"} if shown else {}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    content = body.encode() if isinstance(body, str) else body
    if content or method == "POST":
        fields["content-length"] = str(len(content))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return send(agent, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)


class Browser:
    """A browser that has opened one agent's page: it keeps cookies, and says that it is our own page that asks."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.cookie = ""
        self.csrf = ""

    def open(self, url: str) -> Answer:
        """Follow a link from outside, such as that of the file by which `ztm gui` opens the page."""
        path = "/" + url.split("/", 3)[3]
        outside = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}  # Strict: no cookie is sent then
        return self._noted(request(self.agent, path, token="", **outside))

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Answer:
        """A request of the page's script."""
        own = {"sec_fetch_site": "same-origin", "cookie": self.cookie}
        own |= {"x_ztm_csrf": self.csrf} if method != "GET" else {}
        own |= {"origin": f"http://127.0.0.1:{self.agent.port}"} if method != "GET" else {}
        return self._noted(request(self.agent, path, method, body, token="", **{**own, **headers}))

    def _noted(self, answer: Answer) -> Answer:
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    def sign_in(self) -> None:
        """Sign in by a link of `ztm gui`."""
        assert self.open(self.agent.ok("gui", "--print").out.strip()).status == 303
        self.csrf = self.ask("/api/login").json["csrf"]


def labels(agent: Agent) -> list[str]:
    """The labels of an agent's endpoint."""
    found = request(agent, LABELS.format(agent.id)).json
    assert isinstance(found, list)
    return found


def operations(agent: Agent) -> Iterator[tuple[str, str, bool]]:
    """Every documented method and path, and whether it is open to those who are not signed in."""
    described = request(agent, "/api/openapi.json").json
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if not method.startswith("x-"):
                yield method.upper(), path, operation.get("security") == []
