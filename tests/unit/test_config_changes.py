"""Configurations that several commands change at the same moment: no change is lost, and none is made blindly."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from app_console import MemoryConsole
from app_mesh import OWN_IDS, SmallMesh, ask

from ztm.apps.base import App
from ztm.apps.command import Call, EndpointRef
from ztm.apps.port.api import PortApp
from ztm.apps.proxy.api import ProxyApp

A, B = OWN_IDS[:2]
Mesh = SmallMesh[Any]


@pytest.fixture(params=[PortApp, ProxyApp])
async def mesh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mesh]:
    made: Mesh = SmallMesh(request.param, tmp_path)
    await made.join("a")
    await made.join("b")
    yield made
    await made.close()


def lines(app: App, count: int) -> list[str]:
    """Commands that each add one thing."""
    if isinstance(app, PortApp):
        return [f"set acl --address 10.0.0.{n} --users bob" for n in range(count)]
    return [f"config --add-exclusion 10.0.0.{n}/32" for n in range(count)]


async def command(app: App, line: str, place: str) -> tuple[int, str]:
    call = Call(program="ztm x", words=tuple(line.split()), endpoint=EndpointRef(place, "x"), environment={})
    console = MemoryConsole(call)
    return await app.command(console), console.err.decode()


async def config(app: App, place: str) -> dict[str, Any]:
    status, _, body = await ask(app.user_api, "GET", f"/api/endpoints/{place}/config")
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize("place", [A, B])
async def test_changes_by_commands_at_the_same_moment_are_all_made(mesh: Mesh, place: str) -> None:
    app = mesh.apps[A]
    done = await asyncio.gather(*(command(app, line, place) for line in lines(app, 5)))
    assert done == [(0, "")] * 5
    found = await config(app, place)
    assert len(found.get("acl") or found.get("exclusions")) == 5


@pytest.mark.parametrize("place", [A, B])
async def test_a_change_of_what_has_been_changed_meanwhile_is_refused(mesh: Mesh, place: str) -> None:
    app = mesh.apps[A]
    seen = await config(app, place)
    assert (await command(app, lines(app, 1)[0], place))[0] == 0
    path = f"/api/endpoints/{place}/config"
    body = {name: seen[name] for name in ("ports", "acl", "targets", "revision") if name in seen}
    status, _, answer = await ask(app.user_api, "POST", path, json.dumps(body).encode())
    assert status == 409, answer
    assert b"meanwhile" in answer
    after = await config(app, place)
    assert len(after.get("acl") or after.get("exclusions")) == 1


@pytest.mark.parametrize("place", [A, B])
async def test_who_names_no_state_replaces_whatever_is_there_as_with_v1(mesh: Mesh, place: str) -> None:
    app = mesh.apps[A]
    assert (await command(app, lines(app, 1)[0], place))[0] == 0
    status, _, answer = await ask(app.user_api, "POST", f"/api/endpoints/{place}/config", b"{}")
    assert status == 201, answer
    found = await config(app, place)
    assert not found.get("acl")
    assert not found.get("exclusions")
