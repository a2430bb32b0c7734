"""`ztm app new`: a folder to begin an app with, which is an app already: its manifest, its code and a test.

Nothing that exists is written over.
"""

import re
from pathlib import Path

from ztm.errors import ConflictError, StorageError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")

MANIFEST = """\
name = "{name}"
version = "1.0.0"
title = "Greets other endpoints"
api = 1
entry = "{module}:app"
permissions = ["mesh.connect"]
"""
CODE = '''\
"""An app for ztm: `ztm app run .` runs it, `ztm app check .` says what it offers."""

from ztm_app import App, CommandContext, Request

app = App()


@app.user.get("/api/hello/{{endpoint}}")
async def hello(request: Request, endpoint: str) -> dict[str, object]:
    """For this machine's user: ``GET /api/meshes/MESH/apps/USER/{name}/api/hello/ENDPOINT``."""
    reply = await app.mesh.request(endpoint, "GET", "/whoami")
    return {{"from": app.endpoint.name, "reply": reply.json()}}


@app.peer.get("/whoami")
async def whoami(request: Request) -> dict[str, str]:
    """For the same app on the own user's other endpoints; ``allow="any"`` opens it to everybody."""
    return {{"name": app.endpoint.name, "you": request.peer.user}}


@app.cli("say <endpoint>", help="Greet an endpoint")
async def say(ctx: CommandContext, endpoint: str) -> int:
    """``ztm {name} say ENDPOINT``."""
    reply = await app.mesh.request(await ctx.resolve(endpoint), "GET", "/whoami")
    ctx.print(f"Hello from {{reply.json()['name']}}")
    return 0
'''
TEST = '''\
"""The app on two endpoints in memory: no agent, no mesh. Run it with ``python3 -m unittest``."""

import unittest

import {module}

from ztm_app.testing import two_endpoints


class TestApp(unittest.IsolatedAsyncioTestCase):
    """What the app promises."""

    async def test_an_endpoint_greets_another_one(self) -> None:
        async with two_endpoints({module}.app, permissions=["mesh.connect"]) as (a, b):
            reply = await a.get(f"/api/hello/{{b.id}}")
            self.assertEqual(reply.json(), {{"from": "a", "reply": {{"name": "b", "you": "alice"}}}})
            ran = await a.run("say", "b")
            self.assertEqual((ran.status, ran.out), (0, "Hello from b\\n"))

    async def test_others_are_refused(self) -> None:
        async with two_endpoints({module}.app) as (a, _):
            self.assertEqual((await a.as_peer("mallory", "GET", "/whoami")).status, 403)


if __name__ == "__main__":
    unittest.main()
'''


def create(name: str, folder: str) -> str:
    """Make the folder of a new app, `name` here unless `folder` says where; what to do next, for people.

    Raises:
        UsageError: an app cannot have that name.
        ConflictError: there is something in the folder already.
        StorageError: it cannot be written.
    """
    from ztm.apps.manifest import read_manifest

    if not _NAME.fullmatch(name):
        raise UsageError(f"not a name for an app: {name!r} (letters, digits and -, as in my-app)")
    module = name.lower().replace("-", "_")
    module = f"app_{module}" if module[0].isdigit() or module == "ztm_app" else module
    told = {"name": name, "module": module}
    files = {"ztm-app.toml": MANIFEST, f"{module}.py": CODE, f"test_{module}.py": TEST}
    read_manifest(MANIFEST.format(**told).encode())
    target = Path(folder or name).expanduser()
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise ConflictError(f"{target} is not empty: name a new folder ('ztm app new {name} FOLDER')")
        for path, text in files.items():
            (target / path).write_text(text.format(**told), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot make an app in {target}: {error.strerror}") from error
    return "\n".join(
        (
            f"{target} has a new app:",
            f"  ztm app check {target}   starts it without a mesh",
            f"  ztm app run {target}     runs it",
        )
    )
