"""The mesh files that an agent holds: on disk as v1 keeps them, and newer than what they replace."""

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ztm.agent.files import sync as filesync
from ztm.agent.files.sync import FileSync
from ztm.agent.hublink import HubLink
from ztm.core.files import deleted_hash, file_hash
from ztm.errors import StorageError, UnreachableError
from ztm.model import FileInfo

PATH = "/apps/ztm/tunnel/shared/root/tcp/web/x/outbound.json"
HELLO = "/users/root/x y.txt"
PATIENCE = 5.0


class Clock:
    ms = 1000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(tmp_path: Path, clock: Clock) -> FileSync:
    return FileSync(tmp_path / "fs", clock)


def meta(folder: Path, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "fs" / f"{digest}.meta").read_text())
    return found


# ---------------------------------------------------------------------- on disk


def test_a_file_is_kept_in_v1s_layout(tmp_path: Path, files: FileSync) -> None:
    files.write(HELLO, b"hello world")
    digest = "88c82b81fe21206e2687a4f7a9ae451e9b347a8fbbe0fa99f69df6d5f2840938"
    assert (tmp_path / "fs" / digest).read_bytes() == b"hello world"
    assert meta(tmp_path, digest) == {"pathname": HELLO, "timestamp": 1000}
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in (tmp_path / "fs").iterdir())
    assert files.read(digest) == b"hello world"


def test_a_new_content_replaces_the_old(tmp_path: Path, files: FileSync) -> None:
    files.write(PATH, b"old")
    files.write(PATH, b"new")
    assert files.read(file_hash(b"old", PATH)) is None
    assert files.read(file_hash(b"new", PATH)) == b"new"
    assert len(list((tmp_path / "fs").iterdir())) == 2


def test_an_erased_file_leaves_v1s_tombstone(tmp_path: Path, files: FileSync) -> None:
    files.write(PATH, b"x")
    files.erase(PATH)
    digest = deleted_hash(PATH)
    assert [one.name for one in (tmp_path / "fs").iterdir()] == [f"{digest}.meta"]
    assert meta(tmp_path, digest) == {"pathname": PATH, "timestamp": 1001, "deleted": True}
    assert files.read(digest) is None
    assert PATH not in files.known()


def test_erasing_what_nobody_knows_does_nothing(tmp_path: Path, files: FileSync) -> None:
    files.erase(PATH)
    assert list((tmp_path / "fs").iterdir()) == []


def test_all_is_there_again_after_a_restart(tmp_path: Path, files: FileSync, clock: Clock) -> None:
    files.write(HELLO, b"hello world")
    files.write(PATH, b"x")
    files.erase(PATH)
    again = FileSync(tmp_path / "fs", clock)
    assert again.known() == files.known()
    again.write(PATH, b"x")
    assert again.known()[PATH].time_ms == 1002


def test_what_a_crash_left_behind_loses_to_what_is_newer(tmp_path: Path, files: FileSync, clock: Clock) -> None:
    folder = tmp_path / "fs"
    for content, time_ms in ((b"new", 7), (b"old", 5)):
        digest = file_hash(content, PATH)
        (folder / digest).write_bytes(content)
        (folder / f"{digest}.meta").write_text(json.dumps({"pathname": PATH, "timestamp": time_ms}))
    assert FileSync(folder, clock).known()[PATH].time_ms == 7


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"pathname": "/x", "timestamp": "soon"}', "\x00\xff", "null"])
def test_damaged_metadata_is_left_out(tmp_path: Path, files: FileSync, clock: Clock, text: str) -> None:
    files.write(HELLO, b"hello world")
    (tmp_path / "fs" / "bad.meta").write_text(text)
    assert list(FileSync(tmp_path / "fs", clock).known()) == [HELLO]


def test_metadata_without_its_content_is_left_out(tmp_path: Path, files: FileSync, clock: Clock) -> None:
    files.write(HELLO, b"x")
    (tmp_path / "fs" / file_hash(b"x", HELLO)).unlink()
    assert FileSync(tmp_path / "fs", clock).known() == {}
    with pytest.raises(StorageError, match="cannot be read"):
        files.read(file_hash(b"x", HELLO))


def test_a_hash_is_no_way_to_other_files(tmp_path: Path, files: FileSync) -> None:
    (tmp_path / "secret").write_text("key")
    assert files.read("../secret") is None
    assert files.read("") is None


# ---------------------------------------------------------------------- in the mesh


