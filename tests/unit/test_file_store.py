"""Mesh files on disk: what has a name is whole, whatever happens while it comes."""

import asyncio
import errno
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ztm.agent.files import incoming
from ztm.agent.files import store as filestore
from ztm.agent.files.incoming import Incoming
from ztm.agent.files.store import FileStore
from ztm.agent.files.sync import FileSync
from ztm.core.files import deleted_hash, file_hash
from ztm.errors import LimitError, StorageError, TooLargeError
from ztm.model import FileInfo

PATH = "/shared/root/doc.txt"
BIG = bytes(range(256)) * 8192


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "fs"


@pytest.fixture
def files(folder: Path) -> FileSync:
    return FileSync(folder, lambda: 1000)


def names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()}


async def put(files: FileSync, *pieces: bytes, path: str = PATH) -> FileInfo:
    with files.incoming(path, 100 << 20) as coming:
        for piece in pieces:
            await coming.write(piece)
        return await files.put(path, coming)


# ---------------------------------------------------------------------- coming in


@pytest.mark.parametrize("pieces", [(), (b"",), (b"hello", b" ", b"world"), (BIG, b"x", BIG)])
async def test_what_comes_in_pieces_is_kept_whole_under_its_hash(
    folder: Path, files: FileSync, pieces: tuple[bytes, ...]
) -> None:
    content = b"".join(pieces)
    file = await put(files, *pieces)
    assert file == FileInfo(file_hash(content, PATH), len(content), 1000)
    assert (folder / file.hash).read_bytes() == content
    assert json.loads((folder / f"{file.hash}.meta").read_text()) == {"pathname": PATH, "timestamp": 1000}
    assert names(folder) == {file.hash, f"{file.hash}.meta"}
    assert modes(folder) == {0o600}
    held = files.open(file.hash)
    assert held is not None
    assert (held.info, held.content.read()) == (file, content)


async def test_what_was_given_up_leaves_nothing(folder: Path, files: FileSync) -> None:
    with files.incoming(PATH, 100 << 20) as coming:
        await coming.write(BIG)
        assert len(names(folder)) == 1
    assert names(folder) == set()
    assert files.newest(PATH) is None


