"""Asking an external CA service, and believing nothing that it cannot prove."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from ca_server import CaServer, authority, ca_server
from ztm.errors import CertificateError, ConflictError, RefusedError, TooLargeError, UnreachableError, UsageError
from ztm.hub.authority import RemoteAuthority, signer_of
from ztm.hub.ca_service import CaService
from ztm.pki import Authority, identity_of, new_key, public_key
from ztm.store.hub import HubStore

KEY = public_key(new_key())


def now() -> datetime:
    return datetime.now(UTC)


def asked(ca: CaServer, *, trust: str = "", token: str = "") -> RemoteAuthority:
    return RemoteAuthority.ask(CaService.parse(ca.url, trust=trust, token=token))


def test_users_and_hubs_are_signed_by_the_service_in_v1s_form() -> None:
    hub = str(uuid4())
    with ca_server() as ca:
        signer = asked(ca)
        assert signer.certificate == ca.authority.certificate
        assert identity_of(signer.sign_user("alice", KEY, now())).user == "alice"
        assert identity_of(signer.sign_hub(hub, KEY, now())).user == f"hub/{hub}"
        assert ca.asked == [("GET", "ca"), ("POST", "alice"), ("POST", f"hub/{hub}")]


def test_a_url_without_a_path_means_v1s_path() -> None:
    service = CaService.parse("https://ca.example")
    assert (service.host, service.port, service.path) == ("ca.example", 443, "/api/certificates")
    assert str(CaService.parse("https://[::1]:1/x/")) == "https://[::1]:1/x"


@pytest.mark.parametrize(
    "url",
    ["ca.example", "ftp://ca.example", "https://", "https://h:x", "https://me:pw@h", "https://h/?q=1", "https://h/#x"],
)
def test_what_is_no_url_of_a_service_is_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        CaService.parse(url)
    assert "pw" not in str(refused.value)


def test_plain_http_to_another_machine_is_refused_unless_asked_for() -> None:
    with pytest.raises(UsageError, match="--insecure-ca"):
        CaService.parse("http://ca.example:9999")
    assert CaService.parse("http://ca.example:9999", is_plain_allowed=True).is_exposed
    for here in ("http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://ca.example"):
        assert not CaService.parse(here, token="t").is_exposed


def test_a_token_never_goes_over_plain_http_to_another_machine() -> None:
    with pytest.raises(UsageError, match="a token never goes over plain http"):
        CaService.parse("http://ca.example", token="t", is_plain_allowed=True)


def test_a_token_is_shown_to_the_service_and_to_nobody_else() -> None:
    with ca_server(token="open-sesame") as ca:
        assert asked(ca, token="open-sesame").sign_user("bob", KEY, now())
        with pytest.raises(RefusedError, match="wants a token"):
            asked(ca)
        with pytest.raises(RefusedError, match="does not take this token") as refused:
            asked(ca, token="close-sesame")
        assert "sesame" not in str(refused.value)
        assert "sesame" not in repr(CaService.parse(ca.url, token="open-sesame"))


def test_https_is_verified_by_the_given_certificate_or_the_systems(tmp_path: Path) -> None:
    with ca_server(directory=tmp_path) as ca:
        assert asked(ca, trust=ca.trust).sign_user("bob", KEY, now())
        with pytest.raises(CertificateError, match="is not trusted"):
            asked(ca)
        with pytest.raises(CertificateError, match="is not trusted"):
            RemoteAuthority.ask(CaService.parse(ca.url.replace("127.0.0.1", "localhost"), trust=ca.trust))
    with pytest.raises(CertificateError, match="--ca-cert holds no certificate"):
        CaService.parse("https://ca.example", trust="garbage")


@pytest.mark.parametrize(
    ("name", "key", "by", "why"),
    [
        ("root", KEY, "ours", "signed 'root' instead of 'bob'"),
        ("hub/x", KEY, "ours", "signed 'hub/x' instead of 'bob'"),
        ("ca", KEY, "ours", "CA's own certificate"),
        ("bob", public_key(new_key()), "ours", "another key"),
        ("bob", KEY, "foreign", "not signed by this mesh's CA"),
    ],
)
def test_a_certificate_that_was_not_asked_for_is_not_used(name: str, key: str, by: str, why: str) -> None:
    with ca_server() as ca:
        ca.sign = lambda _name, _key: (201, (ca.authority if by == "ours" else authority(by)).sign(name, key))
        with pytest.raises(CertificateError, match=why):
            asked(ca).sign_user("bob", KEY, now())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (201, "garbage", CertificateError),
        (201, "", CertificateError),
        (201, "x" * 70_000, TooLargeError),
        (404, "", RefusedError),
        (500, "trace", RefusedError),
        (302, "", RefusedError),
        (204, "", RefusedError),
    ],
)
def test_whatever_else_the_service_answers_is_an_error(status: int, body: str, kind: type[Exception]) -> None:
    with ca_server() as ca:
        ca.sign = lambda _name, _key: (status, body)
        with pytest.raises(kind):
            asked(ca).sign_user("bob", KEY, now())
        assert ca.asked == [("GET", "ca"), ("POST", "bob")], "no redirect is followed"


def test_an_expired_certificate_is_not_used() -> None:
    with ca_server() as ca:
        ca.sign = lambda name, key: (201, ca.authority.sign(name, key, days=-1))
        with pytest.raises(CertificateError, match="expired"):
            asked(ca).sign_user("bob", KEY, now())


def test_reserved_names_are_not_even_asked_for() -> None:
    with ca_server() as ca:
        signer = asked(ca)
        for name in ("ca", "hub", "hub/x", "../x", ""):
            with pytest.raises(UsageError):
                signer.sign_user(name, KEY, now())
        assert ca.asked == [("GET", "ca")]


def test_a_service_that_is_not_there_is_named() -> None:
    with ca_server() as ca:
        url = ca.url
    with pytest.raises(UnreachableError, match=f"cannot use the CA service {url}"):
        CaService.parse(url).certificate()


def test_what_the_service_shows_as_its_ca_must_be_one() -> None:
    with ca_server() as ca:
        leaf = Authority.create(now()).sign_user("bob", KEY, now())
        ca.authority = type("Fake", (), {"certificate": leaf})()
        with pytest.raises(CertificateError):
            asked(ca)


def test_a_directory_with_another_ca_is_not_given_a_second_one(tmp_path: Path) -> None:
    store = HubStore(tmp_path)
    try:
        with ca_server() as ca:
            service = CaService.parse(ca.url)
            assert isinstance(signer_of(store, service), RemoteAuthority)
            store.save_authority(Authority.create(now()))
            with pytest.raises(ConflictError, match="a CA of its own"):
                signer_of(store, service)
    finally:
        store.close()
