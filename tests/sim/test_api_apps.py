"""Managing apps by the local API: here, on other endpoints, and packages in the mesh."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_api import Api, home_of

from ztm.agent.apps.package import MAX_BYTES
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


def installed(api: Api, app: str = "root/hello") -> Path:
    return api.endpoint.data / "meshes" / MESH / "apps" / app


def develop(api: Api, text: str, app: str = "root/hello") -> None:
    """Put an app's files where an agent has its own."""
    folder = installed(api, app)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.js").write_text(text)


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
        assert [app["name"] for app in await home.ok("GET", at(where, "apps"))] == ["tunnel"]
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
    develop(home, "one", "root/hello@2")
    app = "apps/root/hello@2"
    shown = await home.ok("GET", at(home, app))
    assert (shown["tag"], shown["isDownloaded"], shown["isPublished"], shown["isBuiltin"]) == ("2", True, False, False)
    assert (await home.ok("POST", at(home, app), {"isPublished": True}))["isPublished"] is True
    for api in (work, alice):
        assert await listed(api, 1) == [{"provider": "root", "name": "hello", "tag": "2"}]
        assert (await api.ok("POST", at(api, app), {}, status=201))["isDownloaded"] is True
        assert (installed(api, "root/hello@2") / "main.js").read_text() == "one"
    assert "only user root" in await alice.refused(403, "POST", at(alice, app), {"isPublished": True})
    assert "only user root" in await alice.refused(403, "POST", at(alice, app), {"isPublished": False})
    assert "built-in apps only" in await home.refused(409, "POST", at(work, app), {"isRunning": True})
    assert "built in" in await work.refused(503, "GET", "/apps/root/hello%402/api/appinfo")
    await work.refused(404, "GET", "/apps/root/hello/api/appinfo")
    assert (await home.ok("POST", at(work, app), {"isDisabled": True}))["isDisabled"] is True
    await home.ok("DELETE", at(work, app), status=204)
    assert not installed(work, "root/hello@2").exists()
    await home.refused(404, "DELETE", at(work, app))
    await home.ok("POST", at(home, app), {"isPublished": False})
    assert await listed(alice, 0) == []
    await home.refused(404, "POST", at(home, app), {"isPublished": False})


async def test_publishing_again_replaces_what_was_published(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    for text in ("one", "two"):
        develop(home, text)
        await home.ok("POST", at(home, HELLO), {"isPublished": True})
    await listed(work, 1)
    async with asyncio.timeout(60.0):
        while True:
            await home.ok("POST", at(work, HELLO), {})
            if (installed(work) / "main.js").read_text() == "two":
                break
            await home.ok("DELETE", at(work, HELLO))


async def test_a_bad_package_leaves_what_was_installed_before(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    files, packages = home.endpoint.mesh.files, home.endpoint.mesh.apps._packages
    develop(home, "good")
    (name,) = packages.installed()
    for bad in (
        b"junk",
        b"POST /../../../evil HTTP/1.1\r\ncontent-length: 1\r\n\r\nx",
        b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\nx" % (MAX_BYTES + 1),
    ):
        files.write(name.path, bad)
        async with asyncio.timeout(60.0):
            await files.advertised(10.0)
        status = 413 if b"%d" % (MAX_BYTES + 1) in bad else 400
        await home.ok("DELETE", at(home, HELLO))
        await home.refused(status, "POST", at(home, HELLO), {})
        assert not installed(home).exists()
        develop(home, "good")
        with pytest.raises(Exception, match="package"):
            await packages.install(name)
        assert (installed(home) / "main.js").read_text() == "good"
        assert [path.name for path in installed(home).parent.iterdir()] == ["hello"]
    assert not list(home.endpoint.data.rglob("evil"))