async def test_what_is_given_up_while_the_disk_is_written_leaves_nothing_once_the_disk_is_done(
    folder: Path, files: FileSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_writing, may_go_on, cleaned = threading.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    settle, clean = Incoming._settle, Incoming._clean

    def slow(self: Incoming) -> None:
        settle(self)
        is_writing.set()
        may_go_on.wait(10)

    def told(self: Incoming) -> None:
        clean(self)
        if not self._temporary.exists():
            loop.call_soon_threadsafe(cleaned.set)

    monkeypatch.setattr(Incoming, "_settle", slow)
    monkeypatch.setattr(Incoming, "_clean", told)
    task = asyncio.ensure_future(put(files, b"x"))
    await loop.run_in_executor(None, is_writing.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_go_on.set()
    async with asyncio.timeout(10):
        await cleaned.wait()
    assert names(folder) == set()
    assert files.newest(PATH) is None


async def test_more_than_allowed_is_refused(folder: Path, files: FileSync) -> None:
    with files.incoming(PATH, 5) as coming:
        await coming.write(b"hello")
        with pytest.raises(TooLargeError, match=f"{PATH} is larger than 5 bytes"):
            await coming.write(b"!")
    assert names(folder) == set()


async def test_only_so_many_contents_come_in_at_once(files: FileSync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filestore, "MAX_INCOMING", 2)
    with files.incoming(PATH, 5), files.incoming(PATH, 5), pytest.raises(LimitError):
        files.incoming(PATH, 5)
    await put(files, b"x")


async def test_memory_holds_a_piece_and_not_the_content(files: FileSync) -> None:
    with files.incoming(PATH, 100 << 20) as coming:
        for _ in range(64):
            await coming.write(b"x" * (100 << 10))
            assert len(coming._buffer) < incoming.PIECE


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
async def test_a_full_disk_is_told_and_leaves_the_older_version(
    folder: Path, files: FileSync, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    older = await put(files, b"older")

    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(Incoming, "_flush", full)
        elif failing == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(Path, "replace", full)
        with pytest.raises(StorageError, match=r"doc\.txt: the disk is full"):
            await put(files, BIG)
    assert names(folder) == {older.hash, f"{older.hash}.meta"}
    assert files.newest(PATH) == older
    await put(files, BIG)


async def test_a_content_can_be_read_to_its_end_while_it_is_replaced(files: FileSync) -> None:
    file = await put(files, BIG)
    held = files.open(file.hash)
    assert held is not None
    pieces = held.content.pieces(0, held.content.size)
    first = await anext(aiter(pieces))
    await put(files, b"newer")
    assert first + b"".join([piece async for piece in pieces]) == BIG


async def test_a_content_that_has_shrunk_under_its_reader_is_an_error_and_not_an_end(
    folder: Path, files: FileSync
) -> None:
    file = await put(files, BIG)
    held = files.open(file.hash)
    assert held is not None
    os.truncate(folder / file.hash, 10)
    with pytest.raises(StorageError, match="shorter"):
        [piece async for piece in held.content.pieces(0, held.content.size)]


async def test_a_link_in_the_place_of_a_content_is_not_followed(tmp_path: Path, folder: Path, files: FileSync) -> None:
    file = await put(files, b"x")
    (tmp_path / "secret").write_text("key")
    (folder / file.hash).unlink()
    (folder / file.hash).symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError):
        files.open(file.hash)


# ---------------------------------------------------------------------- after a crash


async def test_what_a_crash_left_half_way_is_removed_at_the_next_start(folder: Path, files: FileSync) -> None:
    kept = await put(files, b"kept")
    (folder / ".0123456789abcdef.incoming").write_bytes(b"half")
    orphan = file_hash(b"orphan", PATH)
    (folder / orphan).write_bytes(b"orphan")  # its metadata did not come to be written
    older = file_hash(b"older", PATH)
    (folder / older).write_bytes(b"older")  # it did not come to be removed
    (folder / f"{older}.meta").write_text(json.dumps({"pathname": PATH, "timestamp": 5}))
    again = FileSync(folder, lambda: 2000)
    assert again.known() == {PATH: kept}
    assert names(folder) == {kept.hash, f"{kept.hash}.meta"}


async def test_at_the_next_start_a_tombstone_wins_over_the_content_that_it_deleted(
    folder: Path, files: FileSync
) -> None:
    file = await put(files, b"x")
    tombstone = deleted_hash(PATH)
    (folder / f"{tombstone}.meta").write_text(json.dumps({"pathname": PATH, "timestamp": 2000, "deleted": True}))
    again = FileSync(folder, lambda: 3000)
    assert again.known() == {}
    assert again.open(file.hash) is None
    assert names(folder) == {f"{tombstone}.meta"}


def test_files_of_others_in_the_directory_are_left_alone(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for name in ("README", "short.meta", "x" * 64):
        (folder / name).write_text("{}")
    assert FileStore(folder).load() == {}
    assert names(folder) == {"README", "short.meta", "x" * 64}


# ---------------------------------------------------------------------- what is given to whom


async def test_a_copy_that_the_mesh_has_a_newer_version_of_is_not_given_to_others(files: FileSync) -> None:
    file = await put(files, b"x")
    assert files.open_for("root", file.hash) is not None
    files.learn(PATH, FileInfo("another", 3, 2000, since_ms=1))
    assert files.open_for("root", file.hash) is None
    assert files.open(file.hash) is not None


@pytest.mark.parametrize(
    ("path", "user", "may"),
    [
        ("/users/root/x", "root", True),
        ("/users/root/x", "alice", False),
        ("/users/root/x", "", True),
        ("/shared/root/x", "alice", True),
        ("/apps/a/b/users/root/x", "alice", False),
    ],
)
async def test_a_content_is_given_to_users_who_may_read_its_path(
    files: FileSync, path: str, user: str, *, may: bool
) -> None:
    file = await put(files, b"x", path=path)
    assert (files.open_for(user, file.hash) is not None) is may
    assert files.open_for(user, "0" * 64) is None


async def test_dropping_a_copy_forgets_it_and_a_tombstone_cannot_be_dropped(folder: Path, files: FileSync) -> None:
    file = await put(files, b"x")
    assert files.drop(PATH)
    assert not files.drop(PATH)
    assert (files.open(file.hash), names(folder)) == (None, set())
    await put(files, b"x")
    assert files.erase(PATH)
    assert not files.drop(PATH)
    assert len(names(folder)) == 1


async def test_an_adopted_version_keeps_the_time_of_the_mesh_and_an_older_one_is_not_kept(
    folder: Path, files: FileSync
) -> None:
    for time_ms, content in ((500, b"x"), (400, b"older")):
        with files.incoming(PATH, 10) as coming:
            await coming.write(content)
            digest = await coming.finish()
            files.adopt(PATH, coming, FileInfo(digest, len(content), time_ms, since_ms=7))
    assert files.newest(PATH) == FileInfo(file_hash(b"x", PATH), 1, 500)
    assert len(names(folder)) == 2
