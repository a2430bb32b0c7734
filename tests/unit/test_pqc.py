"""Post-quantum algorithms: what is asked for is used or refused by name, never silently left out."""

import importlib.util
import os
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ztm import pki
from ztm.cli.commands import commands
from ztm.cli.context import Context
from ztm.cli.failures import status_of
from ztm.cli.run import agent_config, hub_config
from ztm.cli.service import OPTIONS
from ztm.cli.services.wanted import wanted
from ztm.errors import CertificateError, UsageError, ZtmError
from ztm.hub.root import issue
from ztm.model import Address
from ztm.net import pqc
from ztm.net.aio import AioNetwork
from ztm.net.base import TlsConfig
from ztm.net.choice import VARIABLE, implementation
from ztm.net.reasons import no_agreement, why
from ztm.net.tls import context
from ztm.store.agent import AgentStore

HERE = pki.quantum_kinds()
native = pytest.mark.skipif(
    importlib.util.find_spec("ztm_native") is None or os.environ.get(VARIABLE) == "aio",
    reason="the native network is not used",
)


def is_usable(name: str) -> bool:
    """Whether this machine's TLS library takes certificates of this kind, by trying."""
    try:
        pqc.check_signature(name)
    except pqc.UnavailableError:
        return False
    return True


@pytest.mark.parametrize("kind", HERE)
def test_a_mesh_of_a_post_quantum_kind_proves_who_is_who(kind: str) -> None:
    now = datetime.now(UTC)
    ca, key = pki.Authority.create(now, kind), pki.new_key(kind)
    certificate = ca.sign_user("bob", pki.public_key(key), now)
    assert pki.verify(certificate, ca.certificate, now, server=False).user == "bob"
    assert pki.key_matches(key, certificate)
    assert pki.kind_of(key) == pki.kind_of(ca.key) == pki.certified_kind(certificate) == kind
    assert pki.check_private_key(key) == key
    with pytest.raises(CertificateError, match="not signed by this mesh's CA"):
        pki.verify(certificate, pki.Authority.create(now, kind).certificate, now, server=False)


@pytest.mark.parametrize("kind", HERE)
def test_root_permits_and_identities_are_of_the_kind_asked_for(kind: str, tmp_path: Path) -> None:
    permit = pki.parse_permit(issue(tmp_path / "hub", (Address("h", 1),), signature=kind), datetime.now(UTC))
    assert pki.kind_of(permit.key or "") == kind
    store = AgentStore(tmp_path / "agent", kind)
    try:
        assert pki.kind_of(store.identity_key()) == kind
    finally:
        store.close()


def test_what_tls_says_is_not_taken_for_an_error_of_the_system_with_the_same_number() -> None:
    error = ssl.SSLError(1, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure")  # 1 is EPERM as well
    assert "permission" not in why(error)
    assert "--pqc-key-exchange" in no_agreement(why(error))
    assert no_agreement("connection refused") == "connection refused"


def test_unknown_kinds_of_keys_cannot_be_made() -> None:
    with pytest.raises(CertificateError, match="'ML-DSA-1'"):
        pki.new_key("ML-DSA-1")
    assert pki.kind_of(pki.new_key()) == ""


@pytest.mark.parametrize("name", pqc.SIGNATURES)
def test_a_signature_is_used_or_refused_by_name_with_the_library_that_lacks_it(name: str) -> None:
    try:
        assert pqc.check_signature(name) == name
    except pqc.UnavailableError as error:
        assert str(error).startswith(f"{name} is not available: ")  # noqa: PT017 (either is right)
        assert "OpenSSL" in str(error) or "cryptography" in str(error)  # noqa: PT017


def test_an_unknown_signature_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="ML-DSA-44, ML-DSA-65"):
        pqc.check_signature("RSA-1")


LINES: list[Any] = [
    pytest.param(["run", "hub", "-n", "h:1"], id="run hub"),
    pytest.param(["run", "agent"], id="run agent"),
    pytest.param(["root", "-n", "h:1"], id="root"),
    pytest.param(["start", "hub", "-n", "h:1"], id="start hub"),
    pytest.param(["start", "agent"], id="start agent"),
]


