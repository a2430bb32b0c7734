"""Post-quantum algorithms: what is asked for is used or refused by name, never silently left out."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ztm import pki
from ztm.cli.commands import commands
from ztm.cli.context import Context
from ztm.cli.failures import status_of
from ztm.cli.service import OPTIONS
from ztm.cli.services.wanted import wanted
from ztm.errors import CertificateError, UsageError, ZtmError
from ztm.hub.root import issue
from ztm.model import Address
from ztm.net import pqc
from ztm.store.agent import AgentStore

HERE = pki.quantum_kinds()


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
    assert pki.kind_of(key) == pki.kind_of(ca.key) == kind
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
def test_a_key_exchange_that_the_runtime_cannot_choose_is_named_and_nothing_starts(
    line: list[str], name: str, tmp_path: Path
) -> None:
    error = refused([*line, "--pqc-key-exchange", name])
    assert (status_of(error), "\n" in str(error)) == (1, False)
    assert f"{name} is not available" in str(error)
    assert list(tmp_path.iterdir()) == []


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
