"""The proxy app with v1-like exits and entries, through a v1-like hub (spec apps-network 2)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tunnel_ends import LOOPBACK, client, greet, target
from v1_hub import pump
from v1_mesh import Party, V1Mesh, free_port, v1_mesh

from v1_http import PATIENCE, Stream
from ztm.core.files import file_hash

ENTER = "/api/apps/ztm/proxy?src=77777777-1111-1111-1111-111111111111&ip=10.1.2.3&port=777&username="
ACCEPTED = b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"
CA_PEM = "-----BEGIN CERTIFICATE-----\n"


async def read_head(stream: Stream) -> tuple[bytes, bytes]:
    """An HTTP/1.1 head, and what came right behind it."""
    data = b""
    while b"\r\n\r\n" not in data and (more := await stream.read()):
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


async def configure(party: Party, **body: Any) -> dict[str, Any]:
    path = f"/api/meshes/{party.mesh.name}/apps/ztm/proxy/api/endpoints/{party.id}/config"
    shown: dict[str, Any] = await party.ask("POST", path, body)
    return shown


async def exits(party: Party) -> list[str]:
    path = f"/api/meshes/{party.mesh.name}/apps/ztm/proxy/api/endpoints/{party.id}/exits"
    return [one["endpoint"] for one in await party.ask("GET", path)]


# ---------------------------------------------------------------------- a v1-like exit


def offer(made: V1Mesh, exit_: Callable[[Stream], Awaitable[None]], user: str = "root", *targets: str) -> str:
    """A v1 endpoint that publishes its targets as v1 does, and whose streams are scripted; its id."""
    endpoint = str(uuid4())
    made.hub.exits[endpoint] = exit_
    content = json.dumps({"targets": targets or ["*", "10.0.0.0/8"], "exclusions": []}).encode()
    path = f"/apps/ztm/proxy/shared/{user}/{endpoint}/config.json"
    told = {"T": 5, "#": file_hash(content, path), "$": len(content)}
    made.hub.answers["GET", f"/api/filesystem{path}"] = (200, json.dumps({**told, "@": [endpoint]}).encode())
    made.hub.answers["GET", f"/api/endpoints/{endpoint}/file-data/{told['#']}"] = (200, content)
    made.hub.store({path: told})
    return endpoint


async def entry(made: V1Mesh, *known: str, **body: Any) -> tuple[Party, int]:
    """A listening proxy of ours that knows these exits; its port."""
    party, port = await made.joined(), free_port()
    await configure(party, listen=f"{LOOPBACK}:{port}", **body)
    async with asyncio.timeout(PATIENCE):
        while set(await exits(party)) != set(known):
            await asyncio.sleep(0.01)
    return party, port


async def connect(port: int, where: str, said: bytes = b"hello") -> tuple[bytes, bytes]:
    """An HTTP CONNECT by our port; the answer's first line, and what came back for `said`."""
    async with client(port) as (reader, writer):
        writer.write(f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n\r\n".encode())
        line = (await reader.readuntil(b"\r\n")).strip()
        if b" 200 " not in line:
            return line, await reader.read()
        await reader.readuntil(b"\r\n")
        writer.write(said)
        return line, await reader.readexactly(len(said))


async def v1_exit(stream: Stream) -> None:
    """v1's: 200 at once, and nothing more before the client's first bytes."""
    head, rest = await read_head(stream)
    assert head == b"CONNECT /api/targets/web.test:80 HTTP/1.1\r\nconnection: keep-alive"
    stream.write(ACCEPTED)
    stream.write(rest or await stream.read())
    await pump(stream, stream)


async def test_a_v1_exit_is_known_by_its_file_and_carries_streams(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        exit_ = offer(made, v1_exit)
        _, port = await entry(made, exit_)
        line, back = await connect(port, "web.test:80")
        assert (line.split()[1], back) == (b"200", b"hello")


async def test_an_address_is_sent_unencoded_and_that_of_ipv6_in_brackets(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def exit_(stream: Stream) -> None:
        head, rest = await read_head(stream)
        heads.append(head.split(b"\r\n")[0])
        stream.write(ACCEPTED + rest)
        await pump(stream, stream)

    async with v1_mesh(tmp_path) as made:
        _, port = await entry(made, offer(made, exit_, "root", "10.0.0.0/8", "::1/128"))
        await connect(port, "10.9.1.1:80")
        await connect(port, "[::1]:80")
        assert heads == [b"CONNECT /api/targets/10.9.1.1:80 HTTP/1.1", b"CONNECT /api/targets/[::1]:80 HTTP/1.1"]


async def test_a_v1_exit_that_denies_and_keeps_its_stream_open_harms_no_later_client(tmp_path: Path) -> None:  # P2
    async def exit_(stream: Stream) -> None:
        head, _ = await read_head(stream)
        if b"denied.test" in head:
            stream.write(FORBIDDEN)
            await stream.ended()
            return
        stream.write(ACCEPTED)
        await pump(stream, stream)

    async with v1_mesh(tmp_path) as made:
        _, port = await entry(made, offer(made, exit_))
        for _ in range(3):
            line, _ = await connect(port, "denied.test:80")
            assert line.split()[1] == b"403"
            line, back = await connect(port, "fine.test:80")
            assert (line.split()[1], back) == (b"200", b"hello")


async def test_a_v1_exit_of_another_user_is_not_used_unless_that_user_is_named(tmp_path: Path) -> None:  # P1
    async with v1_mesh(tmp_path) as made:
        theirs = offer(made, v1_exit, "mallory")
        party, port = await entry(made)
        line, _ = await connect(port, "web.test:80")
        assert line.split()[1] == b"502"
        await configure(party, listen=f"{LOOPBACK}:{port}", fromUsers=["mallory"])
        async with asyncio.timeout(PATIENCE):
            while await exits(party) != [theirs]:
                await asyncio.sleep(0.01)
        line, _ = await connect(port, "web.test:80")
        assert line.split()[1] == b"200"


# ---------------------------------------------------------------------- a v1-like entry


async def ask(made: V1Mesh, path: str, user: str) -> Any:
    """What v1's entry asks before each connection: over HTTP/2 inside an app stream."""
    stream = (await made.hub.passive()).http.open("CONNECT", ENTER + user)
    inner = made.hub.client(stream)
    answer = await inner.ask("GET", path)
    await inner.close()
    return answer


async def enter(made: V1Mesh, where: str, early: bytes, user: str = "root") -> tuple[Stream, bytes, bytes]:
    """v1's data stream over HTTP/1.1; the answer's head, and what came behind it."""
    stream = (await made.hub.passive()).http.open("CONNECT", ENTER + user)
    assert (await stream.head()).status == 200
    stream.write(f"CONNECT /api/targets/{where} HTTP/1.1\r\nconnection: keep-alive\r\n\r\n".encode() + early)
    return stream, *await read_head(stream)


async def test_a_v1_entry_finds_our_exit_by_its_file_and_its_configuration(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        shown = await configure(party, targets=["*.test"], exclusions=["bad.test"], rules=[{"action": "allow"}])
        path = f"/apps/ztm/proxy/shared/root/{party.id}/config.json"
        await made.hub.until(lambda: path in made.hub.files)
        digest = made.hub.files[path]["#"]
        content = (await made.hub.control().http.ask("GET", f"/api/file-data/{digest}")).json
        assert (content["targets"], content["exclusions"]) == (["*.test"], ["bad.test"])
        answer = await ask(made, "/api/config", "somebody")
        assert answer.status == 200
        assert (answer.json["targets"], answer.json["exclusions"]) == (["*.test"], ["bad.test"])
        assert "rules" not in answer.json
        assert (await ask(made, "/api/config", "root")).json["rules"] == shown["rules"]
        assert (await ask(made, "/api/ca", "root")).status == 404
        await configure(party, targets=[])
        await made.hub.until(lambda: made.hub.files[path]["$"] < 0)


async def test_a_v1_entry_goes_through_our_exit(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        party = await made.joined()
        await configure(party, targets=["127.0.0.0/8", "*"])
        stream, head, came = await enter(made, f"{LOOPBACK}:{port}", b"early ")
        assert head.startswith(b"HTTP/1.1 200 ")
        stream.write(b"late")
        stream.end()
        assert came + await stream.rest() == b"early late<end>"


async def test_a_v1_entry_hears_a_server_that_speaks_first(tmp_path: Path) -> None:  # P3
    async with v1_mesh(tmp_path) as made, target(greet) as port:
        await configure(await made.joined(), targets=["127.0.0.0/8"])
        stream, head, came = await enter(made, f"{LOOPBACK}:{port}", b"")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert came + await stream.exactly(11 - len(came)) == b"SSH-2.0-x\r\n"


@pytest.mark.parametrize(
    ("where", "user", "status"),
    [
        ("10.1.1.1:80", "root", 403), (f"{LOOPBACK}:1", "root", 502), ("no.such.name.invalid:80", "root", 404),
        ("nonsense", "root", 400), (f"{LOOPBACK}:1", "mallory", 403),
    ],
)  # fmt: skip
async def test_a_v1_entry_is_refused_by_status_and_the_stream_is_ended(
    tmp_path: Path, where: str, user: str, status: int
) -> None:
    """A stream that is left open after a refusal makes v1's next connection hang (spec apps-network 7 rule 1)."""
    async with v1_mesh(tmp_path) as made:
        await configure(await made.joined(), targets=["127.0.0.0/8", "*"])
        stream, head, _ = await enter(made, where, b"early", user)
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"ztm-error: " in head
        async with asyncio.timeout(PATIENCE):
            await stream.ended()


async def test_a_v1_endpoint_configures_ours_for_its_owner_alone(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await configure(await made.joined(), targets=["a.test"])
        body = {"listen": "", "targets": ["b.test"], "exclusions": [], "generateCert": True, "log": None, "rules": []}
        for user, status in (("mallory", 403), ("root", 201)):
            stream = (await made.hub.passive()).http.open("CONNECT", ENTER + user)
            inner = made.hub.client(stream)
            assert (await inner.ask("POST", "/api/config", body)).status == status
            await inner.close()
        assert (await ask(made, "/api/config", "mallory")).json["targets"] == ["b.test"]
        authority = await ask(made, "/api/ca", "mallory")
        assert (authority.status, authority.text.startswith(CA_PEM)) == (200, True)
