"""Reading certificates and judging them against the one CA of a mesh.

The chain has exactly one level (spec mesh-protocol 2.1): the CA signs every certificate itself. Host
names are never looked at, evictions are the hub's business, and whether a server calls itself a hub is
for the caller to ask (`Identity.is_hub`).
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ztm import model
from ztm.errors import CertificateError
from ztm.model import Identity
from ztm.pki import keys

_E = TypeVar("_E", bound=x509.ExtensionType)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

WEAK_HASHES = ("md5", "sha1")
"""Signature hashes with known collisions; OpenSSL's security level 2 refuses them as well."""


def identity_of(certificate: str | bytes) -> Identity:
    """Who the certificate (PEM text, or DER bytes as TLS gives it) names. Proves nothing; see `verify`.

    Raises:
        CertificateError: it is malformed, its key is unusable, or it has not exactly one common name.
    """
    return _identity(load(certificate))


def verify(certificate: str | bytes, ca_pem: str, now: datetime, *, server: bool) -> Identity:
    """Who `certificate` proves its holder to be in the mesh of `ca_pem`; `server` is the side it stands on.

    Accepts what OpenSSL accepts of v1 and of our own certificates: signed by the CA itself, CA and
    certificate within their validity at `now` (aware UTC), extended key usage fitting where present.

    Raises:
        CertificateError: any of that fails; the message says which.

    Source: spec mesh-protocol 2.1.
    """
    ca = _load_ca(ca_pem)
    leaf = load(certificate)
    identity = _identity(leaf)
    if identity.user == model.CA:
        raise CertificateError("the CA's own certificate does not identify a user or hub")
    _check_signature(leaf, ca, f"the certificate of {identity.user!r} was not signed by this mesh's CA")
    check_dates(ca, "the mesh's CA certificate", now)
    check_dates(leaf, f"the certificate of {identity.user!r}", now)
    _check_usage(leaf, identity.user, server=server)
    return identity


def check_ca(pem: str) -> str:
    """Return the normal PEM form of a certificate that may be a mesh's CA; its dates are not judged.

    Raises:
        CertificateError: it is not exactly one certificate, not self-signed, or neither X.509 v1 nor a v3
            certificate with basicConstraints CA:TRUE.
    """
    return dump(_load_ca(pem))


def check_certificate(pem: str) -> str:
    """Return the normal PEM form of exactly one well-formed certificate with one common name.

    Raises:
        CertificateError: it is anything else.
    """
    certificate = load(pem)
    _identity(certificate)
    return dump(certificate)


def key_matches(private_pem: str, certificate_pem: str) -> bool:
    """Whether the certificate was made for this private key.

    Raises:
        CertificateError: either of them is malformed.
    """
    return keys.digest(keys.load_private(private_pem).public_key()) == identity_of(certificate_pem).key


def certified_kind(certificate: str) -> str:
    """Which of `quantum_kinds` a certificate's key is; empty for the usual ones.

    Raises:
        CertificateError: it is malformed.
    """
    with _malformed():
        return keys.quantum_kind(keys.check_strength(load(certificate).public_key()))


def days_left(identity: Identity, now: datetime) -> int:
    """Whole days until the certificate expires, rounded down; negative once it has."""
    return (identity.not_after - now).days


def load(certificate: str | bytes) -> x509.Certificate:
    """Parse PEM text or DER bytes, for the other modules of this package.

    Raises:
        CertificateError: it is malformed, or the text holds not exactly one certificate.
    """
    with _malformed():
        if isinstance(certificate, bytes):
            return x509.load_der_x509_certificate(certificate)
        found = x509.load_pem_x509_certificates(certificate.encode("ascii"))
    if len(found) != 1:
        raise CertificateError(f"expected one certificate, and found {len(found)}")
    return found[0]


def dump(certificate: x509.Certificate) -> str:
    """PEM text of a parsed certificate."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def check_dates(certificate: x509.Certificate, whose: str, now: datetime) -> None:
    """Pass if `now` is within the certificate's validity; for the other modules of this package.

    Raises:
        CertificateError: it is not; `whose` begins the message.
    """
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        raise CertificateError(f"{whose} is not valid before {begin:%Y-%m-%d %H:%M:%S} UTC; check this machine's clock")
    if now > end:
        raise CertificateError(f"{whose} expired on {end:%Y-%m-%d %H:%M:%S} UTC")


def find_extension(extensions: x509.Extensions, kind: type[_E]) -> _E | None:
    """The extension of this kind, if there is one; for the other modules of this package."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


@contextmanager
def _malformed() -> Iterator[None]:
    """Parsing is lazy: any access to a field may find the certificate malformed."""
    try:
        yield
    except CertificateError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion):
        raise CertificateError("not a certificate (expected PEM with BEGIN CERTIFICATE, X.509 v1 or v3)") from None


def _identity(certificate: x509.Certificate) -> Identity:
    with _malformed():
        names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if len(names) != 1:
            raise CertificateError(f"a certificate needs exactly one common name, and this has {len(names)}")
        if not names[0] or _CONTROL.search(names[0]):
            raise CertificateError(
                f"the certificate's common name {names[0][:64]!r} is empty or has control characters"
            )
        key = keys.check_strength(certificate.public_key())
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    user, digest = sys.intern(names[0]), sys.intern(keys.digest(key))  # of thousands that may be of one user
    return Identity(user=user, key=digest, not_before=begin, not_after=end)


def _load_ca(pem: str) -> x509.Certificate:
    ca = load(pem)
    with _malformed():
        keys.check_strength(ca.public_key())
        if ca.version is x509.Version.v3:
            _check_ca_extensions(ca.extensions)
    _check_signature(ca, ca, "the CA certificate is not self-signed")
    return ca


def _check_ca_extensions(extensions: x509.Extensions) -> None:
    constraints = find_extension(extensions, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise CertificateError("the CA certificate lacks basicConstraints CA:TRUE")
    usage = find_extension(extensions, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise CertificateError("the CA certificate's key usage does not allow signing certificates")


def _check_signature(certificate: x509.Certificate, issuer: x509.Certificate, message: str) -> None:
    with _malformed():
        algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and algorithm.name in WEAK_HASHES:
        raise CertificateError(f"the certificate is signed with {algorithm.name}, which can be forged")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise CertificateError(message) from None


def _check_usage(leaf: x509.Certificate, user: str, *, server: bool) -> None:
    needed = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    with _malformed():
        extensions = leaf.extensions
    usage = find_extension(extensions, x509.ExtendedKeyUsage)
    if usage is not None and needed not in usage:
        raise CertificateError(f"the certificate of {user!r} may not act as a {'server' if server else 'client'}")
    for extension in extensions:
        if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
            raise CertificateError(
                f"the certificate of {user!r} has an unknown critical extension {extension.oid.dotted_string}"
            )
