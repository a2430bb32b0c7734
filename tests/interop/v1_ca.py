"""Certificates as v1 issues them: X.509 version 1, RSA, no extensions; written byte by byte, as libraries make v3 only.

Source: spec mesh-protocol 2.1.
"""

import secrets
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

SHA256_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")


class V1Authority:
    """A mesh's CA, with its key."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.certificate = self._issue("ca", self._key.public_key(), 365)

    def sign(self, name: str, public_pem: str, days: int = 365) -> str:
        """A certificate for a public key; no name is refused."""
        key = serialization.load_pem_public_key(public_pem.encode())
        return self._issue(name, key, days)

    def _issue(self, name: str, key: object, days: int) -> str:
        begin = datetime.now(UTC) - timedelta(seconds=1)
        spki = key.public_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        validity = der(0x30, time(begin), time(begin + timedelta(days=days)))
        serial = der(0x02, b"\x01" + secrets.token_bytes(18))
        told = der(0x30, serial, SHA256_RSA, common_name("ca"), validity, common_name(name), spki)
        signature = self._key.sign(told, padding.PKCS1v15(), hashes.SHA256())
        certificate = x509.load_der_x509_certificate(der(0x30, told, SHA256_RSA, der(0x03, b"\0", signature)))
        assert certificate.version is x509.Version.v1
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes((tag, 128 + len(size))) + size + body


def common_name(name: str) -> bytes:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]).public_bytes()


def time(moment: datetime) -> bytes:
    return der(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())


@cache
def authority(name: str = "ours") -> V1Authority:
    """The CA of this name: the same in all tests, as an RSA key takes a while to find."""
    return V1Authority()


@cache
def key(name: str, *, is_rsa: bool = True) -> str:
    """The private key of this name, PEM: the same in all tests. Reading an EC key is much quicker than an RSA key."""
    made = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return made.private_bytes(encoding, form, serialization.NoEncryption()).decode()


@cache
def public(private_pem: str) -> str:
    made = serialization.load_pem_private_key(private_pem.encode(), None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return made.public_bytes(serialization.Encoding.PEM, form).decode()
