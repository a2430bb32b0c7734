"""An agent of canned answers on a real socket, and a home directory that knows its token."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

HOME_ID = "e5d3cc12-1576-462a-9a9a-b3d5213a3d31"
WORK_ID = "57553cf0-84b8-4b97-8aa4-143e8a744cf6"
HUB_ID = "91d0cd3d-c2da-4818-b5e5-0c47c96fec46"
VERSION = {"ztm": {"edition": "Community", "tag": "v1.0.4"}}


def mesh_object(name: str = "m", **changes: Any) -> dict[str, Any]:
    """A mesh as the agent's API describes it."""
    agent = {"id": HOME_ID, "name": "home", "username": "root", "certificate": "CERT\n", "labels": [], "offline": False}
    base = {"name": name, "ca": "CA\n", "agent": agent, "bootstraps": ["127.0.0.1:8888"], "errors": []}
    return {**base, "connected": True, "state": "connected", "lastError": "", **changes}


def endpoint_object(id_: str = HOME_ID, name: str = "home", **changes: Any) -> dict[str, Any]:
    """An endpoint as the agent's API lists it."""
    base = {"id": id_, "name": name, "hubs": [HUB_ID], "agent": {"version": VERSION, "labels": []}, "username": "root"}
    where = {"ip": "127.0.0.1", "port": 40956, "ping": 1, "online": True, "isLocal": id_ == HOME_ID}
    return {**base, **where, "stats": {"controlSessions": 1, "passiveSessions": 0}, **changes}


class FakeAgent:
    """Answers by method and path; every request is kept."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.token = "right"
        self.instance = "one"
        self.requests: list[tuple[str, str, Any]] = []
        """Method, path with query, and decoded body, of every request let in."""
        self.tokens: list[str] = []
        """The Authorization header of every request."""
        self.answers: dict[tuple[str, str], Any] = {}

    def answer(self, method: str, path: str, body: Any = None, status: int = 200) -> None:
        """Answer this from now on."""
        self.answers[method, path] = [(status, body)]

    def answers_in_turn(self, method: str, path: str, *bodies: Any) -> None:
        """Give these bodies one after another; the last one for ever."""
        self.answers[method, path] = [(200, body) for body in bodies]

    def joined(self, *meshes: dict[str, Any], endpoints: tuple[dict[str, Any], ...] = ()) -> None:
        """Be an agent in these meshes (one called ``m`` if none is given)."""
        listed = meshes or (mesh_object(),)
        self.answer("GET", "/api/meshes", list(listed))
        for mesh in listed:
            path = f"/api/meshes/{mesh['name']}"
            self.answer("GET", path, mesh)
            self.answer("GET", f"{path}/endpoints", list(endpoints or (endpoint_object(),)))

    def leave_pointer(self, instance: str, token: str, address: str = "") -> None:
        """Write what a started agent leaves in the home directory."""
        data = self.home / f"data-{instance}"
        data.mkdir()
        (data / "api.token").write_text(token + "\n")
        pointers = self.home / ".ztm" / "agents"
        pointers.mkdir(parents=True, exist_ok=True)
        fields = {"instance": instance, "address": address or f"127.0.0.1:{self.port}", "data": str(data)}
        (pointers / f"{instance}.json").write_text(json.dumps(fields))

    def sent(self, method: str) -> list[tuple[str, Any]]:
        """Path and body of every request of `method`."""
        return [(path, body) for asked, path, body in self.requests if asked == method]

    def take(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        """The answer to one request that showed the right token."""
        path = urlsplit(target).path
        text = body.decode()
        self.requests.append((method, target, json.loads(text) if text[:1] in ("{", "[") else text))
        if (method, path) not in self.answers:
            return 404, None
        turns = self.answers[method, path]
        status, found = turns.pop(0) if len(turns) > 1 else turns[0]
        query = parse_qs(urlsplit(target).query)
        if method == "GET" and path.endswith("/endpoints") and "id" in query:
            found = [one for one in found if one["id"] in query["id"] or one["name"] in query["name"]]
        return status, found


@contextmanager
def running_agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    """Run an agent, with `home` as the home directory and nothing else in the environment."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    agent = FakeAgent(home, server.server_address[1])
    server.agent = agent  # type: ignore[attr-defined]
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ZTM_AGENT", f"127.0.0.1:{agent.port}")
    for name in ("ZTM_TOKEN", "ZTM_MESH"):
        monkeypatch.delenv(name, raising=False)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield agent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        agent: FakeAgent = self.server.agent  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        shown = self.headers.get("Authorization", "")
        agent.tokens.append(shown)
        if agent.token and shown != f"Bearer {agent.token}":
            self._reply(401, {"status": 401, "message": "no valid token"}, agent.instance)
        else:
            self._reply(*agent.take(self.command, self.path, body))

    do_POST = do_DELETE = do_GET  # noqa: N815

    def _reply(self, status: int, body: Any, instance: str = "") -> None:
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        if instance:
            self.send_header("ztm-agent", instance)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass
