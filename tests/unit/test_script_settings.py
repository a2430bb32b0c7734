"""Who may run scripts, what is noted of it, and what is refused."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from app_mesh import SmallMesh, ask, read_all
from script_mesh import LIMITS, A, B, C, Caller, Mesh, allowed, run, status

from ztm.apps.script.api import ScriptApp
from ztm.apps.script.model import Order
from ztm.errors import (
    ForbiddenError,
    RefusedError,
    StorageError,
    UnreachableError,
)
from ztm.model import Peer
from ztm.net.http1 import request_http1

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="scripts run on POSIX systems")


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    made = SmallMesh(lambda context: ScriptApp(context, LIMITS), tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=["there", "here"])
async def pair(request: pytest.FixtureRequest, mesh: Mesh) -> tuple[ScriptApp, str]:
    """An app, and the endpoint on which it shall run scripts: another one, and its own."""
    if request.param == "here":
        return await allowed(mesh, "a"), A
    app = await mesh.join("a")
    await allowed(mesh, "b")
    return app, B


async def test_nothing_is_run_until_it_is_allowed_not_even_for_the_owner(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await mesh.join("b")
    for place in (A, B):
        with pytest.raises(ForbiddenError, match="scripts are off there"):
            await run(app, place, "print(1)")
    for trail in mesh.context("b").trail.trails + mesh.context("a").trail.trails:
        assert (trail.action, trail.is_allowed) == ("run", False)


async def test_another_user_may_only_when_listed_and_no_more_when_taken_off(mesh: Mesh) -> None:
    owner = await allowed(mesh, "a")
    bob = await mesh.join("b", "bob")
    with pytest.raises(ForbiddenError, match="only alice may"):
        await run(bob, A, "print(1)")

    async def change(body: object) -> int:
        return (await ask(owner.user_api, "POST", f"/api/endpoints/{A}/config", json.dumps(body).encode()))[0]

    assert await change({"addUsers": ["bob"]}) == 201
    caller = Caller()
    running = asyncio.create_task(run(bob, A, "import time; print('on'); time.sleep(60)", caller=caller))
    await caller.until(b"on\n")
    assert await change({"delUsers": ["bob"]}) == 201
    assert status(await running) == 143
    assert b"no longer allowed" in caller.stderr
    with pytest.raises(ForbiddenError):
        await run(bob, A, "print(1)")
    assert await change({"delUsers": ["bob"]}) == 404


async def test_settings_are_kept_and_changed_from_afar_by_the_owner_only(mesh: Mesh) -> None:
    owner, bob = await mesh.join("a"), await mesh.join("b", "bob")
    await mesh.join("c")
    body = json.dumps({"allow": True, "addUsers": ["bob", "bob"], "limit": 5, "maxRuns": 2}).encode()
    status_, _, _ = await ask(owner.user_api, "POST", f"/api/endpoints/{C}/config", body)
    assert status_ == 201
    assert (await ask(bob.user_api, "POST", f"/api/endpoints/{C}/config", body))[0] == 403
    assert (await ask(bob.user_api, "GET", f"/api/endpoints/{C}/config"))[0] == 403
    wanted = {"allow": True, "users": ["bob"], "limit": 5.0, "maxRuns": 2, "running": 0}
    await mesh.restart("c")
    _, _, answer = await ask(owner.user_api, "GET", f"/api/endpoints/{C}/config")
    assert json.loads(answer) == wanted


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"limit":0}', b'{"limit":1e99}', b'{"maxRuns":0}', b'{"maxRuns":65}', b'{"users":["a/b"]}']
)
async def test_settings_that_cannot_be_are_refused_and_change_nothing(mesh: Mesh, body: bytes) -> None:
    app = await mesh.join("a")
    assert (await ask(app.user_api, "POST", f"/api/endpoints/{A}/config", body))[0] == 400
    assert mesh.context("a").disk.local == {}


async def test_settings_that_cannot_be_saved_do_not_count(mesh: Mesh) -> None:
    app = await mesh.join("a")
    mesh.context("a").disk.is_full = True
    assert (await ask(app.user_api, "POST", f"/api/endpoints/{A}/config", b'{"allow":true}'))[0] == 507
    with pytest.raises(ForbiddenError):
        await run(app, A, "print(1)")


async def test_damaged_settings_allow_nothing(mesh: Mesh) -> None:
    mesh.local["a"] = {"config.json": b'{"allow": "yes"}'}
    with pytest.raises(StorageError, match=r"config\.json is damaged"):
        await mesh.join("a")


async def test_both_ends_write_who_ran_what_without_its_text_or_arguments(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b")
    await run(app, B, "print('secret-text')", "secret-argument", caller=Caller(b"secret-input"))
    (entry,), (_, exit_) = mesh.context("a").trail.trails, mesh.context("b").trail.trails
    subject = "s.py sha256:" + sha256(b"print('secret-text')").hexdigest()
    assert (entry.side, entry.peer.user, entry.target, entry.reason) == ("entry", "alice", B, "exit status 0")
    assert (exit_.side, exit_.peer, exit_.rule) == ("exit", Peer("alice", A, "127.0.0.1", 1), "owner")
    assert exit_.reason == "exit status 0"
    assert entry.subject == exit_.subject == subject
    assert exit_.meter.received == len("secret-text\n")
    assert "secret" not in f"{entry} {exit_}"


async def test_the_local_api_answers_with_merged_output_and_the_status_in_a_header(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b")
    text = b"import sys; print('a'); sys.stdout.flush(); print(sys.argv[1], file=sys.stderr); sys.exit(3)"
    argv = "%5B%22x%20y%22%5D"
    status_, headers, body = await ask(app.user_api, "POST", f"/api/endpoints/{B}/script?argv={argv}", text)
    assert (status_, headers["ztm-status"], sorted(body.split(b"\n"))) == (200, "3", [b"", b"a", b"x y"])
    assert "ztm-cut" not in headers
    text = b"print('x' * 3_000_000)"
    _, headers, body = await ask(app.user_api, "POST", f"/api/endpoints/{B}/script", text)
    assert (headers["ztm-status"], headers["ztm-cut"], len(body)) == ("0", "1", 1 << 20)


@pytest.mark.parametrize(
    "query", ["argv=x", "argv=%7B%7D", "argv=%5B1%5D", "limit=x", "limit=-1", "limit=nan", "lang=sh"]
)
async def test_a_request_that_does_not_say_what_to_run_is_refused(mesh: Mesh, query: str) -> None:
    app = await allowed(mesh, "a")
    assert (await ask(app.user_api, "POST", f"/api/endpoints/{A}/script?{query}", b"print(1)"))[0] == 400


async def test_an_endpoint_that_cannot_be_reached_is_an_error(mesh: Mesh) -> None:
    app = await mesh.join("a")
    with pytest.raises(UnreachableError):
        await run(app, B, "print(1)")


async def test_a_v1_caller_is_told_that_only_python_is_run_and_its_stream_ends(mesh: Mesh) -> None:
    await mesh.join("a")
    await allowed(mesh, "b")
    stream = await mesh.context("a").connect(B)
    await stream.response()
    answer = await request_http1(stream, "POST", "/api/script?argv=%5B%5D", body=b"println('hi')")
    assert (answer.status, answer.body) == (415, b"this endpoint runs Python scripts only\n")
    assert await read_all(stream) == b""


@pytest.mark.parametrize("dependencies", ["", "# dependencies = []\n"])
async def test_a_script_that_needs_another_python_or_packages_says_what_to_do_without_uv(
    mesh: Mesh, dependencies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    app = await allowed(mesh, "a")
    good = f"# /// script\n# requires-python = '>=3.11'\n{dependencies}# ///\nprint('fine')"
    assert (await run(app, A, good)).stdout == b"fine\n"
    old = await run(app, A, good.replace(">=3.11", "<3"))
    assert (status(old), b"needs Python <3" in old.stderr, b"install uv" in old.stderr) == (126, True, True)
    more = await run(app, A, good.replace("[]", "['rich']")) if dependencies else old
    assert (status(more), b"install uv" in more.stderr) == (126, True)
    assert mesh.context("a").trail.trails[-1].side == "entry"


async def test_a_js_file_is_refused_by_our_endpoints_and_a_python_one_is_not_sent_to_v1(mesh: Mesh) -> None:
    app = await allowed(mesh, "a")
    await allowed(mesh, "b")
    for place in (A, B):
        with pytest.raises(RefusedError, match="Python scripts only"):
            await app.entry.run(place, Order.of_file("x.js"), b"println(1)", Caller())
