"""Floods against a hub: whoever floods is cut off, and a tunnel of others goes on meanwhile."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from intruder import Credential, Intruder
from targets import Server, connected, echo, read_exactly, works
from world import open_tunnel, until

from ztm import pki

FLOOD = 1.5
"""Seconds that each flood lasts, unless it is cut off before."""
SLOWEST = 1.0
"""Seconds within which a tunnelled exchange is answered while a flood goes on."""


@pytest.fixture(scope="module")
def context(mesh, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A user of the mesh whose program misbehaves."""
    key = pki.new_key()
    permit = mesh.home.ok("invite", "mallory", "-i", "-", stdin=pki.public_key(key)).json
    directory: Path = tmp_path_factory.mktemp("mallory")
    return Credential.write(directory, permit["ca"], permit["agent"]["certificate"], key).context()


@contextlib.contextmanager
def served_meanwhile(mesh) -> Iterator[None]:
    """Watch that a tunnel works during the block: an old connection, and new ones."""
    over, slow, failed = threading.Event(), [], []
    with Server(echo) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port)
        assert works(port)

        def watch() -> None:
            with connected(port) as old:
                while not over.is_set():
                    begin = time.monotonic()
                    old.sendall(b"still there?")
                    if read_exactly(old, 12) != b"still there?" or not works(port, 5.0):
                        failed.append(begin)
                        return
                    slow.append(time.monotonic() - begin)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
    assert not failed
    assert slow
    assert max(slow) < SLOWEST


def until_cut(act: Callable[[], object]) -> bool:
    """Act again and again for as long as a flood lasts; whether it was cut off."""
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < FLOOD:
            act()
    except (OSError, ConnectionError):
        return True
    return False


def test_connections_that_never_shake_hands_do_not_keep_others_out(mesh) -> None:
    with served_meanwhile(mesh), contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", mesh.hub.port), 5))
        mesh.alice.kill()
        mesh.alice.start()
        until(lambda: mesh.alice.mesh["state"] == "connected", within=5, what="another agent connects meanwhile")


@pytest.mark.long
def test_heads_that_come_slowly_are_cut(mesh, context: ssl.SSLContext) -> None:
    with served_meanwhile(mesh), contextlib.ExitStack() as stack:
        slow = []
        for _ in range(20):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", mesh.hub.port), 5))
            secured = stack.enter_context(context.wrap_socket(raw))
            secured.sendall(b"GET /api/status HTTP/1.1\r\nx-")
            slow.append(secured)
        until_cut(lambda: [one.sendall(b"a") for one in slow] and time.sleep(0.1))


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


GET_ROOT = b"\x82\x86\x84"
"""The head of ``GET /`` in three bytes (RFC 7541 appendix A)."""
OWN = 1
"""The stream on which the intruder has its control session."""


def requests(first: int) -> bytes:
    """A thousand requests, beginning with the stream `first`."""
    return b"".join(frame(1, GET_ROOT, stream=number, flags=5) for number in range(first, first + 2000, 2))


MASSES = {
    "pings": lambda _: frame(6, bytes(8)) * 1000,
    "settings": lambda _: frame(4) * 1000,
    "empty data": lambda _: frame(0, stream=OWN) * 1000,
    "bytes": lambda _: frame(0, b"x", stream=OWN) * 1000,
    "window updates": lambda _: frame(8, b"\0\0\0\1") * 1000,
    "priorities": lambda _: frame(2, b"\0\0\0\0\1", stream=OWN) * 1000,
    "unknown frames": lambda _: frame(0x77) * 1000,
    "continuations": lambda n: (frame(1, GET_ROOT, stream=3) if not n else b"") + frame(9, bytes(1024), stream=3) * 16,
    "requests": lambda n: requests(3 + 2000 * n),
    "resets": lambda n: b"".join(
        frame(1, GET_ROOT, stream=number, flags=5) + frame(3, b"\0\0\0\x08", stream=number)
        for number in range(3 + 2000 * n, 2003 + 2000 * n, 2)
    ),
}
ENDED = {"pings", "settings", "continuations"}
"""Masses that end the session of whoever sends them."""


BRIEFLY = {"empty data", "resets", "pings"}
"""Masses that are tried in every run; the others cost more time than they teach."""


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in BRIEFLY else pytest.mark.long) for kind in MASSES]
)
def test_frames_in_masses_harm_no_other_session(kind: str, mesh, context: ssl.SSLContext) -> None:
    with served_meanwhile(mesh), Intruder(mesh.hub.port, context) as intruder:
        assert intruder.connect(f"/api/endpoints/{uuid4()}?name=flood") == (200, OWN)
        number = iter(range(1_000_000))

        def flood() -> None:
            intruder.socket.settimeout(FLOOD)
            intruder.socket.sendall(MASSES[kind](next(number)))
            drain(intruder)

        was_cut = until_cut(flood)
    assert was_cut or kind not in ENDED
    assert "Traceback" not in mesh.hub.log


def drain(intruder: Intruder) -> None:
    """Take what the hub says, without waiting for it; raises at the end of the connection."""
    intruder.socket.settimeout(0.001)
    try:
        while True:
            if not intruder.socket.recv(1 << 16):
                raise ConnectionError("cut off")
    except (TimeoutError, ssl.SSLWantReadError):
        pass
    finally:
        intruder.socket.settimeout(0.5)


def test_a_crowd_of_streams_is_bounded_and_refused_one_by_one(mesh, context: ssl.SSLContext) -> None:
    with served_meanwhile(mesh), Intruder(mesh.hub.port, context) as intruder:
        own = str(uuid4())
        assert intruder.connect(f"/api/endpoints/{own}?name=crowd")[0] == 200
        for _ in range(50):
            assert intruder.connect(f"/api/endpoints/{uuid4()}/apps/ztm/tunnel?src={own}")[0] == 404
        assert intruder.request("GET", "/api/status")[0] == 200