class Hub:
    """What a link's hub answers: posts are kept, polls are answered from `told` in turn and then wait."""

    def __init__(self, *told: dict[str, FileInfo] | str) -> None:
        self.told = list(told)
        self.queries: list[str] = []
        self.posted: list[dict[str, Any]] = []
        self.fails = 0
        self.changed = asyncio.Event()

    async def ask(self, method: str, target: str, body: bytes = b"", **_bounds: float | None) -> bytes:
        if method == "POST":
            if self.fails:
                self.fails -= 1
                raise UnreachableError("not now")
            self.posted.append(json.loads(body))
            self._note()
            return b""
        self.queries.append(target)
        self._note()
        if not self.told:
            await asyncio.Event().wait()
        told = self.told.pop(0)
        return told.encode() if isinstance(told, str) else filesync.codec.encode_files(told, since=True)

    def _note(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not happened():
                await self.changed.wait()


async def attached(files: FileSync, hub: Hub, happened: Callable[[], bool]) -> None:
    """Let `files` talk to `hub` until something has happened."""
    running = asyncio.ensure_future(files.run(cast("HubLink", hub)))
    try:
        await hub.until(happened)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def told(files: FileSync, *what: dict[str, FileInfo]) -> Hub:
    hub = Hub(*what)
    await attached(files, hub, lambda: len(hub.queries) > len(what))
    return hub


async def test_what_the_hub_tells_is_known_and_asked_on_from_its_own_clock(files: FileSync) -> None:
    first = {PATH: FileInfo("h1", 3, 10, since_ms=500), HELLO: FileInfo("h2", -1, 10, since_ms=700)}
    hub = await told(files, first, {PATH: FileInfo("h3", 3, 20, since_ms=900)})
    assert files.known() == {PATH: FileInfo("h3", 3, 20, since_ms=900)}
    assert [target.partition("?")[2] for target in hub.queries] == ["since=0", "since=700&wait=1", "since=900&wait=1"]


async def test_what_another_hub_no_longer_has_is_forgotten(files: FileSync) -> None:
    await told(files, {PATH: FileInfo("h1", 3, 10, since_ms=500)})
    await told(files, {})
    assert files.known() == {}


async def test_a_write_wins_over_what_the_mesh_has_even_if_the_clock_is_behind(files: FileSync) -> None:
    await told(files, {PATH: FileInfo("h1", 3, 9000, since_ms=1)})
    files.write(PATH, b"mine")
    assert files.known()[PATH] == FileInfo(file_hash(b"mine", PATH), 4, 9001)
    files.erase(PATH)
    assert PATH not in files.known()
    files.write(PATH, b"mine")
    assert files.known()[PATH].time_ms == 9003


async def test_an_unchanged_write_keeps_its_time(files: FileSync, clock: Clock) -> None:
    files.write(PATH, b"x")
    clock.ms = 2000
    files.write(PATH, b"x")
    assert files.known()[PATH].time_ms == 1000


async def test_what_was_deleted_elsewhere_is_there_again_when_it_is_written_again(files: FileSync) -> None:
    files.write(PATH, b"x")
    await told(files, {PATH: FileInfo(deleted_hash(PATH), -1, 5000, since_ms=1)})
    assert PATH not in files.known()
    files.write(PATH, b"x")
    assert files.known()[PATH].time_ms == 5001


async def test_what_came_back_elsewhere_can_be_erased_again(files: FileSync) -> None:
    files.write(PATH, b"x")
    files.erase(PATH)
    await told(files, {PATH: FileInfo("h1", 3, 5000, since_ms=1)})
    files.erase(PATH)
    assert PATH not in files.known()


async def test_the_whole_map_is_advertised_tombstones_included(files: FileSync) -> None:
    files.write(HELLO, b"hello world")
    files.write(PATH, b"x")
    files.erase(PATH)
    hub = Hub()
    await attached(files, hub, lambda: bool(hub.posted))
    digest = "88c82b81fe21206e2687a4f7a9ae451e9b347a8fbbe0fa99f69df6d5f2840938"
    assert hub.posted[0] == {
        HELLO: {"#": digest, "$": 11, "T": 1000},
        PATH: {"#": deleted_hash(PATH), "$": -1, "T": 1001},
    }


async def test_an_advertisement_that_fails_is_sent_again(files: FileSync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesync, "RETRY", 0.0)
    files.write(PATH, b"x")
    hub = Hub()
    hub.fails = 2
    await attached(files, hub, lambda: bool(hub.posted))
    assert hub.fails == 0


async def test_a_malformed_map_is_asked_for_again(files: FileSync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesync, "RETRY", 0.0)
    hub = Hub("{", "[1]", '{"/x": 7}', {PATH: FileInfo("h1", 3, 10, since_ms=500)})
    await attached(files, hub, lambda: len(hub.queries) == 5)
    assert list(files.known()) == [PATH]


async def test_listeners_hear_of_every_change_until_they_leave(files: FileSync) -> None:
    heard: list[int] = []
    leave = files.on_change(lambda: heard.append(len(files.known())))
    files.write(PATH, b"x")
    await told(files, {HELLO: FileInfo("h1", 3, 10, since_ms=500)})
    files.erase(PATH)
    leave()
    leave()
    files.write(PATH, b"y")
    assert heard == [1, 2, 1]


async def test_a_list_of_very_many_files_is_taken(files: FileSync) -> None:
    limits: list[float | None] = []

    class Large(Hub):
        async def ask(self, method: str, target: str, body: bytes = b"", **bounds: float | None) -> bytes:
            limits.append(bounds.get("limit"))
            return await super().ask(method, target, body)

    hub = Large({PATH: FileInfo("h1", 3, 10, since_ms=500)})
    await attached(files, hub, lambda: len(hub.queries) > 1)
    assert set(limits) == {64 << 20}
