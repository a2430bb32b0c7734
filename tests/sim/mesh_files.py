"""Stories of files in a simulated mesh, and the words in which they are told."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ztm.net.http1 import Answer
from ztm.rest.client import call_stream
from ztm.testing import run_virtual
from ztm.testing.mesh import MESH, SimEndpoint, SimMesh

DOC = "/shared/root/doc.txt"
SECRET = "/users/root/secret.txt"
CONTENT = b"hello world"
BIG = os.urandom(1 << 20) * 3
API = f"/api/meshes/{MESH}"


def on_mesh(directory: Path, story: Callable[[SimMesh], Awaitable[None]]) -> None:
    async def main() -> None:
        mesh = SimMesh(directory)
        try:
            await story(mesh)
        finally:
            await mesh.close()

    run_virtual(main())


async def ask(
    at: SimEndpoint, method: str, path: str, body: bytes = b"", *, mesh: str = MESH, **headers: str
) -> Answer:
    """One request to the local API, whatever comes of it."""
    assert at.agent is not None
    stream = await at.network.dial(at.agent.address)
    fields = [("authorization", f"Bearer {at.agent.token}"), *((k.replace("_", "-"), v) for k, v in headers.items())]
    try:
        target = f"/api/meshes/{mesh}{path}"
        return await call_stream(stream, method, target, body=body, timeout=120.0, headers=fields, limit=100 << 20)
    finally:
        stream.abort("answered")


async def publish(at: SimEndpoint, path: str, content: bytes) -> None:
    answer = await ask(at, "POST", f"/file-data{path}", content)
    assert (answer.status, answer.body) == (201, b"")


async def content_of(at: SimEndpoint, path: str) -> bytes:
    answer = await ask(at, "GET", f"/file-data{path}")
    assert answer.status == 200, answer
    return answer.body


async def info(at: SimEndpoint, path: str) -> dict[str, Any]:
    found: dict[str, Any] = await at.api("GET", f"{API}/files{path}")
    return found


async def has_sources(at: SimEndpoint, path: str, count: int) -> list[str]:
    async with asyncio.timeout(10.0):
        while len(sources := (await info(at, path))["sources"]) != count:
            await asyncio.sleep(0.1)
    return list(sources)


def message(answer: Answer) -> str:
    said = json.loads(answer.body)
    assert said["status"] == answer.status
    return str(said["message"])


def stored(at: SimEndpoint) -> list[str]:
    """Names of all that is in the directory of mesh files."""
    return sorted(one.name for one in (at.data / "meshes" / MESH / "fs").iterdir())
