"""Sessions of ours against the plain `h2` library over real TLS: a foreign client and a foreign server.

The library is used as it comes, with blocking sockets in a thread; where it refuses what v1 does, the check is off.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events as events
import pytest

from contract.parties import ANYWHERE, Parties, read_all
from ztm.model import Address
from ztm.net.aio import AioNetwork
from ztm.net.base import Exchange, Stream, TlsConfig
from ztm.net.choice import network as chosen_network

SIZE = 3_000_000


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.create()


@pytest.fixture
async def net() -> AioNetwork:
    return chosen_network()


def plain_context(tls: TlsConfig, directory: Path, *, server: bool) -> ssl.SSLContext:
    """A context as anyone would make it; without our ALPN token."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=tls.ca)
    pem = directory / "pair.pem"
    pem.write_text(tls.certificate + tls.key)
    made.load_cert_chain(pem)
    made.set_alpn_protocols(["h2"])
    return made


class Foreign:
    """A blocking HTTP/2 connection on the plain library."""

    def __init__(self, sock: ssl.SSLSocket, *, client: bool) -> None:
        self.sock = sock
        config = h2.config.H2Configuration(
            client_side=client, header_encoding="utf-8", validate_inbound_headers=False, validate_outbound_headers=False
        )
        self.conn = h2.connection.H2Connection(config)
        self.conn.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.conn.data_to_send())

    def next(self) -> list[Any]:
        """What happens next; data is credited at once."""
        said = self.sock.recv(65536)
        assert said, "the connection ended"
        happened = self.conn.receive_data(said)
        for event in happened:
            if isinstance(event, events.DataReceived) and event.flow_controlled_length:
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        self.flush()
        return happened

    def until(self, fact: Callable[[], object]) -> None:
        while not fact():
            self.next()

    def send(self, number: int, body: bytes) -> None:
        """All of `body`, as the windows allow, and the end."""
        while body:
            room = min(self.conn.local_flow_control_window(number), self.conn.max_outbound_frame_size, len(body))
            if not room:
                self.next()
                continue
            self.conn.send_data(number, body[:room])
            body = body[room:]
            self.flush()
        self.conn.end_stream(number)
        self.flush()


async def echo_all(exchange: Exchange) -> None:
    body = await read_all(exchange)
    exchange.respond(200, [("content-type", "application/octet-stream"), ("content-length", str(len(body)))])
    await exchange.write(body)


async def test_a_foreign_client_posts_and_gets_all_back(net: AioNetwork, parties: Parties, tmp_path: Path) -> None:
    seen: list[Stream] = []

    async def accept(stream: Stream) -> None:
        seen.append(stream)
        await net.session(stream, "server", answer=echo_all).closed()

    listener = await net.listen(ANYWHERE, accept, parties.hub)
    secured = plain_context(parties.alice, tmp_path, server=False)
    address = (listener.address.host, listener.address.port)
    status, headers, body = await asyncio.to_thread(_post, secured, address)
    assert status == "200"
    assert "content-length" not in headers
    assert body == bytes(range(256)) * (SIZE // 256)
    assert seen[0].identity is not None
    assert seen[0].identity.user == "alice"
    assert not seen[0].is_own
    await seen[0].ended()
    await listener.close()


def _post(secured: ssl.SSLContext, address: tuple[str, int]) -> tuple[str, dict[str, str], bytes]:
    with socket.create_connection(address, timeout=10) as tcp, secured.wrap_socket(tcp) as sock:
        assert sock.selected_alpn_protocol() == "h2"
        peer = Foreign(sock, client=True)
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", "hub"), (":path", "/api/echo")]
        peer.conn.send_headers(1, [*headers, ("content-length", str(SIZE // 256 * 256))])
        peer.send(1, bytes(range(256)) * (SIZE // 256))
        head: dict[str, str] = {}
        parts: list[bytes] = []
        ended = False
        while not ended:
            for event in peer.next():
                if isinstance(event, events.ResponseReceived):
                    head = {str(name): str(value) for name, value in event.headers or ()}
                elif isinstance(event, events.DataReceived):
                    parts.append(bytes(event.data or b""))
                elif isinstance(event, events.StreamEnded):
                    ended = True
        peer.conn.close_connection()
        peer.flush()
        return head[":status"], head, b"".join(parts)


async def test_a_foreign_server_takes_connect_and_echoes(net: AioNetwork, parties: Parties, tmp_path: Path) -> None:
    secured = plain_context(parties.hub, tmp_path, server=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.ensure_future(asyncio.to_thread(_serve, secured, listening))
        stream = await net.dial(Address("127.0.0.1", listening.getsockname()[1]), parties.alice)
        assert stream.identity is not None
        assert stream.identity.is_hub
        assert not stream.is_own
        session = net.session(stream, "client")
        exchange = session.open([(":method", "CONNECT"), (":scheme", "http"), (":path", "/api/endpoints/x?name=y")])
        sent = bytes(range(256)) * (SIZE // 256)
        writing = asyncio.ensure_future(exchange.write(sent))
        assert (await exchange.response())[0] == 200
        seen = b""
        while len(seen) < len(sent):
            seen += await exchange.read()
        await writing
        assert seen == sent
        exchange.end()
        assert await exchange.read() == b""
        session.close("done")
        request = await serving
        await stream.ended()
    assert request == {":method": "CONNECT", ":scheme": "http", ":path": "/api/endpoints/x?name=y"}


def _serve(secured: ssl.SSLContext, listening: socket.socket) -> dict[str, str]:
    listening.settimeout(10)
    tcp, _ = listening.accept()
    tcp.settimeout(10)
    request: dict[str, str] = {}
    with secured.wrap_socket(tcp, server_side=True) as sock:
        peer = Foreign(sock, client=False)
        waiting = bytearray()
        ended = over = False
        while not over:
            for event in peer.next():
                if isinstance(event, events.RequestReceived):
                    request = {str(name): str(value) for name, value in event.headers or ()}
                    peer.conn.send_headers(1, [(":status", "200")])
                elif isinstance(event, events.DataReceived):
                    waiting += bytes(event.data or b"")
                elif isinstance(event, events.StreamEnded):
                    ended = True
                elif isinstance(event, events.ConnectionTerminated):
                    over = True
            while waiting and (room := min(peer.conn.local_flow_control_window(1), 16384)):
                peer.conn.send_data(1, bytes(waiting[:room]))
                del waiting[:room]
            if ended and not waiting:
                peer.conn.end_stream(1)
                ended = False
            peer.flush() if not over else None
    return request
