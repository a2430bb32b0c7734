"""The mesh's certificate authority: the one key that says who is a user and who is a hub.

Signs only well-formed user names and hub ids, so that no certificate of a user can pass for a hub's or
the CA's. Does not remember what it signed, and does not decide who may ask for it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from ztm import model
from ztm.errors import CertificateError, UsageError
from ztm.pki import certificates, keys

CA_DAYS = 36500
"""Validity of a new CA: as long as v1's own; every certificate of the mesh dies with it."""
CA_BACKDATED = timedelta(days=1)
"""A new CA must hold on machines whose clocks are behind."""
HUB_BACKDATED = timedelta(hours=1)
"""The same for hub certificates. Users' are not backdated: evictions compare their first second."""
MAX_COMMON_NAME = 64
"""UTF-8 bytes that X.509 allows in a common name (RFC 5280 appendix A.1, ub-common-name)."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate with its private key: a new one of ours, or one that v1 made.

    Raises:
        CertificateError: either is malformed, or they do not belong together.
    """

    certificate: str
    """PEM."""
    key: str = field(repr=False)
    """PEM PKCS#8, unencrypted."""

    def __post_init__(self) -> None:
        certificates.check_ca(self.certificate)
        if not certificates.key_matches(self.key, self.certificate):
            raise CertificateError("the CA's private key does not belong to its certificate")

    @classmethod
    def create(cls, now: datetime, kind: str = "") -> Self:
        """A new mesh's authority, valid for `CA_DAYS` from `now` (aware UTC); `kind` of key as in `new_key`.

        Raises:
            CertificateError: there is no such kind here.
        """
        key = keys.load_private(keys.new_key(kind))
        public = key.public_key()
        begin = now.replace(microsecond=0) - CA_BACKDATED
        builder = _builder(model.CA, public, begin, timedelta(days=CA_DAYS) + CA_BACKDATED)
        builder = builder.issuer_name(_name(model.CA))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs=True), critical=True)
        return cls(_sign(builder, key), keys.dump_private(key))

    def sign_user(
        self,
        user: str,
        public_pem: str,
        now: datetime,
        days: int = 365,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> str:
        """A certificate (PEM) that makes the holder of `public_pem` the user `user` for `days` days.

        It begins at `not_before`, or at `now`, rounded down to whole seconds, and ends at `not_after` if that is
        sooner. It can stand on the client side of TLS only, so that no user can play the hub.

        Raises:
            UsageError: the name is reserved or malformed, or longer than `MAX_COMMON_NAME` bytes.
            CertificateError: the key is unusable, or the CA is outside its validity.

        Source: spec mesh-protocol 2.1 and 13.
        """
        _check_length(model.check_user(user))
        self._check_dates(now)
        begin = (not_before or now).replace(microsecond=0)
        validity = timedelta(days=days) if not_after is None else min(timedelta(days=days), not_after - begin)
        return self._issue(user, public_pem, begin, validity, ExtendedKeyUsageOID.CLIENT_AUTH)

    def sign_hub(self, hub_id: str, public_pem: str, now: datetime, days: int = 90) -> str:
        """A certificate (PEM) that makes the holder of `public_pem` the hub `hub_id` for `days` days.

        Raises:
            UsageError: `hub_id` is not a uuid.
            CertificateError: the key is unusable, or the CA is outside its validity.
        """
        name = model.HUB_PREFIX + model.check_uuid("hub", hub_id)
        self._check_dates(now)
        begin = now.replace(microsecond=0) - HUB_BACKDATED
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        return self._issue(name, public_pem, begin, timedelta(days=days) + HUB_BACKDATED, *usages)

    def _check_dates(self, now: datetime) -> None:
        certificates.check_dates(certificates.load(self.certificate), "the mesh's CA certificate", now)

    def _issue(
        self,
        name: str,
        public_pem: str,
        begin: datetime,
        validity: timedelta,
        *usages: ObjectIdentifier,
    ) -> str:
        ca = certificates.load(self.certificate)
        builder = _builder(name, keys.load_public(public_pem), begin, validity).issuer_name(ca.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(_issuer_key(ca), critical=False)
        return _sign(builder, keys.load_private(self.key))


def _check_length(user: str) -> None:
    try:
        size = len(user.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the user name {user!r} is not valid Unicode") from None
    if size > MAX_COMMON_NAME:
        raise UsageError(f"the user name has {size} bytes; a certificate holds {MAX_COMMON_NAME}")


def _builder(name: str, key: keys.PublicKey, begin: datetime, validity: timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """v1's CA has no extensions, so its key identifier is computed; verifiers then ignore it."""
    identifier = certificates.find_extension(ca.extensions, x509.SubjectKeyIdentifier)
    if identifier is not None:
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(keys.check_strength(ca.public_key()))


def _sign(builder: x509.CertificateBuilder, key: keys.PrivateKey) -> str:
    """EC and RSA need a hash, and SHA-256 is what v1 signs with; the others bring their own."""
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return certificates.dump(builder.sign(key, hashes.SHA256()))
    return certificates.dump(builder.sign(key, None))
