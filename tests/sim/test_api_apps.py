"""Managing apps by the local API: here, on other endpoints, and packages in the mesh."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_api import Api, home_of
from signed_apps import developed, hello, inspected, install, packed, send, signed

from ztm.agent.apps.package import MAX_BYTES
from ztm.apps.manifest import PERMISSIONS
from ztm.testing.mesh import MESH, SimMesh

TUNNEL = "apps/ztm/tunnel"
HELLO = "apps/root/hello"


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[SimMesh]:
    """A mesh of the test's own."""
    made = SimMesh(tmp_path)
    yield made
    await made.close()


def at(api: Api, path: str) -> str:
    return f"/endpoints/{api.endpoint.id}/{path}"


def legacy(api: Api, text: str, app: str = "root/old") -> Path:
    """Put an app of v1 where v1 has it."""
    folder = api.endpoint.data / "meshes" / MESH / "apps" / app
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.js").write_text(text)
    return folder


async def listed(api: Api, count: int) -> list[object]:
    """The packages that an agent sees, once they are so many."""
    async with asyncio.timeout(60.0):
        while len(found := await api.ok("GET", "/apps")) != count:
            await asyncio.sleep(0.1)
    return list(found)


async def test_a_built_in_app_is_disabled_enabled_and_stopped_here_and_there(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    for where in (home, work):
        for change, shown in (
            ({"isRunning": True}, (True, False)),
            ({"isDisabled": True}, (False, True)),
            ({"isDisabled": False}, (False, False)),
            ({"isDisabled": True, "isRunning": True}, (True, False)),
            ({"isRunning": False}, (False, False)),
            ({}, (False, False)),
        ):
            after = await home.ok("POST", at(where, TUNNEL), change, status=201)
            assert (after["isRunning"], after["isDisabled"]) == shown
            assert await where.ok("GET", at(where, TUNNEL)) == after
        assert "tunnel" in [app["name"] for app in await home.ok("GET", at(where, "apps"))]
        assert await home.ok("GET", at(where, f"{TUNNEL}/log")) is not None
        await home.ok("DELETE", at(where, TUNNEL), status=204)


async def test_what_cannot_be_done_to_an_app_is_refused(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    alice = await home_of(mesh, "alice", "alice")
    for where in (home, work):
        for method, rest, body in (
            ("GET", "", None),
            ("POST", "", {"isRunning": True}),
            ("POST", "", {"isPublished": False}),
            ("POST", "", {}),
            ("DELETE", "", None),
            ("GET", "/log", None),
        ):
            await home.refused(404, method, at(where, f"apps/ztm/nope{rest}" if body is None else HELLO), body)
        assert "No files to pack" in await home.refused(409, "POST", at(where, TUNNEL), {"isPublished": True})
        assert "No files to pack" in await home.refused(409, "POST", at(where, HELLO), {"isPublished": True})
        assert "built in" in await home.refused(409, "POST", at(where, TUNNEL), {"consent": {"digest": "0" * 64}})
        await home.refused(409, "POST", at(where, TUNNEL), {"isRolledBack": True})
        await home.refused(403, "POST", at(where, "apps/alice/hello"), {"isPublished": True})
        await home.refused(400, "POST", at(where, TUNNEL), "[]")
        await home.refused(400, "POST", at(where, "apps/root/a%2Fb"), {})
        await home.refused(400, "POST", at(where, "apps/..%2F../x"), {})
    for method, path, body in (
        ("GET", "apps", None),
        ("GET", TUNNEL, None),
        ("POST", TUNNEL, {"isDisabled": True}),
        ("DELETE", TUNNEL, None),
        ("GET", f"{TUNNEL}/log", None),
    ):
        assert "belongs to user alice" in await home.refused(403, method, at(alice, path), body)


async def test_an_app_is_published_installed_elsewhere_and_taken_back(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    alice = await home_of(mesh, "alice", "alice")
    app = "apps/root/hello@2"
    shown = await developed(home, tag="2", permissions=["mesh.connect"])
    assert (shown["tag"], shown["isDownloaded"], shown["isPublished"], shown["isBuiltin"]) == ("2", True, False, False)
    assert (await home.ok("POST", at(home, app), {"isPublished": True}))["isPublished"] is True
    for api in (work, alice):
        assert await listed(api, 1) == [{"provider": "root", "name": "hello", "tag": "2"}]
        report = await api.ok("GET", "/packages/root/hello%402")
        assert (report["publisher"], report["version"], report["installed"]) == ("root", "1.0.0", "")
        assert report["digest"] == shown["digest"]
        consent = {"digest": report["digest"], "permissions": report["newPermissions"]}
        found = await api.ok("POST", at(api, app), {"consent": consent}, status=201)
        assert (found["isDownloaded"], found["isRunning"], found["publisher"]) == (True, False, "root")
        assert found["permissions"] == [{"permission": "mesh.connect", "meaning": PERMISSIONS["mesh.connect"]}]
    assert "only user root" in await alice.refused(403, "POST", at(alice, app), {"isPublished": True})
    assert "only user root" in await alice.refused(403, "POST", at(alice, app), {"isPublished": False})
    await work.refused(404, "GET", "/apps/root/hello/api/appinfo")
    assert (await home.ok("POST", at(work, app), {"isDisabled": True}))["isDisabled"] is True
    assert "disabled" in await work.refused(503, "GET", "/apps/root/hello%402/api/appinfo")
    await home.ok("DELETE", at(work, app), status=204)
    assert (await work.ok("GET", at(work, app)))["isDownloaded"] is False
    await home.refused(404, "DELETE", at(work, app))
    await home.ok("POST", at(home, app), {"isPublished": False})
    assert await listed(alice, 0) == []
    await home.refused(404, "POST", at(home, app), {"isPublished": False})


async def test_nothing_is_installed_because_somebody_uses_its_name(mesh: SimMesh) -> None:
    home, alice = await home_of(mesh), await home_of(mesh, "alice", "alice")
    await developed(home)
    await home.ok("POST", at(home, HELLO), {"isPublished": True})
    await listed(alice, 1)
    for method in ("GET", "POST"):
        assert "ztm download app root/hello" in await alice.refused(404, method, "/apps/root/hello/api/x", None)
    for change in ({}, {"isRunning": True}, {"isDisabled": False}):
        assert "unasked" in await alice.refused(403, "POST", at(alice, HELLO), change)
    assert (await alice.ok("GET", at(alice, HELLO)))["isDownloaded"] is False
    assert not (alice.endpoint.data / "meshes" / MESH / "apps").exists()


async def test_what_was_published_since_is_not_what_was_consented_to(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    first = await developed(home)
    await developed(home, version="2.0.0", permissions=["net"])
    await home.ok("POST", at(home, HELLO), {"isPublished": True})
    await listed(work, 1)
    consent = {"digest": first["digest"], "permissions": []}
    for where in (home, work):
        assert "consented" in await where.refused(409, "POST", at(work, HELLO), {"consent": consent})
    assert (await work.ok("GET", at(work, HELLO)))["isDownloaded"] is False


async def test_publishing_again_replaces_what_was_published(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    for version in ("1.0.0", "2.0.0"):
        await developed(home, version=version)
        await home.ok("POST", at(home, HELLO), {"isPublished": True})
    await listed(work, 1)
    async with asyncio.timeout(60.0):
        while (await work.ok("GET", "/packages/root/hello"))["version"] != "2.0.0":
            await asyncio.sleep(0.1)


# ---------------------------------------------------------------------- v1's apps


async def test_an_app_of_v1_is_listed_and_refused_before_anything_of_it_is_written(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    legacy(home, "export default () => {}")
    shown = await home.ok("GET", at(home, "apps/root/old"))
    assert (shown["runtime"], shown["isDownloaded"]) == ("pipyjs", True)
    assert (await home.ok("POST", at(home, "apps/root/old"), {"isPublished": True}))["isPublished"] is True
    await listed(work, 1)
    said = "app root/old is a PipyJS app; this agent runs only Python apps"
    for body in ({}, {"isRunning": True}, {"consent": {"digest": "0" * 64, "permissions": []}}):
        assert await work.refused(422, "POST", at(work, "apps/root/old"), body) == said
    assert await work.refused(422, "GET", "/packages/root/old") == said
    assert await work.refused(422, "GET", "/apps/root/old/api/x") == said
    assert await home.refused(422, "POST", at(home, "apps/root/old"), {"isRunning": True}) == said
    shown = await work.ok("GET", at(work, "apps/root/old"))
    assert (shown["runtime"], shown["isPublished"], shown["isDownloaded"]) == ("pipyjs", True, False)
    assert not (work.endpoint.data / "meshes" / MESH / "apps").exists()
    await home.ok("DELETE", at(home, "apps/root/old"), status=204)


async def test_a_peer_that_asks_for_an_app_of_v1_is_told_the_same_as_of_one_that_does_not_run(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    legacy(work, "export default () => {}")
    told = []
    for app in ("old", "none"):
        stream = await home.endpoint.mesh.connect_app(work.endpoint.id, "root", app)
        told.append((await stream.response())[0])
        stream.abort("told")
    assert told == [404, 404]


# ---------------------------------------------------------------------- what a bad package leaves


async def test_a_bad_package_leaves_what_was_installed_before(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    good = await developed(home)
    root = home.endpoint.data / "meshes" / MESH / "apps"
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    package = await signed(home, hello("app = 2\n", version="2.0.0"))
    bad = {
        b"junk": 400,
        b"POST /../../../evil HTTP/1.1\r\ncontent-length: 1\r\n\r\nx": 400,
        b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\nx" % (MAX_BYTES + 1): 413,
        hello(): 422,
        package.replace(b"app = 2", b"app = 3"): 422,
        package + b"POST /more.py HTTP/1.1\r\ncontent-length: 0\r\n\r\n": 422,
    }
    for data, status in bad.items():
        answer = await send(home, f"/packages/install?digest={good['digest']}&granting=nothing", data)
        assert answer.status == status, (answer, data[:100])
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert await home.ok("GET", at(home, HELLO)) == good
    assert not list(home.endpoint.data.rglob("evil"))


async def test_a_package_of_another_user_or_mesh_is_not_trusted(mesh: SimMesh, tmp_path: Path) -> None:
    home, alice = await home_of(mesh), await home_of(mesh, "alice", "alice")
    package = await signed(alice, hello())
    assert (await inspected(home, package))["publisher"] == "alice"
    forged = package.replace(b'"publisher": "alice"', b'"publisher": "peter"')
    assert (await send(home, "/packages/inspect", forged)).status == 422
    other = SimMesh(tmp_path / "other")
    stranger = await home_of(other)
    assert b"another mesh" in (await send(home, "/packages/inspect", await signed(stranger, hello()))).body
    await other.close()


# ---------------------------------------------------------------------- updates


async def test_an_update_that_asks_for_more_needs_new_consent_and_can_be_taken_back(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    one = await developed(work, permissions=["files.local"])
    less = await signed(work, hello(version="1.1.0"))
    more = await signed(work, hello(version="2.0.0", permissions=["files.local", "net"]))
    answer = await install(work, more)
    assert (answer.status, b"asks for more than was granted: net" in answer.body) == (403, True)
    assert await work.ok("GET", at(work, HELLO)) == one
    assert (await install(work, more, ["files.local", "net"])).status == 201
    assert (await install(work, less)).status == 201
    shown = await work.ok("GET", at(work, HELLO))
    assert (shown["version"], shown["previous"], shown["permissions"]) == ("1.1.0", "2.0.0", [])
    back = await home.ok("POST", at(work, HELLO), {"isRolledBack": True})
    assert (back["version"], back["previous"], len(back["permissions"])) == ("2.0.0", "1.1.0", 2)
    await work.ok("DELETE", at(work, HELLO), status=204)
    await home.refused(404, "POST", at(work, HELLO), {"isRolledBack": True})


async def test_a_first_version_has_nothing_to_go_back_to(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    await developed(work)
    assert "earlier version" in await work.refused(409, "POST", at(work, HELLO), {"isRolledBack": True})
    assert "earlier version" in await home.refused(409, "POST", at(work, HELLO), {"isRolledBack": True})


async def test_what_an_app_requires_and_is_not_there_is_said_with_what_to_do(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    package = await signed(home, hello(requires=["msgspec>=0.1", "nobody-has-this>=2"]))
    (problem,) = (await inspected(home, package))["problems"]
    assert "pip install 'nobody-has-this>=2'" in problem
    answer = await install(home, package, [])
    assert (answer.status, b"nobody-has-this" in answer.body) == (422, True)
    await home.refused(404, "GET", at(home, HELLO))


async def test_an_installed_app_is_there_again_after_a_restart_with_what_was_wanted_of_it(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    await developed(home, permissions=["net"])
    shown = await home.ok("POST", at(home, HELLO), {"isDisabled": True})
    await home.endpoint.kill()
    await home.endpoint.start()
    assert await home.ok("GET", at(home, HELLO)) == shown
    record = next(home.endpoint.data.rglob("installed.json"))
    assert record.stat().st_mode & 0o777 == 0o600


async def test_what_was_changed_on_disk_is_not_run_as_what_was_consented_to(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    await developed(home)
    manifest = next(path for path in home.endpoint.data.rglob("ztm-app.toml"))
    manifest.write_text(manifest.read_text().replace("permissions = []", 'permissions = ["net", "exec"]'))
    await home.endpoint.kill()
    await home.endpoint.start()
    assert "damaged" in await home.refused(422, "GET", "/apps/root/hello/api/x")
    assert "permissions" not in await home.ok("GET", at(home, HELLO))


async def test_a_package_needs_a_digest_and_a_plain_word_on_permissions(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    package = await signed(home, hello(permissions=["net"]))
    digest = (await inspected(home, package))["digest"]
    for query, status in (("", 400), ("?granting=nothing", 400), (f"?digest={digest}&granting=all", 400)):
        assert (await send(home, f"/packages/install{query}", package)).status == status, query
    assert (await send(home, f"/packages/install?digest={'0' * 64}&permission=net", package)).status == 409
    assert (await send(home, f"/packages/install?digest={digest}", package)).status == 403
    assert (await send(home, f"/packages/install?digest={digest}&granting=nothing", package)).status == 403
    assert (await send(home, "/packages/sign", b"junk")).status == 400
    assert (await send(home, "/packages/sign", packed({"x.py": ""}))).status == 422
    assert (await send(home, "/packages/sign?tag=a%2Fb", package)).status == 400
