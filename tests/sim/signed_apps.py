"""Packages of apps as their authors make them, by the local API of a simulated endpoint."""

import json
from typing import Any
from urllib.parse import urlencode

from local_api import BASE, Api

from ztm.net.http1 import Answer
from ztm.rest.client import call_stream

MANIFEST = """\
name = "{name}"
version = "{version}"
entry = "hello:app"
api = 1
title = "Says hello"
permissions = {permissions}
requires = {requires}
"""


def manifest(
    name: str = "hello", version: str = "1.0.0", permissions: list[str] | None = None, requires: list[str] | None = None
) -> str:
    """The text of a ``ztm-app.toml``."""
    return MANIFEST.format(
        name=name, version=version, permissions=json.dumps(permissions or []), requires=json.dumps(requires or [])
    )


def packed(files: dict[str, str]) -> bytes:
    """A package without a signature."""
    parts = []
    for path in sorted(files):
        data = files[path].encode()
        parts.append(f"POST /{path} HTTP/1.1\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
    return b"".join(parts)


def hello(text: str = "app = None\n", **told: Any) -> bytes:
    """The unsigned package of an app that does nothing."""
    return packed({"ztm-app.toml": manifest(**told), "hello.py": text})


async def send(api: Api, path: str, data: bytes) -> Answer:
    """POST a body of bytes."""
    agent = api.endpoint.agent
    assert agent is not None
    fields = (("authorization", f"Bearer {agent.token}"), ("host", "localhost"))
    stream = await api.endpoint.network.dial(agent.address)
    try:
        return await call_stream(stream, "POST", BASE + path, body=data, timeout=60.0, headers=fields)
    finally:
        stream.abort("answered")


async def signed(api: Api, package: bytes, tag: str = "") -> bytes:
    """The same, signed by the endpoint's user."""
    answer = await send(api, f"/packages/sign?tag={tag}" if tag else "/packages/sign", package)
    assert answer.status == 200, answer
    return answer.body


async def inspected(api: Api, package: bytes) -> dict[str, Any]:
    """What the endpoint's agent makes of it."""
    answer = await send(api, "/packages/inspect", package)
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def install(api: Api, package: bytes, granted: list[str] | None = None, digest: str = "") -> Answer:
    """Ask for a package to be installed; None grants what is granted already."""
    query = {"digest": digest or (await inspected(api, package))["digest"]}
    asked = urlencode([*query.items(), *(("permission", one) for one in granted or [])])
    return await send(api, f"/packages/install?{asked}{'&granting=nothing' if granted == [] else ''}", package)


async def developed(api: Api, *, tag: str = "", text: str = "app = None\n", **told: Any) -> dict[str, Any]:
    """Sign and install an app with all that it asks for."""
    answer = await install(api, await signed(api, hello(text, **told), tag), told.get("permissions") or [])
    assert answer.status == 201, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found
