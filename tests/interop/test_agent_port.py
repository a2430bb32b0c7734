"""The port app with v1-like exits and entries, through a v1-like hub (spec apps-network 6)."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tunnel_ends import LOOPBACK, datagrams, frame, talk, target
from v1_hub import pump
from v1_mesh import Party, V1Mesh, free_port, v1_mesh

from v1_http import PATIENCE, Stream

ENTER = "/api/apps/ztm/port?src=77777777-1111-1111-1111-111111111111&ip=10.1.2.3&port=777&username="
ACCEPTED = b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n"


async def read_head(stream: Stream) -> tuple[bytes, bytes]:
    """An HTTP/1.1 head, and what came right behind it."""
    data = b""
    while b"\r\n\r\n" not in data and (more := await stream.read()):
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


async def configure(party: Party, ports: list[dict[str, Any]], acl: list[dict[str, Any]] | None = None) -> None:
    body = {"ports": ports, "acl": acl or []}
    await party.ask("POST", f"/api/meshes/{party.mesh.name}/apps/ztm/port/api/endpoints/{party.id}/config", body)


async def port_to(made: V1Mesh, exit_: Callable[[Stream], Awaitable[None]], protocol: str = "tcp") -> tuple[Party, int]:
    """A port of ours that leads by a scripted endpoint to its 10.1.1.1:53."""
    party, endpoint = await made.joined(), str(uuid4())
    made.hub.exits[endpoint] = exit_
    listen = free_port(socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    entry = {"protocol": protocol, "listen": f"{LOOPBACK}:{listen}", "via": endpoint, "target": "10.1.1.1:53"}
    await configure(party, [entry])
    return party, listen


async def test_a_v1_endpoint_carries_tcp(tmp_path: Path) -> None:
    async def exit_(stream: Stream) -> None:
        head, rest = await read_head(stream)
        assert head == b"CONNECT /api/targets/tcp/10.1.1.1%3A53 HTTP/1.1\r\nconnection: keep-alive"
        stream.write(ACCEPTED + rest)
        await pump(stream, stream)

    async with v1_mesh(tmp_path) as made:
        _, listen = await port_to(made, exit_)
        assert await talk(listen, b"hello") == b"hello"


async def test_a_v1_endpoint_that_denies_resets_the_client_and_harms_no_later_one(tmp_path: Path) -> None:
    answers = [b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", ACCEPTED]

    async def exit_(stream: Stream) -> None:
        _, rest = await read_head(stream)
        answer = answers.pop(0)
        stream.write(answer)  # and after a 403 it leaves the stream open, as v1 does
        if answer is ACCEPTED:
            stream.write(rest)
            await pump(stream, stream)

    async with v1_mesh(tmp_path) as made:
        party, listen = await port_to(made, exit_)
        with pytest.raises(ConnectionResetError):
            await talk(listen, b"hello")
        path = f"/api/meshes/m/apps/ztm/port/api/endpoints/{party.id}/ports"
        assert "403 Forbidden" in (await party.ask("GET", path))[0]["lastError"]["message"]
        assert await talk(listen, b"hello") == b"hello"


async def test_a_v1_endpoint_carries_udp(tmp_path: Path) -> None:
    async def exit_(stream: Stream) -> None:
        head, rest = await read_head(stream)
        assert head.split(b"\r\n")[0] == b"CONNECT /api/targets/udp/10.1.1.1%3A53 HTTP/1.1"
        stream.write(ACCEPTED)
        while len(rest) < 2 + 8:
            rest += await stream.read()
        assert rest[0] in (0x81, 0x82)
        assert rest[1:] == b"\x08question"
        stream.write(frame(b"\xff\xfe answer"))
        await stream.ended()

    async with v1_mesh(tmp_path) as made:
        _, listen = await port_to(made, exit_, "udp")
        async with datagrams(listen) as (client, answers):
            client.sendto(b"question")
            assert await answers.came.get() == b"\xff\xfe answer"


async def enter(made: V1Mesh, path: str, early: bytes, user: str = "root") -> tuple[Stream, bytes, bytes]:
    """A CONNECT as v1's port makes it; the answer's head, and what came with it."""
    stream = (await made.hub.passive()).http.open("CONNECT", ENTER + user)
    assert (await stream.head()).status == 200
    stream.write(f"CONNECT /api/targets/{path} HTTP/1.1\r\nconnection: keep-alive\r\n\r\n".encode() + early)
    head, rest = await read_head(stream)
    return stream, head, rest


@pytest.mark.parametrize("colon", ["%3A", ":"])
async def test_a_v1_entry_of_the_owner_reaches_what_it_names(tmp_path: Path, colon: str) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        await made.joined()
        stream, head, came = await enter(made, f"tcp/{LOOPBACK}{colon}{port}", b"hello")
        assert head.startswith(b"HTTP/1.1 200 ")
        stream.end()
        assert came + await stream.rest() == b"hello<end>"


async def test_a_v1_entry_of_another_user_needs_an_entry_of_the_list(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        party = await made.joined(user="bob")
        await configure(party, [], [{"protocol": "tcp", "address": LOOPBACK, "port": port, "users": ["root"]}])
        stream, head, came = await enter(made, f"tcp/{LOOPBACK}%3A{port}", b"hello")
        assert head.startswith(b"HTTP/1.1 200 ")
        stream.end()
        assert came + await stream.rest() == b"hello<end>"
        for path, user in ((f"tcp/{LOOPBACK}%3A{port}", "alice"), (f"tcp/{LOOPBACK}%3A1", "root")):
            stream, head, _ = await enter(made, path, b"hello", user)
            assert head.startswith(b"HTTP/1.1 403 ")
            async with asyncio.timeout(PATIENCE):
                await stream.rest()  # our side is ended by us: v1 would use the stream again


async def test_a_v1_entry_carries_udp(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, datagrams() as (server, _):
        await made.joined()
        port = server.get_extra_info("sockname")[1]
        stream, _, answer = await enter(made, f"udp/{LOOPBACK}%3A{port}", frame(b"\xffbinary"))
        answer += await stream.exactly(2 + 10 - len(answer))
        assert answer[0] in (0x81, 0x82)
        assert answer[1:] == b"\x0are:\xffbinary"


async def test_the_configuration_of_a_v1_endpoint_is_written_in_its_forms(tmp_path: Path) -> None:
    said: list[bytes] = []
    acl = [{"protocol": "tcp", "address": "10.0.0.1", "users": ["bob"]}]

    async def exit_(stream: Stream) -> None:
        head, rest = await read_head(stream)
        said.append(head.split(b"\r\n")[0])
        while not rest.endswith(b"]}"):
            rest += await stream.read()
        said.append(rest)
        stream.write(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
        stream.end()

    async with v1_mesh(tmp_path) as made:
        party, endpoint = await made.joined(), str(uuid4())
        made.hub.exits[endpoint] = exit_
        path = f"/api/meshes/m/apps/ztm/port/api/endpoints/{endpoint}/config"
        assert await party.ask("POST", path, {"ports": [], "acl": acl}) is None
    assert said == [
        b"POST /api/config HTTP/1.1",
        b'{"ports":[],"acl":[{"address":"10.0.0.1","users":["bob"],"protocol":"tcp"}]}',
    ]
