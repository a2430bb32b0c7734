"""Terminals of our agents with v1-like peers, through a v1-like hub: bare bytes, half-close and refusals."""

from pathlib import Path
from uuid import uuid4

import pytest
from v1_mesh import Party, V1Mesh, v1_mesh

from v1_http import Stream
from websocket_client import WebSocketClient

CALLER = "src=77777777-1111-1111-1111-111111111111&ip=10.1.2.3&port=777&username="


async def head_of(stream: Stream) -> tuple[bytes, bytes]:
    """An HTTP/1.1 head, and what came right behind it."""
    data = b""
    while b"\r\n\r\n" not in data and (more := await stream.read()):
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


# ---------------------------------------------------------------------- a v1 caller


async def shell(made: V1Mesh, user: str = "root", where: str = "passive") -> tuple[Stream, bytes]:
    """A session as v1's command line opens one, and what it has shown so far."""
    session = await made.hub.passive() if where == "passive" else made.hub.control()
    stream = session.http.open("CONNECT", f"/api/apps/ztm/terminal?{CALLER}{user}")
    assert (await stream.head()).status == 200
    stream.write(b"CONNECT /api/shell HTTP/1.1\r\nconnection: keep-alive\r\n\r\n")
    head, rest = await head_of(stream)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"ztm-ext" not in head
    return stream, rest


async def configured(made: V1Mesh, **settings: object) -> Party:
    """An endpoint of root whose shell is a plain one."""
    party = await made.joined()
    path = f"/api/meshes/m/apps/ztm/terminal/api/endpoints/{party.id}/config"
    await party.ask("POST", path, {"shell": "/bin/sh", **settings})
    return party


@pytest.mark.parametrize("where", ["control", "passive"])
async def test_a_v1_caller_types_at_our_shell_until_it_exits(tmp_path: Path, where: str) -> None:
    async with v1_mesh(tmp_path) as made:
        await configured(made)
        stream, shown = await shell(made, where=where)
        stream.write(b"stty size; exit\n")
        assert b"24 80" in shown + await stream.rest()


async def test_a_v1_callers_end_of_input_ends_the_shell_after_its_output(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await configured(made)
        stream, shown = await shell(made)
        stream.write(b"sleep 0.1; echo la''ter\n")
        stream.end()
        assert b"later" in shown + await stream.rest()


async def test_a_v1_caller_that_may_not_reads_forbidden(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await configured(made, users=["bob"])
        stream, shown = await shell(made, "carol")
        assert shown + await stream.rest() == b"Forbidden\n"
        stream, shown = await shell(made, "bob")
        stream.write(b"exit\n")
        assert b"Forbidden" not in shown + await stream.rest()


# ---------------------------------------------------------------------- a v1 endpoint


async def page(made: V1Mesh, endpoint: str) -> WebSocketClient:
    """A session of ours on an endpoint, by the local API."""
    party = await made.joined()
    client = WebSocketClient(await party.agent.network.dial(party.agent.address))
    path = f"/api/meshes/m/apps/ztm/terminal/api/endpoints/{endpoint}/shell"
    fields = {"host": str(party.agent.address), "authorization": f"Bearer {party.agent.token}"}
    assert await client.open(path, **fields) == 101
    return client


async def test_a_v1_endpoints_shell_is_ours_byte_for_byte_until_it_ends(tmp_path: Path) -> None:
    seen = []

    async def v1_terminal(stream: Stream) -> None:
        head, rest = await head_of(stream)
        seen.append((head.split(b" HTTP")[0].split(b"?")[0], rest))
        stream.write(b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n$ ")
        assert await stream.exactly(5) == b"exit\n"
        stream.write(b"exit\r\n")
        stream.end()

    async with v1_mesh(tmp_path) as made:
        endpoint = str(uuid4())
        made.hub.exits[endpoint] = v1_terminal
        client = await page(made, endpoint)
        assert await client.receive() == b"$ "
        await client.send(b"exit\n")
        assert await client.receive() == b"exit\r\n"
        assert await client.receive() == '{"exit":0}'
        assert seen == [(b"CONNECT /api/shell", b"")]  # nothing before the 200: v1 would end at once
        client.stream.abort("over")


async def test_a_v1_endpoints_refusal_is_told_as_one(tmp_path: Path) -> None:
    async def v1_terminal(stream: Stream) -> None:
        await head_of(stream)
        stream.write(b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\nForbidden\n")
        stream.end()

    async with v1_mesh(tmp_path) as made:
        endpoint = str(uuid4())
        made.hub.exits[endpoint] = v1_terminal
        client = await page(made, endpoint)
        told = await client.receive()
        assert isinstance(told, str)
        assert '"status":403' in told
        client.stream.abort("over")
