"""What a certificate says, as facts for people and scripts: whose it is, until when, of what kind.

It judges nothing but dates, and never sees a private key.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ztm.errors import CertificateError

WARN_DAYS = 30
"""Fewer days left than this are worth a warning: the agent renews at `RENEW_DAYS`, so renewing has failed."""
WARN_PART = 3
"""A certificate of fewer days in all is worth a warning in the last third of them."""
RENEW_DAYS = 100
"""Days left at which an agent asks its hub for a new certificate (spec mesh-protocol 9.3)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One certificate."""

    user: str
    issuer: str
    key_type: str
    key: str
    """Fingerprint of the public key (`pki.fingerprint`)."""
    fingerprint: str
    """Lower-case hex SHA-256 of the whole certificate, as openssl computes it."""
    not_before: datetime
    not_after: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires, rounded down; negative once it has."""
        return (self.not_after - now).days

    @property
    def warn_days(self) -> int:
        """With fewer days left, somebody should do something."""
        return min(WARN_DAYS, (self.not_after - self.not_before).days // WARN_PART)

    def as_object(self, now: datetime) -> dict[str, Any]:
        """The facts by the names that JSON shows."""
        return {
            "user": self.user,
            "issuer": self.issuer,
            "keyType": self.key_type,
            "fingerprint": self.fingerprint,
            "notBefore": iso(self.not_before),
            "notAfter": iso(self.not_after),
            "daysLeft": self.days_left(now),
            "warnDays": self.warn_days,
        }


def facts(pem: str) -> Facts:
    """What the certificate in `pem` says of itself; nothing of it is proved.

    Raises:
        CertificateError: it is not exactly one well-formed certificate.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    from ztm import pki
    from ztm.pki.certificates import load

    identity, certificate = pki.identity_of(pem), load(pem)
    try:
        issuer = ", ".join(str(name.value) for name in certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME))
    except ValueError:
        raise CertificateError("the certificate's issuer is malformed") from None
    return Facts(
        user=identity.user,
        issuer=issuer,
        key_type=key_type(certificate.public_key()),
        key=identity.key,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=identity.not_before,
        not_after=identity.not_after,
    )


def key_type(key: object) -> str:
    """The kind and size of a public key: ``EC P-256``, ``RSA 2048``, ``Ed25519``."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC P-{key.curve.key_size}"
    return type(key).__name__.strip("_").removesuffix("PublicKey")


def iso(time: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def utc_now() -> datetime:
    """The time by this machine's clock."""
    return datetime.now(UTC)
