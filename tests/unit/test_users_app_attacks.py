"""Groups that are too large, and disks that fail: they cost little, and harm no other group."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from app_mesh import MeshFiles, SmallMesh
from test_users_app import DEV, OPS, Mesh, here, settled, user

from ztm.apps.users.api import UsersApp
from ztm.apps.users.forms import group_file, read_group
from ztm.apps.users.model import KEPT_CHANGES, MAX_MEMBERS, Group, difference
from ztm.apps.users.service import MAX_GROUP_BYTES, Groups, group_path
from ztm.errors import LimitError, StorageError


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = SmallMesh(UsersApp)
    yield made
    await made.close()


def members(count: int, size: int = 8) -> tuple[str, ...]:
    """So many users, sorted, with names of that many characters."""
    return tuple(f"u{number:0{size - 1}}" for number in range(count))


def test_the_largest_group_is_compared_at_once() -> None:
    before, after = Group(DEV, "dev", members(MAX_MEMBERS)), Group(DEV, "dev", (*members(MAX_MEMBERS)[1:], "z"))
    begin = time.process_time()
    assert difference(before, after) == "added z; removed u0000000"
    assert time.process_time() - begin < 0.3


def test_the_largest_group_with_its_whole_history_fits_into_its_file() -> None:
    few, many = members(1, 120), members(MAX_MEMBERS, 120)
    group = Group(DEV, "dev", few).created(0, "root", "home")
    for number in range(KEPT_CHANGES + 1):
        group = group.changed(Group(DEV, "dev", few if number % 2 else many), 0, "root", "home")
    assert len(group.users) == MAX_MEMBERS
    data = group_file(group)
    assert len(data) <= MAX_GROUP_BYTES
    assert read_group(DEV, data) == group
    assert "9979 more" in group.changes[-1].what


async def test_a_file_of_too_many_members_is_left_out_and_harms_no_other(mesh: Mesh) -> None:
    root = await mesh.join("a", "root")
    names = [f"u{number}" for number in range(100_000)]
    mesh.publish(group_path(OPS), json.dumps({"name": "ops", "users": names}).encode())
    mesh.publish(group_path(DEV), json.dumps({"name": "dev", "users": ["root"]}).encode())
    await settled(mesh)
    assert [one["name"] for one in (await here(root, "GET", "/api/groups"))[1]] == ["dev"]
    begin = time.process_time()
    with pytest.raises(LimitError):
        Group.parse(OPS, "ops", names)
    assert time.process_time() - begin < 0.1


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 100, b"[" * 100_000, b'{"name":"ops","users":[' + b"[" * 50_000, b"null",
     b'{"name":"../x"}', b'{"name":"ops","users":["a/b"]}', b'{"name":"ops","users":["\\ud800"]}',
     b'{"name":"ops","history":[{"time":1e400,"user":"x"}]}', b'{"name":"\\u001b[2J"}'],
    ids=lambda data: repr(data[:30]),
)  # fmt: skip
async def test_garbage_in_roots_directory_is_left_out(mesh: Mesh, data: bytes) -> None:
    root = await mesh.join("a", "root")
    mesh.publish(group_path(OPS), data)
    mesh.publish("/shared/root/groups/..json", b'{"name":"dot"}')
    mesh.publish(group_path(DEV), b'{"name":"dev"}')
    await settled(mesh)
    assert "dev" in [one["name"] for one in (await here(root, "GET", "/api/groups"))[1]]
    assert "ops" not in [one["name"] for one in (await here(root, "GET", "/api/groups"))[1]]


async def test_a_disk_that_fails_once_is_asked_again_and_hides_no_other_group(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = MeshFiles.read
    failing = [1, 2]  # for the app itself, and for the groups below

    async def read(files: MeshFiles, path: str) -> bytes | None:
        if path == group_path(OPS) and failing:
            failing.pop()
            raise StorageError("the disk is full")
        return await reads(files, path)

    monkeypatch.setattr(MeshFiles, "read", read)
    mesh.publish(group_path(OPS), b'{"name":"ops"}')
    mesh.publish("/shared/root/groups/ffffffff.json", b'{"name":"dev"}')
    await mesh.join("a", "root")
    context = mesh.context("a")
    groups = Groups(context, retry=0.01)
    groups.start()
    try:
        async with asyncio.timeout(4):
            while len(await groups.all()) < 2:
                await asyncio.sleep(0.005)
    finally:
        groups.stop()
    assert (await user(mesh.apps[context.place.id], "GET", "/api/groups"))[0] == 200
