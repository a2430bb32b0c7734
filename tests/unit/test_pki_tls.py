"""OpenSSL, the judge in real sessions, agrees with `pki.verify`; under our own CA and under a v1-format one."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from ztm import pki
from ztm.errors import CertificateError
from ztm.pki import Authority

NOW = datetime.now(UTC)
HUB = "0f8f7c4e-5f0a-4f0e-9c0a-0123456789ab"


def tlv(tag: int, body: bytes) -> bytes:
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def elements(data: bytes) -> list[bytes]:
    """The DER elements in `data`, one after another."""
    found = []
    while data:
        count = data[1] & 0x7F if data[1] & 0x80 else 0
        size = int.from_bytes(data[2 : 2 + count], "big") if count else data[1]
        found.append(data[: 2 + count + size])
        data = data[2 + count + size :]
    return found


def v1_authority() -> Authority:
    """An RSA CA in X.509 v1 format, which no library makes any more: a v3 one without version and extensions."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + timedelta(days=365))
    v3 = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA256()
    )
    header = 4  # tag, 0x82 and two bytes of length
    fields = [part for part in elements(v3.tbs_certificate_bytes[header:]) if part[0] not in (0xA0, 0xA3)]
    body = tlv(0x30, b"".join(fields))
    signature = key.sign(body, padding.PKCS1v15(), hashes.SHA256())
    algorithm = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d01010b")) + b"\x05\x00")
    der = tlv(0x30, body + algorithm + tlv(0x03, b"\x00" + signature))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Authority(ssl.DER_cert_to_PEM_cert(der), private.decode())


@pytest.fixture(scope="module", params=["ours", "v1"])
def authority(request: pytest.FixtureRequest) -> Authority:
    return Authority.create(NOW) if request.param == "ours" else v1_authority()


def context(role: int, ca: str, certificate: str, key: str, directory: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(role)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.load_verify_locations(cadata=ca)
    (directory / "pair.pem").write_text(certificate + key)
    made.load_cert_chain(directory / "pair.pem")
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[bytes, bytes]:
    """A whole mutual TLS handshake in memory; the certificates that server and client showed."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = [end.getpeercert(binary_form=True) for end in ends]
    assert shown[0] is not None
    assert shown[1] is not None
    return shown[0], shown[1]


def test_a_hub_and_a_user_meet(authority: Authority, tmp_path: Path) -> None:
    hub_key, user_key = pki.new_key(), pki.new_key()
    hub = authority.sign_hub(HUB, pki.public_key(hub_key), NOW)
    user = authority.sign_user("alice", pki.public_key(user_key), NOW)
    server = context(ssl.PROTOCOL_TLS_SERVER, authority.certificate, hub, hub_key, tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority.certificate, user, user_key, tmp_path)
    of_server, of_client = handshake(server, client)
    assert pki.verify(of_server, authority.certificate, NOW, server=True).is_hub
    assert pki.verify(of_client, authority.certificate, NOW, server=False).user == "alice"


def test_a_user_cannot_play_the_hub(authority: Authority, tmp_path: Path) -> None:
    key = pki.new_key()
    user = authority.sign_user("mallory", pki.public_key(key), NOW)
    server = context(ssl.PROTOCOL_TLS_SERVER, authority.certificate, user, key, tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority.certificate, user, key, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(server, client)
    with pytest.raises(CertificateError):
        pki.verify(user, authority.certificate, NOW, server=True)


def test_a_stranger_is_not_let_in(authority: Authority, tmp_path: Path) -> None:
    hub_key, key = pki.new_key(), pki.new_key()
    hub = authority.sign_hub(HUB, pki.public_key(hub_key), NOW)
    foreign = Authority.create(NOW).sign_user("root", pki.public_key(key), NOW)
    server = context(ssl.PROTOCOL_TLS_SERVER, authority.certificate, hub, hub_key, tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, authority.certificate, foreign, key, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client)


def test_the_v1_format_authority_of_these_tests_is_what_it_says() -> None:
    ca = x509.load_pem_x509_certificate(v1_authority().certificate.encode())
    assert ca.version is x509.Version.v1
    assert len(ca.extensions) == 0
