"""Promises about permits: v1's are read, ours come back whole, anything else is refused with the reason."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm import pki
from ztm.errors import CertificateError
from ztm.model import Address, Permit
from ztm.pki import Authority

NOW = datetime(2026, 12, 1, tzinfo=UTC)
VECTORS = Path(__file__).parent.parent / "vectors"
AUTHORITY = Authority.create(NOW)
KEY = pki.new_key()
CERTIFICATE = AUTHORITY.sign_user("root", pki.public_key(KEY), NOW)

hosts = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,8})?", fullmatch=True),
)
addresses = st.builds(Address, hosts, st.integers(1, 65535))
texts = st.text(st.characters(exclude_categories=["Cs"]))
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def permit(**changes: Any) -> str:
    fields = {
        "ca": AUTHORITY.certificate,
        "agent": {"certificate": CERTIFICATE, "privateKey": KEY},
        "bootstraps": ["127.0.0.1:8888"],
    }
    return json.dumps({**fields, **changes})


@pytest.mark.parametrize(("name", "user", "has_key"), [("root", "root", True), ("user", "carol", False)])
def test_v1s_permits_are_read_and_written_to_the_byte(name: str, user: str, has_key: bool) -> None:
    text = (VECTORS / f"permit-{name}.json").read_text()
    read = pki.parse_permit(text, NOW)
    assert pki.identity_of(read.certificate).user == user
    assert read.bootstraps == (Address("127.0.0.1", 20000),)
    assert (read.key is not None) is has_key
    assert pki.format_permit(read) == text


@given(
    bootstraps=st.lists(addresses, min_size=1, max_size=4).map(tuple),
    labels=st.lists(texts, max_size=3).map(tuple),
    keyed=st.booleans(),
)
def test_every_permit_comes_back_as_it_was_from_one_line(
    bootstraps: tuple[Address, ...], labels: tuple[str, ...], keyed: bool
) -> None:
    made = Permit(AUTHORITY.certificate, CERTIFICATE, bootstraps, KEY if keyed else None, labels)
    line = pki.format_permit(made)
    assert "\n" not in line
    assert pki.parse_permit(line, NOW) == made


@given(texts | values.map(json.dumps) | values.map(lambda agent: permit(agent=agent)))
def test_whatever_is_not_a_permit_is_refused_by_its_own_error(text: str) -> None:
    with pytest.raises(CertificateError):
        pki.parse_permit(text, NOW)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "invalid format"),
        ("[]", "invalid format"),
        (permit(ca=""), "permit missing CA certificate"),
        (permit(ca=None), "permit missing CA certificate"),
        (permit(ca=5), "invalid format"),
        (permit(agent=None), "permit missing user certificate"),
        (permit(agent={"certificate": ""}), "permit missing user certificate"),
        (permit(bootstraps=None), "permit missing bootstraps"),
        (permit(bootstraps=[]), "permit missing bootstraps"),
        (permit(bootstraps="127.0.0.1:8888"), "permit missing bootstraps"),
        (permit(bootstraps=["8888"]), "invalid bootstrap address"),
        (permit(bootstraps=["host:0"]), "invalid bootstrap address"),
        (permit(bootstraps=["host:65536"]), "invalid bootstrap address"),
        (permit(bootstraps=[7]), "invalid bootstrap address"),
        (permit(ca="junk"), "not a certificate"),
        (permit(agent={"certificate": "junk"}), "not a certificate"),
        (permit(agent={"certificate": CERTIFICATE, "privateKey": "junk"}), "not a private key"),
        (permit(agent={"certificate": CERTIFICATE, "privateKey": pki.new_key()}), "does not belong"),
        (permit(agent={"certificate": CERTIFICATE, "labels": "x"}), "'labels'"),
        (permit(ca=Authority.create(NOW).certificate), "not signed by this mesh's CA"),
    ],
)
def test_each_missing_or_wrong_part_is_named(text: str, why: str) -> None:
    with pytest.raises(CertificateError, match=why) as caught:
        pki.parse_permit(text, NOW)
    assert KEY not in str(caught.value)


def test_an_expired_permit_is_refused() -> None:
    with pytest.raises(CertificateError, match="expired"):
        pki.parse_permit(permit(), NOW + timedelta(days=366))


def test_a_hubs_certificate_is_no_permit() -> None:
    hub = AUTHORITY.sign_hub("0f8f7c4e-5f0a-4f0e-9c0a-0123456789ab", pki.public_key(KEY), NOW)
    with pytest.raises(CertificateError, match="does not name a user"):
        pki.parse_permit(permit(agent={"certificate": hub}), NOW)


def test_unknown_fields_and_the_name_of_a_join_request_are_ignored() -> None:
    agent = {"certificate": CERTIFICATE, "privateKey": KEY, "name": "home", "username": "x"}
    assert pki.parse_permit(permit(agent=agent, connected=True), NOW).key == KEY


def test_a_permit_never_shows_its_key() -> None:
    assert "PRIVATE" not in repr(pki.parse_permit(permit(), NOW))