@pytest.fixture(params=LINES)
def line(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that takes these options, at home in an empty directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    words: list[str] = request.param
    return words


def refused(line: list[str]) -> ZtmError:
    """Why the command does not begin; of a service, before any service manager is asked."""
    command, arguments = commands().parse(line)

    def begin() -> None:
        if line[0] == "start":
            wanted(line[1], OPTIONS[line[1]], arguments, is_system=False)
        else:
            command.run(Context(), arguments)

    with pytest.raises(ZtmError) as failed:
        begin()
    return failed.value


@pytest.mark.parametrize("name", pqc.KEY_EXCHANGES)
def test_a_key_exchange_that_the_network_cannot_choose_is_named_and_nothing_starts(
    line: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "aio")
    error = refused([*line, "--pqc-key-exchange", name])
    assert (status_of(error), "\n" in str(error)) == (1, False)
    assert f"{name} is not available: Python's ssl module" in str(error)
    assert f"{VARIABLE}=native" in str(error)
    assert list(tmp_path.iterdir()) == []


def test_without_the_native_network_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("ztm.net.choice.PACKAGE", "no_such_package")
    with pytest.raises(pqc.UnavailableError, match="install ztm-native"):
        pqc.check_key_exchange("ML-KEM-768")


def configured(line: list[str], option: str, name: str) -> Any:
    """The configuration that a command's words make."""
    _, arguments = commands().parse([*line, option, name])
    return hub_config(arguments) if "hub" in line else agent_config(arguments)


@native
@pytest.mark.parametrize("who", LINES[:2])
@pytest.mark.parametrize("name", pqc.KEY_EXCHANGES)
def test_the_native_network_takes_every_key_exchange(who: list[str], name: str) -> None:
    assert configured(who, "--pqc-key-exchange", name).key_exchange == name
    assert configured(who, "--drain", "1").key_exchange == ""


@native
@pytest.mark.parametrize("name", pqc.LATTICE)
def test_the_native_network_takes_every_lattice_signature(name: str) -> None:
    assert name not in HERE or pqc.check_signature(name) == name


@native
def test_a_hub_key_exchange_that_nobody_knows_is_no_configuration() -> None:
    made = pki.Authority.create(datetime.now(UTC))
    tls = TlsConfig(ca=made.certificate, certificate=made.certificate, key=made.key, groups="ROT-13")
    with pytest.raises(CertificateError, match="ROT-13"):
        implementation()().check_tls(tls)


def test_contexts_of_one_certificate_and_several_key_exchanges_are_not_mixed_up() -> None:
    made, network = pki.Authority.create(datetime.now(UTC)), AioNetwork()
    tls = TlsConfig(ca=made.certificate, certificate=made.certificate, key=made.key)
    network.check_tls(tls)
    with pytest.raises(CertificateError, match="cannot be told the key exchange"):
        network.check_tls(replace(tls, groups="ML-KEM-768"))


@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO >= (3, 5) or not HERE, reason="it has them")
def test_the_portable_network_names_the_kind_that_its_library_lacks() -> None:
    ca, key, now = pki.Authority.create(datetime.now(UTC), HERE[0]), pki.new_key(), datetime.now(UTC)
    tls = TlsConfig(ca=ca.certificate, certificate=ca.sign_user("bob", pki.public_key(key), now), key=key)
    with pytest.raises(CertificateError, match=f"lacks {HERE[0]}: ztm-native has it"):
        context(tls, server=False)


@pytest.mark.parametrize("option", ["--pqc-key-exchange", "--pqc-signature"])
def test_unknown_algorithms_are_usage_errors_that_list_the_known_ones(line: list[str], option: str) -> None:
    error = refused([*line, option, "ROT-13"])
    assert status_of(error) == 2
    assert "ML-" in str(error)


@pytest.mark.parametrize("name", [name for name in pqc.SIGNATURES if not is_usable(name)])
def test_a_signature_that_the_runtime_lacks_is_named_and_nothing_starts(
    line: list[str], name: str, tmp_path: Path
) -> None:
    error = refused([*line, f"--pqc-signature={name}"])
    assert status_of(error) == 1
    assert f"{name} is not available" in str(error)
    assert list(tmp_path.iterdir()) == []
