"""Live events of a real agent: what is told, to whom, and what a reader that was away still learns."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from raw_http import Browser, request
from world import Agent, World, free_port, until

from ztm.agent.events.bus import READERS

PATIENCE = 20.0
"""Seconds for an event to come."""


@dataclass
class Stream:
    """An open stream of events."""

    connection: http.client.HTTPConnection
    answer: http.client.HTTPResponse
    last_id: str = ""

    def next(self) -> dict[str, Any]:
        """The next event; the test fails if none comes in time."""
        data, deadline = "", time.monotonic() + PATIENCE
        while True:
            line = self.answer.readline().decode()
            assert line, "the stream ended"
            assert time.monotonic() < deadline, "only heartbeats came"
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "data":
                data = value
            elif not line.strip() and data:
                found: dict[str, Any] = json.loads(data)
                return found

    def until(self, **wanted: object) -> dict[str, Any]:
        """The next event that has all these fields."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            event = self.next()
            if all(event.get(name) == value for name, value in wanted.items()):
                return event
        raise AssertionError(f"no event has {wanted}")

    def begin(self) -> "Stream":
        """Wait for the first lines, behind which nothing is missed."""
        assert self.answer.readline().startswith(b"retry:")
        while line := self.answer.readline().strip():
            self.last_id = line.decode().removeprefix("id: ")
        return self


@contextlib.contextmanager
def events(agent: Agent, query: str = "", **headers: str) -> Iterator[Stream]:
    """Follow an agent's events."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=PATIENCE)
    fields = {"authorization": f"Bearer {agent.token}"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", f"/api/events{query}", headers={k: v for k, v in fields.items() if v})
    answer = connection.getresponse()
    try:
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream")
        yield Stream(connection, answer).begin()
    finally:
        answer.close()
        connection.close()


def test_a_mesh_tells_how_it_is_doing(world: World) -> None:
    hub = world.hub()
    home = world.agent("home")
    with events(home, "?types=mesh") as stream:
        home.ok("join", "my-mesh", "--as", "home", "--permit", hub.permit)
        assert stream.until(mesh="my-mesh", state="connecting")
        assert "reason" not in stream.until(state="connected")
        hub.kill()
        assert stream.until(state="unreachable")["reason"]
        hub.start()
        stream.until(state="connected")
        home.ok("leave", "my-mesh", "--yes")
        assert stream.until(state="left")["mesh"] == "my-mesh"


@pytest.mark.long
def test_endpoints_that_come_and_go_are_told(mesh) -> None:
    with events(mesh.home, "?types=endpoint&mesh=my-mesh") as stream, events(mesh.home, "?mesh=other") as other:
        other.connection.sock.settimeout(0.01)
        mesh.alice.stop()
        down = stream.until(name="alice")
        assert (down["online"], down["user"], down["mesh"]) == (False, "alice", "my-mesh")
        mesh.alice.start()
        up = stream.until(name="alice")
        assert (up["online"], up["id"]) == (True, down["id"])
        with pytest.raises(TimeoutError):
            other.next()


def test_tunnels_tell_that_they_open_fail_and_close(mesh) -> None:
    home = mesh.home
    with socket.create_server(("127.0.0.1", 0)) as taken, events(home, "?types=tunnel,log") as stream:
        busy, free = taken.getsockname()[1], free_port()
        home.ok("tunnel", "open", "outbound", "tcp/told", "--targets", "127.0.0.1:1")
        line = stream.until(type="log", app="ztm/tunnel")
        assert (line["level"], line["mesh"]) == ("info", "my-mesh")
        assert stream.until(type="tunnel", kind="outbound", name="tcp/told")["state"] == "open"
        home.ok("tunnel", "open", "inbound", "tcp/told", "--listen", free)
        stream.until(type="tunnel", kind="inbound", state="open")
        with contextlib.suppress(ConnectionResetError):  # its target cannot be reached
            socket.create_connection(("127.0.0.1", free), 5).close()
        assert stream.until(type="tunnel", state="error")["reason"]
        home.fails("tunnel", "open", "inbound", "tcp/told", "--listen", busy)
        assert str(busy) in stream.until(type="tunnel", kind="inbound", state="failed")["reason"]
        home.ok("tunnel", "close", "inbound", "tcp/told")
        stream.until(type="tunnel", kind="inbound", state="closed")
        home.ok("tunnel", "close", "outbound", "tcp/told")
        stream.until(type="tunnel", kind="outbound", state="closed")


def change(agent: Agent, name: str) -> None:
    """Something that is told."""
    agent.ok("tunnel", "open", "outbound", name, "--targets", "127.0.0.1:1")
    agent.ok("tunnel", "close", "outbound", name)


def test_a_reader_that_was_cut_off_misses_nothing(mesh) -> None:
    with events(mesh.workplace, "?types=tunnel") as stream:
        change(mesh.workplace, "tcp/before")
        stream.until(name="tcp/before", state="closed")
    change(mesh.workplace, "tcp/meanwhile")
    with events(mesh.workplace, "?types=tunnel", last_event_id=stream.last_id) as again:
        assert [(one["name"], one["state"]) for one in (again.next(), again.next())] == [
            ("tcp/meanwhile", "open"),
            ("tcp/meanwhile", "closed"),
        ]


def test_after_a_restart_a_reader_is_told_that_it_may_have_missed_something(world: World) -> None:
    agent = world.agent("home")
    with events(agent) as stream:
        agent.stop()  # ends with a reader still there
        assert stream.answer.read() == b""
    agent.start()
    with events(agent, last_event_id=stream.last_id) as again:
        assert again.next() == {"type": "lost"}


def test_readers_are_bounded_and_leave_nothing_behind(mesh) -> None:
    home = mesh.home
    streams = []
    try:
        for _ in range(READERS):
            opened = socket.create_connection(("127.0.0.1", home.port), 10)
            streams.append(opened)
            head = f"GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {home.token}\r\n\r\n"
            opened.sendall(head.encode())
            assert opened.recv(12) == b"HTTP/1.1 200"
        refused = request(home, "/api/events")
        assert refused.status == 429
        assert refused.message
    finally:
        for opened in streams:
            opened.close()

    def is_open_again() -> bool:
        with socket.create_connection(("127.0.0.1", home.port), 10) as opened:
            head = f"GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {home.token}\r\n\r\n"
            opened.sendall(head.encode())
            return opened.recv(12) == b"HTTP/1.1 200"

    until(is_open_again, what="the readers that left are forgotten")


def test_events_need_the_token_or_a_signed_in_browser(mesh) -> None:
    home = mesh.home
    for headers in ({"token": ""}, {"origin": "http://evil.example.com"}, {"host": "evil.example.com"}):
        assert request(home, "/api/events", **headers).status in (401, 403)
    assert request(home, "/api/events?types=everything").status == 400
    assert request(home, "/api/events", "HEAD").headers["content-type"] == "text/event-stream"
    browser = Browser(home)
    browser.sign_in()
    with events(home, authorization="", cookie=browser.cookie) as stream:
        change(home, "tcp/seen")
        stream.until(name="tcp/seen", state="closed")
