"""Signed packages: what a publisher signed comes through as it was, and nothing else does."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from app_publisher import FILES, NOW, Publisher, content, packed
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ztm import pki
from ztm.agent.apps.inspection import Inspected, Key, inspect, signed_package
from ztm.agent.apps.names import AppName
from ztm.errors import CertificateError, UnusableError, ZtmError
from ztm.pki import Authority


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture(scope="module")
def alice() -> Publisher:
    return Publisher(Authority.create(NOW), "alice")


@pytest.fixture(scope="module")
def package(alice: Publisher, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return alice.package(tmp_path_factory.mktemp("package"))


def look(
    folder: Path, publisher: Publisher, data: bytes, now: datetime = NOW, wanted: AppName | None = None
) -> Inspected:
    return inspect(content(folder, data), publisher.ca, now, wanted)


def keys() -> Iterator[tuple[str, str]]:
    yield "EC", pki.new_key()
    yield "RSA", pem(rsa.generate_private_key(65537, 2048))
    yield "Ed25519", pem(ed25519.Ed25519PrivateKey.generate())
    for kind in pki.quantum_kinds()[:1]:
        yield kind, pki.new_key(kind)


@pytest.mark.parametrize("private", [pytest.param(private, id=kind) for kind, private in keys()])
def test_what_a_user_signs_by_any_kind_of_key_is_known_as_its_own(
    tmp_path: Path, alice: Publisher, private: str
) -> None:
    publisher = Publisher(alice.authority, "alice", private)
    found = look(tmp_path, publisher, publisher.package(tmp_path, tag="2"), wanted=AppName("alice", "hello", "2"))
    assert (found.app, found.manifest.version, found.problems) == (AppName("alice", "hello", "2"), "1.0.0", ())
    with pytest.raises(CertificateError):
        pki.check_signature(alice.key.certificate, b"text", pki.sign(private, b"text"))


def test_signing_again_replaces_the_signature_and_keeps_the_digest(tmp_path: Path, alice: Publisher) -> None:
    once = alice.package(tmp_path)
    raw = content(tmp_path, once)
    _, pieces = signed_package(raw, alice.key, alice.ca)
    again = b"".join(pieces)
    assert look(tmp_path, alice, once).digest == look(tmp_path, alice, again).digest
    assert again.count(b"POST /ztm-app.sig ") == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(place=st.integers(0, 1 << 20), bits=st.integers(1, 255))
def test_a_package_with_any_byte_changed_is_refused_or_the_same(
    tmp_path: Path, alice: Publisher, package: bytes, place: int, bits: int
) -> None:
    before = look(tmp_path, alice, package)
    changed = bytearray(package)
    changed[place % len(package)] ^= bits
    try:
        found = look(tmp_path, alice, bytes(changed))
    except ZtmError:
        return
    assert (found.app, found.digest, found.manifest) == (before.app, before.digest, before.manifest)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda package: package + packed({"/more.py": b"x"}), "more than was signed: more.py"),
        (lambda package: package.replace(packed({"/hello.py": b"app = 1"}), b""), "less than was signed: hello.py"),
        (lambda package: package.replace(b"app = 1", b"app = 2"), "hello.py changed since"),
        (lambda package: package.replace(b'"publisher": "alice"', b'"publisher": "elsie"'), "signed by 'alice'"),
        (lambda package: package.replace(b'"name": "hello"', b'"name": "jello"'), "not made by the key"),
        (lambda package: package.replace(b'"version": "1.0.0"', b'"version": "1.0.1"'), "not made by the key"),
        (lambda package: package.replace(b'"tag": ""', b'"tag":"a"'), "not made by the key"),
    ],
)
def test_what_was_not_signed_is_refused_with_its_reason(
    tmp_path: Path, alice: Publisher, change: object, reason: str
) -> None:
    assert callable(change)
    changed = change(alice.package(tmp_path))
    with pytest.raises(UnusableError, match=reason):
        look(tmp_path, alice, changed)


def test_a_package_without_a_signature_is_refused(tmp_path: Path, alice: Publisher) -> None:
    with pytest.raises(UnusableError, match="not signed"):
        look(tmp_path, alice, packed(FILES))


def test_a_package_of_v1_is_refused_by_its_name(tmp_path: Path, alice: Publisher) -> None:
    package = packed({"/main.js": b"export default () => {}"})
    with pytest.raises(UnusableError) as refused:
        look(tmp_path, alice, package, wanted=AppName("alice", "old"))
    assert str(refused.value) == "app alice/old is a PipyJS app; this agent runs only Python apps"
    assert refused.value.status == 422


def test_a_package_given_out_under_another_name_is_refused(tmp_path: Path, alice: Publisher) -> None:
    for wanted in (AppName("alice", "other"), AppName("bob", "hello"), AppName("alice", "hello", "1")):
        with pytest.raises(UnusableError, match="given out as"):
            look(tmp_path, alice, alice.package(tmp_path), wanted=wanted)


def test_a_user_who_is_called_like_the_built_in_apps_provider_publishes_nothing(
    tmp_path: Path, alice: Publisher
) -> None:
    with pytest.raises(UnusableError, match="taken for one of ztm's own"):
        Publisher(alice.authority, "ztm").package(tmp_path)


@pytest.mark.parametrize("days", [-1, 10_000])
def test_a_certificate_out_of_its_dates_proves_nothing(tmp_path: Path, alice: Publisher, days: int) -> None:
    package = alice.package(tmp_path)
    with pytest.raises(UnusableError, match=r"expired|not valid before"):
        look(tmp_path, alice, package, NOW + timedelta(days=days))


def test_a_hubs_certificate_publishes_nothing(tmp_path: Path, alice: Publisher) -> None:
    private = pki.new_key()
    hub = "12345678-1234-1234-1234-123456789abc"
    certificate = alice.authority.sign_hub(hub, pki.public_key(private), NOW)
    publisher = Publisher(alice.authority, "alice")
    publisher.key = Key("alice", private, certificate)
    with pytest.raises(UnusableError, match=r"may not act as a client|signed by 'hub/"):
        look(tmp_path, alice, publisher.package(tmp_path))


def test_another_meshs_ca_of_the_same_name_does_not_vouch_here(tmp_path: Path, alice: Publisher) -> None:
    stranger = Publisher(Authority.create(NOW), "alice")
    with pytest.raises(UnusableError, match="another mesh"):
        look(tmp_path, alice, stranger.package(tmp_path))


def test_a_key_is_not_shown(alice: Publisher) -> None:
    assert repr(alice.key) == "Key(user='alice')"
