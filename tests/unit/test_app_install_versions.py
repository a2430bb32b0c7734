"""Installed versions on disk: one present, one before, and whatever fails leaves what was there."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from app_publisher import MANIFEST, NOW, Publisher, content

from ztm.agent.apps import installation
from ztm.agent.apps.inspection import Inspected, inspect
from ztm.agent.apps.installation import RECORD, Installations
from ztm.agent.apps.names import AppName
from ztm.agent.files.content import Content
from ztm.errors import ConflictError, ForbiddenError, NotFoundError, StorageError
from ztm.pki import Authority

APP = AppName("alice", "hello")
TIME = "2026-11-23T12:00:00+00:00"


class Bench:
    """Installations in a directory, and packages for them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "apps"
        self.publisher = Publisher(Authority.create(NOW), "alice")
        self.found = Installations(self.folder)

    def package(self, version: str, permissions: str = "") -> tuple[Content, Inspected]:
        manifest = MANIFEST.replace(b"1.0.0", version.encode()) + f"permissions = [{permissions}]\n".encode()
        files = {"/ztm-app.toml": manifest, "/hello.py": f"app = {version!r}".encode(), "/gui/index.html": b""}
        package = content(self.path, self.publisher.package(self.path, files))
        return package, inspect(package, self.publisher.ca, NOW)

    def install(
        self,
        version: str,
        permissions: str = "",
        consent: tuple[str, ...] | None = (),
        *,
        is_development: bool = False,
    ) -> None:
        package, found = self.package(version, permissions)
        self.found.prepare(package, found)
        self.found.put(found, consent, TIME, is_development=is_development)

    def seen(self) -> tuple[str, str]:
        """The present version and the one before, as an agent that starts now reads them."""
        fresh = Installations(self.folder)
        record, installed = fresh.record(APP), fresh.find(APP)
        if record is None or installed is None:
            return "", ""
        code = (installed.folder / "hello.py").read_text()
        assert code == f"app = {installed.manifest.version!r}"
        return installed.manifest.version, record.previous.version if record.previous else ""

    def versions(self) -> int:
        return len([path for path in (self.folder / "alice" / "hello").iterdir() if path.is_dir()])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_version_before_is_kept_and_older_ones_go(bench: Bench) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        bench.install(version)
    assert (bench.seen(), bench.versions()) == (("3.0.0", "2.0.0"), 2)
    bench.install("3.0.0")
    assert bench.seen() == ("3.0.0", "2.0.0")
    bench.found.rollback(APP)
    assert bench.seen() == ("2.0.0", "3.0.0")
    bench.found.rollback(APP)
    assert bench.seen() == ("3.0.0", "2.0.0")


def test_a_version_in_development_is_marked_replaced_by_the_next_and_never_gone_back_to(bench: Bench) -> None:
    bench.install("1.0.0")
    for version in ("2.0.0", "2.0.1", "2.0.1"):
        bench.install(version, is_development=True)
        record = Installations(bench.folder).record(APP)
        assert record is not None
        assert record.present.development
        assert (bench.seen(), bench.versions()) == ((version, "1.0.0"), 2)
    bench.found.rollback(APP)
    assert (bench.seen(), bench.versions()) == (("1.0.0", ""), 1)
    bench.install("2.0.0", is_development=True)
    bench.install("3.0.0")
    assert bench.seen() == ("3.0.0", "1.0.0")
    record = bench.found.record(APP)
    assert record is not None
    assert not record.present.development


def test_what_is_installed_to_stay_stays_so_when_its_author_tries_the_same(bench: Bench) -> None:
    bench.install("1.0.0")
    bench.install("2.0.0")
    bench.install("2.0.0", is_development=True)
    record = bench.found.record(APP)
    assert record is not None
    assert (bench.seen(), record.present.development) == (("2.0.0", "1.0.0"), False)
    bench.install("3.0.0", is_development=True)
    bench.install("2.0.0", is_development=True)
    record = bench.found.record(APP)
    assert record is not None
    assert (bench.seen(), record.present.development) == (("2.0.0", ""), False)


def test_what_was_granted_for_development_is_granted_to_no_other_version(bench: Bench) -> None:
    bench.install("1.0.0", '"net"', ("net",), is_development=True)
    with pytest.raises(ForbiddenError, match="consent"):
        bench.install("1.0.1", '"net"', None)
    bench.install("1.0.0")
    bench.install("2.0.0", '"net"', ("net",), is_development=True)
    with pytest.raises(ForbiddenError, match="more than was granted: net"):
        bench.install("2.0.1", '"net"', None)


