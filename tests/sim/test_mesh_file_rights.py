"""Who may write, erase and read which file of the mesh, whichever way is tried."""

import asyncio
from pathlib import Path

import pytest
from mesh_files import API, CONTENT, DOC, SECRET, ask, message, on_mesh, publish, stored

from ztm.core.files import file_hash
from ztm.testing.mesh import SimMesh


@pytest.mark.parametrize(
    "path",
    [
        "/users/alice/x",
        "/shared/alice/x",
        "/apps/ztm/tunnel/shared/alice/x",
        "/home/root/x",
        "/x",
        "/shared/root",
        "/users/root/../alice/x",
        "/users/root%2F..%2Falice%2Fx",
    ],
)
def test_a_path_that_is_not_the_users_is_refused_and_nothing_is_stored(tmp_path: Path, path: str) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        for method, room, body in (("POST", "file-data", CONTENT), ("DELETE", "files", b"")):
            answer = await ask(a, method, f"/{room}{path}", body)
            assert answer.status == 403
            assert "root" in message(answer)
        assert stored(a) == []

    on_mesh(tmp_path, story)


def test_a_refused_upload_is_refused_before_its_body_is_sent(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        assert a.agent is not None
        stream = await a.network.dial(a.agent.address)
        head = f"POST {API}/file-data/users/alice/x HTTP/1.1\r\nauthorization: Bearer {a.agent.token}\r\n"
        await stream.write(f"{head}expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n".encode())
        async with asyncio.timeout(1.0):
            assert (await stream.read()).startswith(b"HTTP/1.1 403 ")
        stream.abort()

    on_mesh(tmp_path, story)


def test_erasing_what_does_not_exist_is_not_found_and_marks_nothing(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        answer = await ask(a, "DELETE", "/files/shared/root/none")
        assert answer.status == 404
        assert "/shared/root/none" in message(answer)
        assert stored(a) == []
        assert await a.api("GET", f"{API}/files?since=0") == {}

    on_mesh(tmp_path, story)


def test_a_foreign_private_file_is_refused_by_path_and_by_hash(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        (alice,) = await mesh.join("laptop", user="alice")
        await publish(a, SECRET, CONTENT)
        await publish(a, DOC, CONTENT)
        digest = file_hash(CONTENT, SECRET)
        for reader, status in ((alice, 404), (b, 200)):
            assert (await ask(reader, "GET", f"/file-data{SECRET}")).status == status
            assert (await ask(reader, "GET", f"/files{SECRET}")).status == status
            assert (await ask(reader, "GET", f"/endpoints/{a.id}/file-data/{digest}")).status == status
        shared = await ask(alice, "GET", f"/endpoints/{a.id}/file-data/{file_hash(CONTENT, DOC)}")
        assert (shared.status, shared.body) == (200, CONTENT)
        assert all(not name.startswith(digest) for name in stored(alice))

    on_mesh(tmp_path, story)


def test_the_endpoint_that_holds_a_private_file_refuses_it_to_users_that_its_hub_names(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        await publish(a, SECRET, CONTENT)
        digest = file_hash(CONTENT, SECRET)
        files = a.mesh.files
        assert files.open_for("alice", digest) is None
        assert files.open_for("root", digest) is not None
        assert files.open_for("", digest) is not None

    on_mesh(tmp_path, story)


def test_a_content_is_fetched_from_the_named_endpoint_only_and_is_not_kept(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b, c = await mesh.join("a", "b", "c")
        await publish(a, DOC, CONTENT)
        digest = file_hash(CONTENT, DOC)
        found = await ask(b, "GET", f"/endpoints/{a.id}/file-data/{digest}")
        assert (found.status, found.body) == (200, CONTENT)
        assert stored(b) == []
        for endpoint in (c.id, b.id, "00000000-0000-4000-8000-000000000000"):
            answer = await ask(b, "GET", f"/endpoints/{endpoint}/file-data/{digest}")
            assert answer.status == 404
            assert message(answer)
        assert (await ask(a, "GET", f"/endpoints/{a.id}/file-data/{digest}")).body == CONTENT
        for wrong in ("0000", "..%2F..%2Fztm.db", "0" * 64):
            assert (await ask(b, "GET", f"/endpoints/{a.id}/file-data/{wrong}")).status == 404
        assert (await ask(b, "GET", f"/endpoints/nobody/file-data/{digest}")).status == 400

    on_mesh(tmp_path, story)
