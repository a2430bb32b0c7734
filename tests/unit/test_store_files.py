"""Promises of `ztm.store.files`: private, whole or not at all, with the reason."""

import errno
import os
import stat
from pathlib import Path

import pytest

from ztm.errors import StorageError, UsageError
from ztm.store import secure_directory, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_missing_directory_is_made_with_its_parents_and_is_private(tmp_path: Path) -> None:
    secure_directory(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_an_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    secure_directory(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("x")
    with pytest.raises(UsageError, match=f"directory path already exists as a regular file: {path}"):
        secure_directory(path)
    with pytest.raises(UsageError, match="a part of the path is a regular file"):
        secure_directory(path / "below")
    assert path.read_text() == "x"


def test_a_directory_shared_with_the_system_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    for shared in (tmp_path, Path("/")):
        before = mode(shared)
        with pytest.raises(UsageError, match="shared with the whole system"):
            secure_directory(shared)
        assert mode(shared) == before


def test_a_private_file_is_0600_whatever_the_umask_and_its_older_self(tmp_path: Path) -> None:
    path = tmp_path / "permit.json"
    path.write_text("old")
    path.chmod(0o666)
    umask = os.umask(0)
    try:
        write_private(path, "new é")
    finally:
        os.umask(umask)
    assert mode(path) == 0o600
    assert path.read_text(encoding="utf-8") == "new é"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_older_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "permit.json"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=f"cannot write {path}: the disk is full"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_private(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_directories_devices_and_missing_places_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(UsageError, match="not a regular file"):
            write_private(path, "x")
    with pytest.raises(StorageError, match="no such directory"):
        write_private(tmp_path / "none" / "permit.json", "x")


def test_parents_that_were_missing_are_private_too(tmp_path: Path) -> None:
    secure_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
