"""A foreign program that talks to a hub with whatever certificate it has: `ssl` and `h2`, nothing of ours."""

import contextlib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from ztm import pki

PATIENCE = 5.0
"""Seconds for any one answer."""


@dataclass(frozen=True)
class Credential:
    """A certificate with its key and the CA that is trusted, as files in one directory."""

    directory: Path

    @classmethod
    def write(cls, directory: Path, ca: str, certificate: str, key: str) -> "Credential":
        """Keep the PEM texts in `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in (("ca", ca), ("certificate", certificate), ("key", key)):
            (directory / name).write_text(text)
        return cls(directory)

    def context(self, *, server: bool = False, shown: bool = True) -> ssl.SSLContext:
        """TLS with this credential; not `shown`, no certificate is sent."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.load_verify_locations(self.directory / "ca")
        if server:
            made.verify_mode = ssl.CERT_REQUIRED
        if shown:
            made.load_cert_chain(self.directory / "certificate", self.directory / "key")
        return made


def certificate(authority: pki.Authority, name: str, key: str, *, begin: timedelta, end: timedelta) -> str:
    """A certificate as v1's CA makes them, without extensions; `begin` and `end` are from now."""
    ca = x509.load_pem_x509_certificate(authority.certificate.encode())
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(serialization.load_pem_private_key(key.encode(), None).public_key())  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .sign(serialization.load_pem_private_key(authority.key.encode(), None), hashes.SHA256())  # type: ignore[arg-type]
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode()


class Intruder:
    """One TLS + HTTP/2 connection to a hub."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
        try:
            self.socket = context.wrap_socket(raw)
        except BaseException:
            raw.close()
            raise
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.http.initiate_connection()
        self.http.increment_flow_control_window(1 << 24)
        self.flush()
        self._status: dict[int, int] = {}
        self._bodies: dict[int, bytes] = {}
        self._ended: set[int] = set()
        self.goaway = False

    def flush(self) -> None:
        """Send what HTTP/2 has to send."""
        self.socket.sendall(self.http.data_to_send())

    def pump(self) -> bool:
        """Take what comes; False at the end of the connection."""
        data = self.socket.recv(1 << 16)
        for event in self.http.receive_data(data) if data else ():
            if isinstance(event, h2.events.ResponseReceived):
                self._status[event.stream_id] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self._bodies[event.stream_id] = self._bodies.get(event.stream_id, b"") + event.data
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                self._ended.add(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = True
        self.flush()
        return bool(data)

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and body of one answer."""
        stream = self.open(method, path, end=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
            self.flush()
        while stream not in self._ended:
            if not self.pump():
                raise ConnectionError("the hub closed the connection")
        return self._status.get(stream, 0), self._bodies.get(stream, b"")

    def open(self, method: str, path: str, *, end: bool = False) -> int:
        """Begin a request; its stream id."""
        stream = self.http.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":path", path)]
        if method != "CONNECT":
            fields.append((":authority", "hub"))
        self.http.send_headers(stream, fields, end_stream=end)
        self.flush()
        return stream

    def connect(self, path: str) -> tuple[int, int]:
        """The status of a CONNECT, and its stream id."""
        stream = self.open("CONNECT", path)
        while stream not in self._status:
            if stream in self._ended or not self.pump():
                return 0, stream
        return self._status[stream], stream

    def exchange(self, stream: int, data: bytes) -> bytes:
        """Send raw bytes on a CONNECT stream, and take what comes back until its end."""
        self.http.send_data(stream, data, end_stream=True)
        self.flush()
        while stream not in self._ended and self.pump():
            pass
        return self._bodies.get(stream, b"")

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def __enter__(self) -> "Intruder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_turned_away(port: int, context: ssl.SSLContext) -> bool:
    """Whether a hub answers nothing at all to this credential; with TLS 1.3 that shows at the first read."""
    with contextlib.suppress(OSError, ConnectionError):
        with Intruder(port, context) as intruder:
            intruder.request("GET", "/api/status")
        return False
    return True
