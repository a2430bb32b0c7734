"""Signing texts by the keys of users, and checking such signatures by their certificates.

It does not judge the certificate: that is `verify`. A text begins with words that say what it is for, so that no
signature made here can be taken for one on something else; TLS's own begin with 64 blanks (RFC 8446 section 4.4.3).
"""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from ztm.errors import CertificateError
from ztm.pki.certificates import load
from ztm.pki.keys import check_strength, load_private


def sign(private_pem: str, text: bytes) -> bytes:
    """A signature on `text`: ECDSA with SHA-256, Ed25519, RSA-PSS with SHA-256, or ML-DSA, as the key is.

    Raises:
        CertificateError: the key is unusable.
    """
    key = load_private(private_pem)
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(text, ec.ECDSA(hashes.SHA256()))
        case rsa.RSAPrivateKey():
            return key.sign(text, _pss(), hashes.SHA256())
        case _:
            return key.sign(text)


def check_signature(certificate: str, text: bytes, signature: bytes) -> None:
    """Return if `signature` on `text` was made by the key of `certificate` (PEM).

    Raises:
        CertificateError: it was not, or the certificate or its key is unusable.
    """
    key = check_strength(load(certificate).public_key())
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPublicKey():
                key.verify(signature, text, _pss(), hashes.SHA256())
            case ed25519.Ed25519PublicKey() | _:
                key.verify(signature, text)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        raise CertificateError("the signature was not made by the key of the certificate beside it") from None


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
