"""The exit's own certificate authority, and the short-lived certificates that it makes for the names asked for.

The authority's key is in the app's private files, readable by the owner only; it is never logged, shown or sent.

Source: spec apps-network 2.6 and 2.7; RFC 5280 section 4.2.
"""

import ssl
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ztm.apps.base import AppContext
from ztm.errors import CertificateError
from ztm.net.tls import load_chain

KEY, CERTIFICATE = "ca.key", "ca.crt"
CA_DAYS = 1825
"""Five years: who installs it does so by hand, on every machine."""
LEAF_DAYS = 7
BACKDATED = timedelta(hours=1)
"""For machines whose clocks are behind."""
KEPT = 256
"""Names whose certificate is kept; one more makes the one not asked for longest go."""
KEPT_FOR = timedelta(days=1)
_MAX_COMMON_NAME = 64

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Chosen = tuple[str, str | None]
"""A name, and the protocol that was agreed upon with its origin."""


class Mint:
    """Made when certificates are first needed.

    Raises:
        CertificateError: the authority that is stored is not usable.
        StorageError: a new one could not be stored.
    """

    def __init__(self, context: AppContext) -> None:
        self._network = context.network
        self._key, self._ca = _load(context) or _create(context, self._now())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        """Of all leaves while this process lasts: they are this exit's, whatever their names."""
        self._contexts: OrderedDict[Chosen, tuple[datetime, ssl.SSLContext]] = OrderedDict()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._network.wall(), UTC)

    def context(self, name: str, alpn: str | None) -> ssl.SSLContext:
        """What a server that is called `name` shows, a host name or an IP address."""
        key, now = (name, alpn), self._now()
        kept = self._contexts.get(key)
        if kept and kept[0] > now:
            self._contexts.move_to_end(key)
            return kept[1]
        made = self._make(name, alpn, now)
        self._contexts[key] = (now + KEPT_FOR, made)
        self._contexts.move_to_end(key)
        if len(self._contexts) > KEPT:
            self._contexts.popitem(last=False)
        return made

    def _make(self, name: str, alpn: str | None, now: datetime) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.options |= ssl.OP_NO_COMPRESSION
        if alpn:
            made.set_alpn_protocols([alpn])
        load_chain(made, _pem_key(self._leaf_key) + _pem(self._leaf(name, now)))
        return made

    def _leaf(self, name: str, now: datetime) -> x509.Certificate:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        return (
            _builder(name[:_MAX_COMMON_NAME], self._leaf_key.public_key(), now, LEAF_DAYS)
            .issuer_name(self._ca.subject)
            .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_authority_key(self._ca), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def certificate(context: AppContext) -> str | None:
    """The authority's certificate (PEM), or None if there never was one."""
    found = context.files.read_local(CERTIFICATE)
    return found.decode("ascii", "replace") if found else None


def _load(context: AppContext) -> tuple[PrivateKey, x509.Certificate] | None:
    """The authority that is stored; None if there is none, or its time is over."""
    key, pem = context.files.read_local(KEY), context.files.read_local(CERTIFICATE)
    if key is None or pem is None:
        return None
    try:
        loaded = serialization.load_pem_private_key(key, None)
        ca = x509.load_pem_x509_certificate(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError(
            "the proxy's ca.key or ca.crt is damaged: turn certificates off, remove both, and turn them on again"
        ) from None
    if not isinstance(loaded, PrivateKey):
        raise CertificateError("the proxy's ca.key is neither an EC nor an RSA key")
    if ca.not_valid_after_utc <= datetime.fromtimestamp(context.network.wall(), UTC) + timedelta(days=LEAF_DAYS):
        context.log.warning("the proxy's certificate authority has expired, and a new one is made: install it anew")
        return None
    return loaded, ca


def _create(context: AppContext, now: datetime) -> tuple[PrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"ztm proxy {context.place.name}"[:_MAX_COMMON_NAME]
    builder = _builder(name, key.public_key(), now, CA_DAYS)
    ca = (
        builder.issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signing_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    context.files.write_local(KEY, _pem_key(key).encode())
    context.files.write_local(CERTIFICATE, _pem(ca).encode())
    return key, ca


def _builder(name: str, key: ec.EllipticCurvePublicKey, now: datetime, days: int) -> x509.CertificateBuilder:
    begin = now.replace(microsecond=0) - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + BACKDATED + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _authority_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())  # type: ignore[arg-type]


def _signing_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate_: x509.Certificate) -> str:
    return certificate_.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _pem_key(key: PrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode("ascii")
