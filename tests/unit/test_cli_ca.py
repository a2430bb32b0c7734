"""`ztm ca import|export`: a CA goes in and out of a hub's data directory, whole and privately."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ztm.cli.main import main
from ztm.pki import Authority, new_key, public_key
from ztm.store.hub import HubStore
from ztm.store.lock import sole_use


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory and working directory of its own; nobody sits at a terminal."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


def authority() -> Authority:
    return Authority.create(datetime.now(UTC))


def stored(data: str = ".ztm") -> Authority | None:
    store = HubStore(Path(data))
    try:
        return store.authority()
    finally:
        store.close()


def imports(ca: Authority, *words: str, key: str = "") -> int:
    cert, private = written("in.crt", ca.certificate), written("in.key", key or ca.key)
    return main(["ca", "import", "--cert", cert, "--key", private, *words])


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("ztm: ")
    assert shown.err.count("\n") == 1
    assert "KEY-----" not in shown.err
    return shown.err


def test_a_ca_that_was_exported_can_be_imported_elsewhere() -> None:
    ca = authority()
    assert imports(ca, "-d", "one") == 0
    assert main(["ca", "export", "-d", "one", "--cert", "out.crt", "--key", "out.key"]) == 0
    assert main(["ca", "import", "-d", "two", "--cert", "out.crt", "--key", "out.key"]) == 0
    assert stored("two") == ca


def test_keys_and_data_are_their_owners_alone() -> None:
    assert imports(authority()) == 0
    assert main(["ca", "export", "--cert", "out.crt", "--key", "out.key"]) == 0
    assert Path("out.key").stat().st_mode & 0o777 == 0o600
    assert Path(".ztm").stat().st_mode & 0o777 == 0o700
    assert Path(".ztm/ztm-hub.db").stat().st_mode & 0o777 == 0o600


def test_a_key_of_another_certificate_is_refused_and_nothing_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    assert imports(authority(), key=new_key()) == 1
    assert "does not belong to its certificate" in complaint(capsys)
    assert not Path(".ztm").exists()


def test_a_certificate_that_is_no_ca_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    key = new_key()
    leaf = authority().sign_user("bob", public_key(key), datetime.now(UTC))
    cert, private = written("leaf.crt", leaf), written("leaf.key", key)
    assert main(["ca", "import", "--cert", cert, "--key", private]) == 1
    assert "leaf.crt" in complaint(capsys)
    assert not Path(".ztm").exists()


@pytest.mark.parametrize("garbled", ["in.crt", "in.key"])
def test_garbage_is_refused_by_the_name_of_its_file(garbled: str, capsys: pytest.CaptureFixture[str]) -> None:
    ca = authority()
    written("in.crt", ca.certificate)
    written("in.key", ca.key)
    written(garbled, "garbage")
    assert main(["ca", "import", "--cert", "in.crt", "--key", "in.key"]) == 1
    assert "cannot import in.crt and in.key" in complaint(capsys)


def test_a_file_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ca", "import", "--cert", "nope.crt", "--key", "nope.key"]) == 1
    assert "nope.crt" in complaint(capsys)


@pytest.mark.parametrize("verb", ["import", "export"])
@pytest.mark.parametrize("given", [[], ["--cert", "a"], ["--key", "a"]])
def test_both_files_must_be_named(verb: str, given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ca", verb, *given]) == 2
    assert "missing option --" in complaint(capsys)


def test_another_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ca", "destroy", "--cert", "a", "--key", "b"]) == 2
    assert "'destroy'" in complaint(capsys)


def test_an_export_without_a_ca_creates_nothing(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert main(["ca", "export", "-d", "none", "--cert", "a.crt", "--key", "a.key"]) == 1
    assert "CA certificate not found" in complaint(capsys)
    assert list(here.iterdir()) == []


def test_a_mesh_is_not_lost_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = authority(), authority()
    assert imports(first) == 0
    assert imports(first) == 0, "the same again changes nothing"
    assert imports(second) == 1
    assert "has another CA" in complaint(capsys)
    assert stored() == first
    assert imports(second, "--yes") == 0
    assert stored() == second


def test_a_file_is_not_overwritten_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    assert imports(authority()) == 0
    export = ["ca", "export", "--cert", "out.crt", "--key", written("out.key", "precious")]
    assert main(export) == 1
    assert "out.key exists" in complaint(capsys)
    assert Path("out.key").read_text() == "precious"
    assert not Path("out.crt").exists()
    assert main([*export, "--yes"]) == 0
    assert Path("out.key").stat().st_mode & 0o777 == 0o600


def test_on_a_terminal_it_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = authority(), authority()
    assert imports(first) == 0
    for answer, expected in (("n\n", first), ("y\n", second)):
        monkeypatch.setattr(sys, "stdin", _Terminal(answer))
        imports(second)
        assert "Replace it? [y/N]" in capsys.readouterr().err
        assert stored() == expected


class _Terminal:
    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer


def test_one_file_for_both_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert imports(authority()) == 0
    assert main(["ca", "export", "--cert", "x", "--key", "./x"]) == 2
    assert "one file" in complaint(capsys)


def test_a_running_hubs_ca_is_not_replaced(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    with sole_use(here / ".ztm", "hub"):
        assert imports(authority()) == 1
    assert "another hub is using the data directory" in complaint(capsys)
