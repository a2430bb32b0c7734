"""Promises of `ztm.pki` about keys."""

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519

from ztm import pki
from ztm.errors import CertificateError


def pem(key: object, form: str = "PKCS8", password: bytes | None = None) -> str:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private_format = getattr(serialization.PrivateFormat, form)
    return key.private_bytes(serialization.Encoding.PEM, private_format, hidden).decode()  # type: ignore[attr-defined]


def public_pem(key: object) -> str:
    public = key.public_key()  # type: ignore[attr-defined]
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def test_a_new_key_is_p256_in_plain_pkcs8() -> None:
    text = pki.new_key()
    assert text.startswith("-----BEGIN PRIVATE KEY-----\n")
    key = serialization.load_pem_private_key(text.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert pki.new_key() != text


def test_the_fingerprint_is_the_sha256_of_the_der_public_key() -> None:
    public = pki.public_key(pki.new_key())
    der = serialization.load_pem_public_key(public.encode()).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert pki.fingerprint(public) == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "Ed25519", "RSA 2048"],
)
def test_keys_that_tls_can_use_are_taken_and_normalised(key: object) -> None:
    assert pki.check_public_key("\n" + public_pem(key) + "\n\n") == public_pem(key)
    assert pki.public_key(pem(key)) == public_pem(key)


def test_a_traditional_rsa_key_is_normalised_to_pkcs8() -> None:
    key = rsa.generate_private_key(65537, 2048)
    assert pki.check_private_key(pem(key, "TraditionalOpenSSL")) == pem(key)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a public key"),
        ("garbage", "not a public key"),
        ("ключ", "not a public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (public_pem(dsa.generate_private_key(2048)), "must be EC, Ed25519, RSA or ML-DSA"),
        (public_pem(x25519.X25519PrivateKey.generate()), "must be EC, Ed25519, RSA or ML-DSA"),
        (public_pem(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
    ],
    ids=["empty", "garbage", "non-ascii", "bad DER", "weak RSA", "DSA", "X25519", "secp256k1"],
)
def test_unusable_public_keys_are_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(CertificateError, match=why):
        pki.check_public_key(text)


def test_a_private_key_sent_by_mistake_is_refused_and_not_repeated() -> None:
    secret = pki.new_key()
    with pytest.raises(CertificateError, match="must stay secret") as caught:
        pki.check_public_key(secret)
    assert secret.splitlines()[1] not in str(caught.value)


def test_bad_private_keys_are_refused_without_being_repeated() -> None:
    locked = pem(ec.generate_private_key(ec.SECP256R1()), password=b"x")
    with pytest.raises(CertificateError, match="passphrase"):
        pki.check_private_key(locked)
    with pytest.raises(CertificateError, match="not a private key") as caught:
        pki.check_private_key("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__cause__ is None
