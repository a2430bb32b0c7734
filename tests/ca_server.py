"""A CA service in v1's form (``GET /ca``, ``POST /{name}``), with X.509 v1 certificates as v1 makes them.

It can be told to misbehave, to ask for a token, and to speak TLS.

Source: spec cli 6; spec/vectors/ca-service.txt.
"""

import ipaddress
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parent / "interop"))

from v1_ca import V1Authority, authority

__all__ = ["CaServer", "authority", "ca_server"]

PATH = "/api/certificates"


@dataclass
class CaServer:
    """A running service."""

    authority: V1Authority
    token: str = ""
    sign: Callable[[str, str], tuple[int, str]] | None = None
    """Answers POST instead, given name and public key."""
    trust: str = ""
    """The certificate of its TLS, if it has any."""
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and name of each request."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.trust else 'http'}://127.0.0.1:{self.port}{PATH}"

    def answer(self, method: str, name: str, token: str, body: str) -> tuple[int, str]:
        """Status and body."""
        self.asked.append((method, name))
        if self.token and token != f"Bearer {self.token}":
            return 401, ""
        if method == "GET":
            return (200, self.authority.certificate) if name == "ca" else (404, "")
        if self.sign is not None:
            return self.sign(name, body)
        return 201, self.authority.sign(name, body)


@contextmanager
def ca_server(*, token: str = "", directory: Path | None = None) -> Iterator[CaServer]:
    """A service on a port of its own; with TLS, whose key is kept in `directory`, if that is given."""
    ca = CaServer(authority(), token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(ca))
    server.daemon_threads = True
    ca.port = server.server_address[1]
    if directory is not None:
        ca.trust, path = _tls(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield ca
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _handler(ca: CaServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            inside = self.path.startswith(PATH + "/")
            name = unquote(self.path.removeprefix(PATH + "/"))
            told = (
                (404, "") if not inside else ca.answer(self.command, name, self.headers.get("Authorization", ""), body)
            )
            status, text = told
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", ca.url + "/ca")
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = _answer  # noqa: N815 (the library's names)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _tls(directory: Path) -> tuple[str, Path]:
    """A self-signed certificate of this machine, and the file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca service")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = made.public_bytes(serialization.Encoding.PEM).decode()
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    path = directory / "service.pem"
    path.write_text(certificate + private)
    return certificate, path
