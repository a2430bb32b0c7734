"""A WebSocket client over any stream, by `wsproto`, which can also send what no client should."""

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage

from ztm.net.base import Stream

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""Of the example in RFC 6455 section 1.3."""
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What answers it there."""
HANDSHAKE = {"host": "localhost", "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13"}


def handshake(path: str = "/", *more: tuple[str, str], **fields: str | None) -> bytes:
    """The head that asks for a WebSocket; `fields` (``_`` for ``-``) replace its own or, with None, leave them out."""
    said = HANDSHAKE | {"sec-websocket-key": KEY} | {name.replace("_", "-"): value for name, value in fields.items()}
    pairs = [(name, value) for name, value in said.items() if value is not None]
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in [*pairs, *more]), "", ""]
    return "\r\n".join(lines).encode()


class WebSocketClient:
    """One WebSocket, from the client's side."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.wire = Connection(ConnectionType.CLIENT)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pongs: list[bytes] = []
        self.pings = 0
        self.answers_pings = True
        self._events: list[Event] = []

    async def open(self, path: str = "/", *more: tuple[str, str], **fields: str | None) -> int:
        """Ask, and read the head of the answer; its status."""
        await self.stream.write(handshake(path, *more, **fields))
        head = b""
        while b"\r\n\r\n" not in head:
            part = await self.stream.read()
            assert part, f"ended within the head: {head!r}"
            head += part
        head, _, rest = head.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if rest:
            self.stream.unread(rest)
        return self.status

    async def body(self) -> bytes:
        """The rest of a refusal."""
        parts = []
        while part := await self.stream.read():
            parts.append(part)
        return b"".join(parts)

    def put(self, event: Event) -> None:
        """Send a frame without waiting."""
        self.stream.write_now(bytes(self.wire.send(event)))

    async def send(self, *fragments: str | bytes) -> None:
        """Send a message in so many fragments."""
        for fragment in fragments:
            kind: type[Message] = TextMessage if isinstance(fragment, str) else BytesMessage  # type: ignore[type-arg]
            await self.stream.write(
                bytes(self.wire.send(kind(data=fragment, message_finished=fragment is fragments[-1])))
            )

    async def event(self) -> Event | None:
        """The next frame or part of one; None where the stream ends without a close."""
        while not self._events:
            data = await self.stream.read()
            if not data:
                return None
            self.wire.receive_data(data)
            self._events += self.wire.events()
        event = self._events.pop(0)
        if isinstance(event, Ping):
            self.pings += 1
            if self.answers_pings:
                self.put(event.response())
        return event

    async def receive(self) -> str | bytes | tuple[int, str] | None:
        """The next whole message, the code and reason of a close, or None at an end without one."""
        parts: list[str | bytes] = []
        while True:
            event = await self.event()
            if event is None:
                return None
            if isinstance(event, CloseConnection):
                return int(event.code), event.reason or ""
            if isinstance(event, (TextMessage, BytesMessage)):
                parts.append(event.data)
                if event.message_finished:
                    return "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)  # type: ignore[arg-type]
            elif not isinstance(event, Ping):
                self.pongs.append(bytes(event.payload))  # type: ignore[attr-defined]

    async def close(self, code: int = 1000, reason: str = "") -> tuple[int, str]:
        """Close, drop what still comes, and give the server's answer."""
        self.put(CloseConnection(code, reason))
        while not isinstance(told := await self.receive(), tuple):
            assert told is not None, "ended without an answer to our close"
        return told
