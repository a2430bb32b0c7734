"""The users app: groups that only root changes, seen at once here and soon everywhere (spec apps-network 5)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from app_mesh import SmallMesh, ask

from ztm.apps.users.api import UsersApp
from ztm.apps.users.model import KEPT_CHANGES, MAX_MEMBERS, Group, merged
from ztm.apps.users.service import group_path
from ztm.errors import LimitError, UnreachableError
from ztm.model import Peer

DEV, OPS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
Mesh = SmallMesh[UsersApp]


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = SmallMesh(UsersApp)
    yield made
    await made.close()


async def user(app: UsersApp, method: str, path: str, body: object = None) -> tuple[int, Any]:
    status, _, answer = await ask(app.user_api, method, path, b"" if body is None else json.dumps(body).encode())
    return status, json.loads(answer) if answer else None


async def here(app: UsersApp, method: str, path: str) -> tuple[int, Any]:
    status, _, answer = await ask(app.self_api, method, path)
    return status, json.loads(answer) if answer else None


async def settled(mesh: Mesh) -> None:
    """Return once nothing is left to be read."""
    for context in mesh.contexts.values():
        while context.tasks:
            await asyncio.gather(*context.tasks)


async def test_root_sees_a_new_group_at_once_and_others_soon(mesh: Mesh) -> None:
    root, bob = await mesh.join("a", "root"), await mesh.join("b", "bob")
    status, shown = await user(root, "POST", f"/api/groups/{DEV}", {"name": "dev", "users": ["bob", "root", "bob"]})
    assert (status, shown["users"]) == (201, ["bob", "root"])
    wanted = [{"name": "dev", "users": ["bob", "root"], "id": DEV}]
    assert await here(root, "GET", "/api/groups") == (200, wanted)
    await settled(mesh)
    assert await here(bob, "GET", "/api/groups") == (200, wanted)
    assert (await here(bob, "GET", f"/api/groups/{DEV}"))[1]["users"] == ["bob", "root"]
    assert await here(bob, "GET", "/api/users/bob") == (200, {"name": "bob", "groups": [{"id": DEV, "name": "dev"}]})


async def test_a_group_that_was_just_made_can_be_deleted_at_once(mesh: Mesh) -> None:
    root = await mesh.join("a", "root")
    await user(root, "POST", f"/api/groups/{DEV}", {"name": "dev", "users": []})
    assert (await user(root, "DELETE", f"/api/groups/{DEV}"))[0] == 200
    assert await user(root, "GET", "/api/groups") == (200, [])
    assert (await user(root, "DELETE", f"/api/groups/{DEV}"))[0] == 404


async def test_nobody_but_root_changes_a_group_and_is_told_so(mesh: Mesh) -> None:
    root, bob = await mesh.join("a", "root"), await mesh.join("b", "bob")
    await user(root, "POST", f"/api/groups/{DEV}", {"name": "dev", "users": ["root"]})
    await settled(mesh)
    status, refused = await user(bob, "POST", f"/api/groups/{DEV}", {"name": "dev", "users": ["bob"]})
    assert (status, "only root" in refused["message"]) == (403, True)
    assert (await user(bob, "DELETE", f"/api/groups/{DEV}"))[0] == 403
    assert (await here(bob, "GET", "/api/groups"))[1][0]["users"] == ["root"]
    trail = mesh.context("b").trail.trails[0]
    assert (trail.action, trail.is_allowed, trail.peer.user) == ("configure", False, "bob")


async def test_a_group_stored_by_another_user_is_not_believed_even_on_the_own_endpoint(mesh: Mesh) -> None:
    bob = await mesh.join("b", "bob")
    mesh.publish("/shared/bob/groups/" + DEV + ".json", b'{"name":"dev","users":["bob"]}')
    await settled(mesh)
    assert await here(bob, "GET", "/api/groups") == (200, [])


async def test_a_user_who_is_not_in_the_mesh_is_refused_unless_forced_and_shown_as_unknown(mesh: Mesh) -> None:
    root = await mesh.join("a", "root")
    body = {"name": "dev", "users": ["carol", "root"]}
    status, refused = await user(root, "POST", f"/api/groups/{DEV}", body)
    assert (status, "'carol'" in refused["message"], "--force" in refused["message"]) == (409, True, True)
    assert mesh.shared == {}
    assert (await user(root, "POST", f"/api/groups/{DEV}?force", body))[0] == 201
    assert (await user(root, "GET", "/api/groups"))[1][0]["unknown"] == ["carol"]
    kept = {"name": "dev", "users": ["carol"]}  # who is in it already is not asked about again
    assert (await user(root, "POST", f"/api/groups/{DEV}", kept))[0] == 201


async def test_without_a_hub_groups_are_still_told_and_unchecked_users_are_not_taken(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await mesh.join("a", "root")
    await user(root, "POST", f"/api/groups/{DEV}", {"name": "dev", "users": ["root"]})

    async def users() -> None:
        raise UnreachableError("no hub is connected")

    monkeypatch.setattr(mesh.context("a"), "users", users)
    status, groups = await user(root, "GET", "/api/groups")
    assert (status, groups) == (200, [{"name": "dev", "users": ["root"], "id": DEV}])
    assert (await user(root, "POST", f"/api/groups/{OPS}", {"name": "ops", "users": ["root"]}))[0] == 503
    assert (await user(root, "GET", f"/api/groups/{OPS}"))[0] == 404


async def test_two_groups_cannot_have_one_name(mesh: Mesh) -> None:
    root = await mesh.join("a", "root")
    await user(root, "POST", f"/api/groups/{DEV}", {"name": "dev", "users": []})
    assert (await user(root, "POST", f"/api/groups/{OPS}", {"name": "dev", "users": []}))[0] == 409
    await user(root, "POST", f"/api/groups/{OPS}", {"name": "ops", "users": []})
    status, refused = await user(root, "POST", f"/api/groups/{OPS}", {"name": "dev", "users": []})
    assert (status, DEV in refused["message"]) == (409, True)


async def test_groups_of_one_name_made_at_once_are_one_everywhere_and_the_next_change_makes_one_file_of_them(
    mesh: Mesh,
) -> None:
    root = await mesh.join("a", "root")
    mesh.publish(group_path(OPS), b'{"name":"dev","users":["root"]}')
    mesh.publish(group_path(DEV), b'{"name":"dev","users":["bob"]}')
    await settled(mesh)
    status, groups = await here(root, "GET", "/api/groups")
    assert (status, groups) == (200, [{"name": "dev", "users": ["bob", "root"], "id": DEV, "duplicates": [OPS]}])
    assert (await here(root, "GET", f"/api/groups/{OPS}"))[1]["id"] == DEV
    status, shown = await user(root, "POST", f"/api/groups/{OPS}", {"name": "dev", "users": ["root"]})
    assert (status, shown["id"], shown["users"]) == (201, DEV, ["root"])
    assert sorted(mesh.shared) == [group_path(DEV)]


def test_merging_does_not_depend_on_the_order_of_arrival() -> None:
    groups = [Group(DEV, "dev", ("a",)), Group(OPS, "dev", ("b",)), Group("3", "ops", ())]
    assert merged(groups) == merged(reversed(groups))


async def test_the_history_says_who_changed_what(mesh: Mesh) -> None:
    root = await mesh.join("laptop", "root")
    await user(root, "POST", f"/api/groups/{DEV}?force", {"name": "dev", "users": ["a", "b"]})
    await user(root, "POST", f"/api/groups/{DEV}?force", {"name": "devs", "users": ["b", "c"]})
    history = (await user(root, "GET", f"/api/groups/{DEV}"))[1]["history"]
    assert [(one["user"], one["endpoint"], one["change"]) for one in history] == [
        ("root", "laptop", "created with a, b"),
        ("root", "laptop", "renamed from dev; added c; removed a"),
    ]
    assert all(one["time"] > 1_600_000_000_000 for one in history)
    trails = mesh.context("laptop").trail.trails
    assert [(one.action, one.subject, one.reason) for one in trails] == [
        ("configure", "group dev", "created with a, b"),
        ("configure", "group devs", "renamed from dev; added c; removed a"),
    ]
    for n in range(KEPT_CHANGES + 5):
        await user(root, "POST", f"/api/groups/{DEV}?force", {"name": "devs", "users": [f"u{n}"]})
    assert len((await user(root, "GET", f"/api/groups/{DEV}"))[1]["history"]) == KEPT_CHANGES


async def test_a_group_written_by_v1_is_read_and_its_file_is_one_that_v1_reads(mesh: Mesh) -> None:
    root = await mesh.join("a", "root")
    mesh.publish(group_path(DEV), b'{"name":"dev","users":["root"]}')
    await settled(mesh)
    assert (await user(root, "GET", f"/api/groups/{DEV}"))[1]["history"] == []
    await user(root, "POST", f"/api/groups/{DEV}", {"name": "dev", "users": []})
    file = json.loads(mesh.shared[group_path(DEV)])
    assert (file["name"], file["users"]) == ("dev", [])  # v1 needs both


@pytest.mark.parametrize("data", [b"", b"{", b'{"name":"../x","users":[]}', b'{"name":"x","users":"y"}', b"[" * 9999])
async def test_a_damaged_file_is_left_out_and_harms_no_other(mesh: Mesh, data: bytes) -> None:
    root = await mesh.join("a", "root")
    mesh.publish(group_path(DEV), b'{"name":"dev","users":["root"]}')
    mesh.publish(group_path(OPS), b'{"name":"ops","users":["root"]}')
    await settled(mesh)
    mesh.publish(group_path(OPS), data)
    await settled(mesh)
    assert [one["name"] for one in (await here(root, "GET", "/api/groups"))[1]] == ["dev"]


async def test_a_file_that_cannot_be_had_keeps_its_last_version_and_is_asked_for_again(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await mesh.join("a", "root")
    mesh.publish(group_path(DEV), b'{"name":"dev","users":["root"]}')
    await settled(mesh)
    read, asked = mesh.context("a").disk.read, asyncio.Event()

    async def unreachable(path: str) -> bytes | None:
        asked.set()
        raise UnreachableError(f"no source of {path}")

    monkeypatch.setattr(mesh.context("a").disk, "read", unreachable)
    mesh.publish(group_path(DEV), b'{"name":"dev","users":["bob"]}')
    await asked.wait()
    assert (await here(root, "GET", "/api/groups"))[1][0]["users"] == ["root"]
    monkeypatch.setattr(mesh.context("a").disk, "read", read)
    mesh.changed()
    await settled(mesh)
    assert (await here(root, "GET", "/api/groups"))[1][0]["users"] == ["bob"]


async def test_a_slow_reading_of_an_older_version_does_not_undo_an_own_change(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await mesh.join("a", "root")
    mesh.publish(group_path(DEV), b'{"name":"dev","users":["root"]}')
    await settled(mesh)
    asked, go_on, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(path: str) -> bytes | None:
        data = mesh.shared.get(path)
        await (again.wait() if asked.is_set() else asyncio.sleep(0))
        asked.set()
        await go_on.wait()
        return data

    monkeypatch.setattr(mesh.context("a").disk, "read", slow)
    mesh.publish(group_path(DEV), b'{"name":"dev","users":["mallory"]}')
    await asked.wait()
    await user(root, "POST", f"/api/groups/{DEV}?force", {"name": "dev", "users": ["bob"]})
    go_on.set()
    for _ in range(20):
        await asyncio.sleep(0)  # the older version has come by now
    assert (await here(root, "GET", "/api/groups"))[1][0]["users"] == ["bob"]
    again.set()
    await settled(mesh)
    assert (await here(root, "GET", "/api/groups"))[1][0]["users"] == ["bob"]


async def test_a_group_of_too_many_users_is_refused(mesh: Mesh) -> None:
    root = await mesh.join("a", "root")
    with pytest.raises(LimitError):
        Group.parse(DEV, "dev", [f"u{n}" for n in range(MAX_MEMBERS + 1)])
    many = {"name": "dev", "users": [f"u{n}" for n in range(MAX_MEMBERS + 1)]}
    assert (await user(root, "POST", f"/api/groups/{DEV}?force", many))[0] == 429
    assert mesh.shared == {}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/api/groups", f"/api/groups/{DEV}", "/api/users", "/api/appinfo", "/"])
async def test_other_endpoints_are_answered_nothing(mesh: Mesh, method: str, path: str) -> None:
    root = await mesh.join("a", "root")
    status, _, body = await ask(root.peer_api, method, path, peer=Peer("root", DEV))
    assert (status, body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_other_apps_may_only_ask(mesh: Mesh, method: str) -> None:
    root = await mesh.join("a", "root")
    assert (await ask(root.self_api, method, f"/api/groups/{DEV}"))[0] == 405


async def test_users_are_listed_as_by_the_hub(mesh: Mesh) -> None:
    root = await mesh.join("a", "root")
    await mesh.join("b", "bob")
    found = (await user(root, "GET", "/api/users"))[1]
    assert [(one["name"], one["endpoints"]["count"]) for one in found] == [("root", 1), ("bob", 1)]
