"""Promises of `ztm.pki` about certificates, the chain to the CA, and signing."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ztm import pki
from ztm.errors import CertificateError, UsageError
from ztm.pki import Authority

NOW = datetime(2026, 12, 1, 12, 0, 0, 750_000, tzinfo=UTC)
HUB = "0f8f7c4e-5f0a-4f0e-9c0a-0123456789ab"
V1 = json.loads((Path(__file__).parent.parent / "vectors" / "permit-root.json").read_text())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(NOW)


@pytest.fixture(scope="module")
def public() -> str:
    return pki.public_key(pki.new_key())


def make(
    *names: str,
    ca: bool | None = None,
    usages: tuple[x509.ObjectIdentifier, ...] = (),
    critical: bool = False,
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | None = None,
) -> str:
    """A self-signed certificate as somebody else might make it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in names])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW - timedelta(1), NOW + timedelta(9))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if critical:
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        builder = builder.add_extension(odd, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem)


def parsed(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def test_a_new_ca_is_v3_marked_as_ca_and_outlives_everyone(authority: Authority) -> None:
    ca = parsed(authority.certificate)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    assert ca.version is x509.Version.v3
    assert constraints.critical
    assert constraints.value.ca
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert not usage.digital_signature
    assert pki.identity_of(authority.certificate).user == "ca"
    assert ca.not_valid_before_utc == NOW.replace(microsecond=0) - timedelta(days=1)
    assert pki.days_left(pki.identity_of(authority.certificate), NOW) == 36499


def test_an_authority_never_shows_its_key(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority)


def test_an_authority_refuses_a_key_that_is_not_its_own(authority: Authority) -> None:
    with pytest.raises(CertificateError, match="does not belong"):
        Authority(authority.certificate, pki.new_key())


def test_a_user_certificate_begins_at_the_second_of_signing(authority: Authority, public: str) -> None:
    certificate = authority.sign_user("alice", public, NOW)
    identity = pki.verify(certificate, authority.certificate, NOW, server=False)
    assert identity.user == "alice"
    assert identity.key == pki.fingerprint(public)
    assert identity.not_before == NOW.replace(microsecond=0)
    assert identity.not_after - identity.not_before == timedelta(days=365)
    assert not identity.is_hub
    assert pki.days_left(identity, NOW) == 364


@pytest.mark.parametrize(("latest", "days"), [(7, 7), (400, 365)])
def test_a_user_certificate_ends_at_the_latest_when_the_signer_says(
    authority: Authority, public: str, latest: int, days: int
) -> None:
    identity = pki.identity_of(authority.sign_user("a", public, NOW, not_after=NOW + timedelta(days=latest)))
    assert identity.not_after == (NOW + timedelta(days=days)).replace(microsecond=0)


def test_a_user_certificate_can_be_dated_by_the_signer(authority: Authority, public: str) -> None:
    later = NOW + timedelta(seconds=1)
    assert pki.identity_of(authority.sign_user("a", public, NOW, not_before=later)).not_before == later.replace(
        microsecond=0
    )


def test_a_hub_certificate_may_stand_on_both_sides_and_is_backdated(authority: Authority, public: str) -> None:
    certificate = authority.sign_hub(HUB, public, NOW)
    for server in (True, False):
        identity = pki.verify(certificate, authority.certificate, NOW - timedelta(minutes=59), server=server)
        assert identity.is_hub
        assert identity.user == f"hub/{HUB}"
        assert pki.days_left(identity, NOW) == 89


def test_a_user_cannot_stand_on_the_server_side(authority: Authority, public: str) -> None:
    with pytest.raises(CertificateError, match="'bob' may not act as a server"):
        pki.verify(authority.sign_user("bob", public, NOW), authority.certificate, NOW, server=True)


def test_the_root_user_may_be_signed(authority: Authority, public: str) -> None:
    assert pki.identity_of(authority.sign_user("root", public, NOW)).user == "root"


@pytest.mark.parametrize(
    "name", ["", "ca", "CA", "hub", f"hub/{HUB}", "a/b", "..", " a", "a\n", "x" * 65, "é" * 33, "\ud800"]
)
def test_reserved_and_malformed_user_names_are_not_signed(authority: Authority, public: str, name: str) -> None:
    with pytest.raises(UsageError):
        authority.sign_user(name, public, NOW)


@pytest.mark.parametrize("hub_id", ["", "x", "../root", HUB.upper()])
def test_only_uuids_are_signed_as_hubs(authority: Authority, public: str, hub_id: str) -> None:
    with pytest.raises(UsageError):
        authority.sign_hub(hub_id, public, NOW)


def test_names_in_any_script_can_be_signed(authority: Authority, public: str) -> None:
    assert pki.identity_of(authority.sign_user("Алиса 王", public, NOW)).user == "Алиса 王"


def test_a_bad_key_is_not_signed(authority: Authority) -> None:
    with pytest.raises(CertificateError):
        authority.sign_user("bob", "garbage", NOW)


def test_an_expired_ca_signs_nothing(authority: Authority, public: str) -> None:
    with pytest.raises(CertificateError, match="CA certificate expired"):
        authority.sign_user("bob", public, NOW + timedelta(days=36501))


def test_certificates_are_read_from_der_as_well(authority: Authority, public: str) -> None:
    certificate = authority.sign_user("bob", public, NOW)
    assert pki.identity_of(der(certificate)) == pki.identity_of(certificate)
    assert pki.verify(der(certificate), authority.certificate, NOW, server=False).user == "bob"


def test_a_certificate_of_another_ca_is_refused(authority: Authority, public: str) -> None:
    foreign = Authority.create(NOW).sign_user("root", public, NOW)
    with pytest.raises(CertificateError, match="'root' was not signed by this mesh's CA"):
        pki.verify(foreign, authority.certificate, NOW, server=False)


def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    with pytest.raises(CertificateError, match="not signed by"):
        pki.verify(make("root"), authority.certificate, NOW, server=False)


def test_the_ca_certificate_itself_identifies_nobody(authority: Authority) -> None:
    with pytest.raises(CertificateError, match="does not identify"):
        pki.verify(authority.certificate, authority.certificate, NOW, server=False)


def test_a_tampered_certificate_is_refused(authority: Authority, public: str) -> None:
    forged = der(authority.sign_user("alice", public, NOW)).replace(b"alice", b"admin")
    with pytest.raises(CertificateError, match="not signed by"):
        pki.verify(forged, authority.certificate, NOW, server=False)


def test_certificates_hold_only_between_their_dates(authority: Authority, public: str) -> None:
    certificate = authority.sign_user("bob", public, NOW)
    first, last = NOW.replace(microsecond=0), NOW.replace(microsecond=0) + timedelta(days=365)
    for moment in (first, last):
        pki.verify(certificate, authority.certificate, moment, server=False)
    with pytest.raises(CertificateError, match=r"'bob' is not valid before .* clock"):
        pki.verify(certificate, authority.certificate, first - timedelta(seconds=1), server=False)
    with pytest.raises(CertificateError, match="'bob' expired on 2027-12-01"):
        pki.verify(certificate, authority.certificate, last + timedelta(seconds=1), server=False)


def test_an_expired_ca_vouches_for_nobody() -> None:
    moment = datetime(2027, 11, 23, 10, 50, 42, tzinfo=UTC)
    with pytest.raises(CertificateError, match="CA certificate expired"):
        pki.verify(V1["agent"]["certificate"], V1["ca"], moment, server=False)


def test_a_v3_ca_without_basic_constraints_is_refused() -> None:
    for bad in (make("ca"), make("ca", ca=False)):
        with pytest.raises(CertificateError, match="basicConstraints"):
            pki.check_ca(bad)


def test_an_ed25519_ca_is_taken_and_signs() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    authority = Authority(make("ca", ca=True, key=key), private)
    certificate = authority.sign_user("bob", pki.public_key(pki.new_key()), NOW)
    assert pki.verify(certificate, authority.certificate, NOW, server=False).user == "bob"


def test_a_ca_that_is_not_self_signed_is_refused(authority: Authority, public: str) -> None:
    with pytest.raises(CertificateError):
        pki.check_ca(authority.sign_user("bob", public, NOW))


def test_v1s_ca_and_certificates_are_accepted() -> None:
    assert pki.check_ca(V1["ca"]) == V1["ca"]
    identity = pki.verify(V1["agent"]["certificate"], V1["ca"], NOW, server=False)
    assert identity.user == "root"
    assert pki.key_matches(V1["agent"]["privateKey"], V1["agent"]["certificate"])
    assert not pki.key_matches(V1["agent"]["privateKey"], V1["ca"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "é",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        V1["ca"] + V1["ca"],
        b"",
        b"\x30\x00",
    ],
)
def test_what_is_not_one_certificate_is_refused(text: str | bytes) -> None:
    with pytest.raises(CertificateError):
        pki.identity_of(text)


def test_a_certificate_needs_exactly_one_clean_common_name() -> None:
    for names in ((), ("root", "bob"), ("root\x00.evil",), ("a\nb",)):
        with pytest.raises(CertificateError, match="common name"):
            pki.identity_of(make(*names))


def signed_by(authority: Authority, **changes: object) -> str:
    key = serialization.load_pem_private_key(authority.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    template = parsed(make("bob", **changes))  # type: ignore[arg-type]
    builder = x509.CertificateBuilder(
        parsed(authority.certificate).subject,
        template.subject,
        template.public_key(),  # type: ignore[arg-type]
        9,
        NOW - timedelta(1),
        NOW + timedelta(1),
        list(template.extensions),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_server_only_certificate_is_refused_as_a_client(authority: Authority) -> None:
    certificate = signed_by(authority, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
    assert pki.verify(certificate, authority.certificate, NOW, server=True).user == "bob"
    with pytest.raises(CertificateError, match="may not act as a client"):
        pki.verify(certificate, authority.certificate, NOW, server=False)


def test_an_unknown_critical_extension_is_refused(authority: Authority) -> None:
    with pytest.raises(CertificateError, match=r"1\.2\.3\.4"):
        pki.verify(signed_by(authority, critical=True), authority.certificate, NOW, server=False)
