"""What tunnels lead to in tests, and the clients that use them: plain sockets, a thread a connection."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from world import free_port, until

Serve = Callable[[socket.socket], None]
PATIENCE = 20.0
"""Seconds for any one socket operation."""


def echo(connection: socket.socket) -> None:
    """Send back what comes, until its end."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def after_end(connection: socket.socket) -> None:
    """Read all up to the end, and only then answer with how much it was."""
    count = 0
    while data := connection.recv(1 << 16):
        count += len(data)
    connection.sendall(f"{count} bytes".encode())


def greet(connection: socket.socket) -> None:
    """Speak first, as SSH does, then echo."""
    connection.sendall(b"SSH-2.0-test\r\n")
    echo(connection)


def swallow(connection: socket.socket) -> None:
    """Take everything, and say how much at the end."""
    after_end(connection)


def stall(connection: socket.socket) -> None:
    """Read nothing until the other side is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    with contextlib.suppress(OSError):
        connection.settimeout(None)
        poll_hangup(connection)


def poll_hangup(connection: socket.socket) -> None:
    """Wait for a reset or a full close without reading."""
    import select

    watch = select.poll()
    watch.register(connection, 0)  # errors and hang-ups are always told
    watch.poll(120_000)


def named(name: bytes) -> Serve:
    """Answer each connection with a name, and end."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(name)

    return serve


class Server:
    """A TCP server on loopback that closes with its `with` block."""

    def __init__(self, serve: Serve, port: int = 0) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", port or free_port()), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.accepted = 0
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.connections.append(connection)
            connection.settimeout(PATIENCE)
            self._start(lambda connection=connection: self._run(connection))

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for connection in self.connections:
            connection.close()


class UdpEcho:
    """A UDP server on loopback that sends back what comes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", free_port(socket.SOCK_DGRAM)))
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(OSError):
                data, sender = self._socket.recvfrom(1 << 16)
                self._socket.sendto(data, sender)

    def __enter__(self) -> "UdpEcho":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(5)
        self._socket.close()


def dead_port() -> int:
    """A port on which nobody listens."""
    return free_port()


@contextlib.contextmanager
def connected(port: int, timeout: float = PATIENCE) -> Iterator[socket.socket]:
    """A TCP connection to a port of this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """All that comes up to the end."""
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """The next `size` bytes, or less at an end."""
    parts: list[bytes] = []
    while size and (data := connection.recv(min(size, 1 << 16))):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def say(port: int, text: bytes = b"hello", timeout: float = PATIENCE) -> bytes:
    """Send a text to an echo through a new connection; what came back before the end or a failure."""
    with connected(port, timeout) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def works(port: int, timeout: float = 2.0) -> bool:
    """Whether a new connection through the tunnel at `port` reaches its echo."""
    try:
        return say(port, b"are you there", timeout) == b"are you there"
    except OSError:
        return False


def is_reset(port: int, timeout: float = PATIENCE) -> bool:
    """Whether a new connection is reset, rather than ended in good order."""
    try:
        with connected(port, timeout) as connection:
            connection.sendall(b"anyone?")
            read_all(connection)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def seconds_until_works(port: int, within: float) -> float:
    """How long it takes until a new connection works."""
    begin = time.monotonic()
    until(lambda: works(port, 1.0), within=within, what=f"the tunnel at {port} works again")
    return time.monotonic() - begin


def send_datagram(port: int, data: bytes, *, tries: int = 5, timeout: float = 2.0) -> bytes:
    """Send a datagram and return the first answer; UDP may lose one, so it is sent again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect(("127.0.0.1", port))
        for _ in range(tries):
            client.send(data)
            with contextlib.suppress(TimeoutError):
                return client.recv(1 << 16)
    return b""
