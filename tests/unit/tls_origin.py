"""An HTTPS origin on loopback with an authority of its own, and what it saw of its clients."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class Origin:
    """`ca` is the file of its authority."""

    def __init__(self, directory: Path, *names: str) -> None:
        self.port = 0
        self.server_names: list[str | None] = []
        self.alpn: list[str | None] = []
        self.requests: list[bytes] = []
        self.ca = directory / "origin-ca.pem"
        chain = directory / "origin.pem"
        _make(self.ca, chain, names)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.context.sni_callback = lambda _tls, name, _context: self.server_names.append(name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.alpn.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(ANSWER)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def origin(directory: Path, *names: str) -> AsyncIterator[Origin]:
    """One for `names`, names of hosts or IP addresses."""
    made = Origin(directory, *names)
    server = await asyncio.start_server(made.serve, LOOPBACK, 0, ssl=made.context)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    for _ in range(5):
        await asyncio.sleep(0)


def _make(ca: Path, chain: Path, names: tuple[str, ...]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "origin ca")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )  # fmt: skip

    root = builder(issuer, ca_key.public_key()).add_extension(x509.BasicConstraints(True, 0), critical=True)
    ca.write_bytes(root.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "origin")])
    leaf = builder(subject, key.public_key()).add_extension(
        x509.SubjectAlternativeName([_san(name) for name in names]), critical=False
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(encoding, form, serialization.NoEncryption())
    chain.write_bytes(pem + leaf.sign(ca_key, hashes.SHA256()).public_bytes(encoding))


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
