"""Key pairs as PEM text: making them, checking those of others, naming them by fingerprint.

Knows nothing of certificates, and never puts a private key into a message.
"""

import contextlib
import hashlib
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ztm.errors import CertificateError

_QUANTUM_PRIVATE: dict[str, Any] = {}
_QUANTUM_PUBLIC: tuple[type, ...] = ()
with contextlib.suppress(ImportError, AttributeError):  # older releases have none, or name them otherwise
    from cryptography.hazmat.primitives.asymmetric import mldsa

    _QUANTUM_PRIVATE = {
        "ML-DSA-44": mldsa.MLDSA44PrivateKey,
        "ML-DSA-65": mldsa.MLDSA65PrivateKey,
        "ML-DSA-87": mldsa.MLDSA87PrivateKey,
    }
    _QUANTUM_PUBLIC = (mldsa.MLDSA44PublicKey, mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey)

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""The curves that TLS 1.3 has signature schemes for (RFC 8446 section 4.2.3)."""
MIN_RSA = 2048
"""Bits: what v1 makes, and the least that OpenSSL's security level 2 lets through."""
MAX_RSA = 8192
"""Bits: beyond it one signature check costs a peer milliseconds, and gives nothing."""


def quantum_kinds() -> tuple[str, ...]:
    """Names of the post-quantum kinds of keys that `new_key` can make here (``ML-DSA-65``)."""
    return tuple(_QUANTUM_PRIVATE)


def new_key(kind: str = "") -> str:
    """A fresh private key, PEM PKCS#8 without a passphrase: EC P-256, or one of `quantum_kinds`.

    Raises:
        CertificateError: there is no such kind here.
    """
    if not kind:
        return dump_private(ec.generate_private_key(ec.SECP256R1()))
    if kind not in _QUANTUM_PRIVATE:
        raise CertificateError(f"keys of the kind {kind!r} cannot be made here")
    try:
        return dump_private(_QUANTUM_PRIVATE[kind].generate())
    except UnsupportedAlgorithm:
        raise CertificateError(f"keys of the kind {kind} cannot be made here: the library lacks them") from None


def kind_of(private_pem: str) -> str:
    """Which of `quantum_kinds` a private key is; empty for the usual ones.

    Raises:
        CertificateError: `private_pem` is not a usable private key.
    """
    key = load_private(private_pem)
    return next((name for name, kind in _QUANTUM_PRIVATE.items() if isinstance(key, kind)), "")


def quantum_kind(key: PublicKey) -> str:
    """The same of a parsed public key."""
    return next(
        (name for name, kind in zip(_QUANTUM_PRIVATE, _QUANTUM_PUBLIC, strict=True) if isinstance(key, kind)), ""
    )


def public_key(private_pem: str) -> str:
    """The public half of `private_pem`, as SubjectPublicKeyInfo PEM.

    Raises:
        CertificateError: `private_pem` is not a usable private key.
    """
    return dump_public(load_private(private_pem).public_key())


def check_public_key(pem: str) -> str:
    """Return the public key in its normal form, SubjectPublicKeyInfo PEM.

    Raises:
        CertificateError: it is malformed, of a kind that TLS cannot use, or too weak.
    """
    return dump_public(load_public(pem))


def check_private_key(pem: str) -> str:
    """Return the private key in its normal form, PKCS#8 PEM without a passphrase.

    Raises:
        CertificateError: it is malformed, has a passphrase, is of a kind that TLS cannot use, or too weak.
    """
    return dump_private(load_private(pem))


def fingerprint(public_pem: str) -> str:
    """What `Identity.key` holds: lower-case hex SHA-256 of the key's DER SubjectPublicKeyInfo.

    Raises:
        CertificateError: `public_pem` is not a usable public key.
    """
    return digest(load_public(public_pem))


def load_public(pem: str) -> PublicKey:
    """Parse a public key, for the other modules of this package.

    Raises:
        CertificateError: as `check_public_key`.
    """
    if "PRIVATE KEY-----" in pem:
        raise CertificateError("this is a private key, which must stay secret; give the public key (ztm identity)")
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("not a public key (expected PEM with BEGIN PUBLIC KEY)") from None
    return check_strength(key)


def load_private(pem: str) -> PrivateKey:
    """Parse a private key, for the other modules of this package.

    Raises:
        CertificateError: as `check_private_key`.
    """
    try:
        key = serialization.load_pem_private_key(pem.encode("ascii"), password=None)
    except TypeError:
        raise CertificateError("the private key has a passphrase; remove it first (openssl pkey)") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("not a private key (expected PEM with BEGIN PRIVATE KEY)") from None
    if not isinstance(key, (PrivateKey, *_QUANTUM_PRIVATE.values())):
        raise CertificateError("private keys must be EC, Ed25519, RSA or ML-DSA")
    check_strength(key.public_key())
    return key  # type: ignore[return-value]


def check_strength(key: object) -> PublicKey:
    """Return `key` if TLS can use it and it is strong enough.

    Raises:
        CertificateError: it is of another kind or curve, or an RSA key outside `MIN_RSA` to `MAX_RSA` bits.
    """
    match key:
        case rsa.RSAPublicKey():
            if not MIN_RSA <= key.key_size <= MAX_RSA:
                raise CertificateError(f"the RSA key has {key.key_size} bits; {MIN_RSA} to {MAX_RSA} are allowed")
        case ec.EllipticCurvePublicKey():
            if key.curve.name not in CURVES:
                raise CertificateError(f"the curve {key.curve.name} is not one of {', '.join(CURVES)}")
        case ed25519.Ed25519PublicKey():
            pass
        case _ if not isinstance(key, _QUANTUM_PUBLIC):
            raise CertificateError("public keys must be EC, Ed25519, RSA or ML-DSA")
    return key  # type: ignore[return-value]


def digest(key: PublicKey) -> str:
    """The fingerprint of a parsed key."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def dump_public(key: PublicKey) -> str:
    """SubjectPublicKeyInfo PEM of a parsed key."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form).decode("ascii")


def dump_private(key: PrivateKey) -> str:
    """PKCS#8 PEM of a parsed key, without a passphrase."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode("ascii")
