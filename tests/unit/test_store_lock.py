"""A data directory has one user at a time."""

import stat
from pathlib import Path

import pytest

from ztm.errors import ConflictError, UsageError
from ztm.store.lock import sole_use


def test_a_second_user_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    with sole_use(tmp_path / "data", "agent"):
        with pytest.raises(ConflictError, match="another agent is using the data directory"):
            sole_use(tmp_path / "data", "agent").__enter__()
        with sole_use(tmp_path / "data", "hub"):
            pass  # a hub and an agent may share one, as by default
    with sole_use(tmp_path / "data", "agent"):
        pass


def test_directory_and_lock_are_private(tmp_path: Path) -> None:
    with sole_use(tmp_path / "data", "hub"):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "hub.lock").stat().st_mode) == 0o600


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UsageError):
        sole_use(tmp_path / "data", "hub").__enter__()