def test_going_back_goes_back_to_what_was_granted_then(bench: Bench) -> None:
    bench.install("1.0.0", '"net"', ("net",))
    bench.install("2.0.0", '"net", "exec"', ("net", "exec"))
    bench.found.rollback(APP)
    installed = Installations(bench.folder).find(APP)
    assert installed is not None
    assert installed.manifest.permissions == ("net",)


def test_consent_is_kept_privately_with_the_digest(bench: Bench) -> None:
    bench.install("1.0.0", '"net"', ("net",))
    path = bench.folder / "alice" / "hello" / RECORD
    installed = bench.found.find(APP)
    assert installed is not None
    wanted = {"digest": installed.digest, "version": "1.0.0", "permissions": ["net"], "consented": TIME}
    assert (json.loads(path.read_bytes())["present"], path.stat().st_mode & 0o777) == (wanted, 0o600)


@pytest.mark.parametrize("consent", [None, (), ("exec",)])
def test_nothing_is_present_that_asks_for_more_than_was_granted(bench: Bench, consent: tuple[str, ...] | None) -> None:
    with pytest.raises(ForbiddenError):
        bench.install("1.0.0", '"net"', consent)
    assert bench.seen() == ("", "")
    bench.install("1.0.0")
    with pytest.raises(ForbiddenError):
        bench.install("2.0.0", '"net"', consent)
    assert bench.seen() == ("1.0.0", "")


@pytest.mark.parametrize("step", ["unpack", "write_private"])
def test_a_disk_that_is_full_at_any_step_leaves_what_was_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full") if step == "write_private" else OSError(errno.ENOSPC, "full")

    bench.install("1.0.0")
    with monkeypatch.context() as patch:
        patch.setattr(installation, step, full)
        with pytest.raises(StorageError, match="full"):
            bench.install("2.0.0")
    assert bench.seen() == ("1.0.0", "")
    bench.install("2.0.0")
    assert bench.seen() == ("2.0.0", "1.0.0")


def test_what_a_crash_left_half_done_is_swept_and_nothing_else(bench: Bench) -> None:
    bench.install("1.0.0")
    for place in (bench.folder, bench.folder / "alice", bench.folder / "alice" / "hello"):
        (place / ".left").mkdir()
        (place / ".left" / "x").write_text("")
    (bench.folder / ".incoming").write_text("")
    assert bench.seen() == ("1.0.0", "")
    assert not list(bench.folder.rglob(".*"))


def test_what_was_tampered_with_is_not_what_was_consented_to(bench: Bench) -> None:
    bench.install("1.0.0", '"net"', ("net",))
    bench.install("2.0.0", '"net", "exec"', ("net", "exec"))
    path = bench.folder / "alice" / "hello" / RECORD
    record = json.loads(path.read_bytes())
    record["present"]["permissions"] = ["net"]
    path.write_text(json.dumps(record))
    assert bench.seen() == ("", "")
    path.write_text("{}")
    assert bench.seen() == ("", "")


def test_another_version_in_its_place_is_not_what_was_consented_to(bench: Bench) -> None:
    bench.install("1.0.0")
    bench.install("2.0.0")
    record = json.loads((bench.folder / "alice" / "hello" / RECORD).read_bytes())
    present, before = (bench.folder / "alice" / "hello" / record[one]["digest"][:32] for one in ("present", "previous"))
    shutil.rmtree(present)
    before.rename(present)
    assert bench.seen() == ("", "")


def test_a_manifest_that_was_changed_is_not_what_was_consented_to(bench: Bench) -> None:
    bench.install("1.0.0")
    (manifest,) = bench.folder.rglob("ztm-app.toml")
    manifest.write_bytes(manifest.read_bytes().replace(b"hello:app", b"evil:app"))
    assert bench.seen() == ("", "")


def test_a_record_that_is_damaged_leaves_a_name_to_remove(bench: Bench) -> None:
    bench.install("1.0.0")
    (bench.folder / "alice" / "hello" / RECORD).write_text("{}")
    assert Installations(bench.folder).names() == [APP]


def test_a_damaged_app_is_installed_anew(bench: Bench) -> None:
    bench.install("1.0.0")
    (bench.folder / "alice" / "hello" / RECORD).write_text("junk")
    bench.found = Installations(bench.folder)
    bench.install("2.0.0")
    assert bench.seen() == ("2.0.0", "")


def test_nothing_is_rolled_back_or_removed_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.found.rollback(APP)
    with pytest.raises(NotFoundError):
        bench.found.remove(APP)
    bench.install("1.0.0")
    with pytest.raises(ConflictError):
        bench.found.rollback(APP)
    bench.found.remove(APP)
    assert bench.seen() == ("", "")
    assert bench.found.find(APP) is None
    assert list((bench.folder / "alice").iterdir()) == []
