"""Tunnels of our agents with v1-like exits and entries, through a v1-like hub."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from tunnel_ends import LOOPBACK, client, datagrams, frame, talk, target
from v1_hub import pump
from v1_mesh import Party, V1Mesh, v1_mesh

from v1_http import PATIENCE, Stream

CALLER = "src=77777777-1111-1111-1111-111111111111&ip=10.1.2.3&port=777&username=root"
ENTER = "/api/apps/ztm/tunnel?" + CALLER

# ---------------------------------------------------------------------- a v1-like exit


async def inbound_to(
    made: V1Mesh, exit_: Callable[[Stream], Awaitable[None]], key: str = "tcp/web"
) -> tuple[Party, int]:
    """An inbound of ours to a scripted exit."""
    party, endpoint = await made.joined(), str(uuid4())
    made.hub.exits[endpoint] = exit_
    return party, await party.inbound(key, endpoint)


async def read_head(stream: Stream) -> tuple[bytes, bytes]:
    """An HTTP/1.1 head, and what came right behind it."""
    data = b""
    while b"\r\n\r\n" not in data and (more := await stream.read()):
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


async def v1_exit(stream: Stream) -> None:
    """The tunnel app of v1, with an echo for a target."""
    head, rest = await read_head(stream)
    assert head.split(b"\r\n")[0] == b"CONNECT /api/outbound/tcp/web HTTP/1.1"
    stream.write(b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n" + rest)
    await pump(stream, stream)


async def test_a_v1_exit_carries_tcp(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        _, listen = await inbound_to(made, v1_exit)
        assert await talk(listen, b"hello") == b"hello"


async def test_head_and_first_bytes_leave_before_the_hub_answers(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        gate = made.hub.gates["app"] = asyncio.Event()

        async def accepts(stream: Stream) -> None:
            stream.write(b"HTTP/1.1 200 OK\r\n\r\nanswer")

        _, listen = await inbound_to(made, accepts)
        async with client(listen) as (reader, writer):
            writer.write(b"hello")
            await made.hub.until(lambda: any(link.apps for link in made.hub.links))
            stream = made.hub.asked[-1].stream
            assert stream is not None
            seen = b""
            while not seen.endswith(b"\r\n\r\nhello"):
                seen += await stream.exactly(1)
            assert seen.startswith(b"CONNECT /api/outbound/tcp/web HTTP/1.1\r\n")
            gate.set()
            assert await reader.readexactly(6) == b"answer"


async def answers_nothing(stream: Stream) -> None:
    stream.end()


async def forbids(stream: Stream) -> None:
    await read_head(stream)
    stream.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n")
    stream.end()


async def knows_no_outbound(stream: Stream) -> None:
    await read_head(stream)
    stream.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    stream.end()


@pytest.mark.parametrize(
    ("refuses", "reason"),
    [(answers_nothing, "ended before an answer"), (forbids, "403 Forbidden"), (knows_no_outbound, "404 Not Found")],
)
async def test_a_refusing_exit_resets_the_client_and_the_reason_is_shown(
    tmp_path: Path, refuses: Callable[[Stream], Awaitable[None]], reason: str
) -> None:
    async with v1_mesh(tmp_path) as made:
        party, listen = await inbound_to(made, refuses)
        with pytest.raises(ConnectionResetError):
            await talk(listen, b"hello")
        shown = await party.tunnel("GET", "inbound", "tcp/web")
        assert reason in shown["lastError"]["message"]


async def test_an_endpoint_that_the_hub_does_not_know_is_a_refusal(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        listen = await party.inbound("tcp/web", str(uuid4()))
        with pytest.raises(ConnectionResetError):
            await talk(listen, b"hello")
        shown = await party.tunnel("GET", "inbound", "tcp/web")
        assert "404" in shown["lastError"]["message"]


async def test_another_exit_gets_what_a_refusing_one_did_not_take(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        good, bad = str(uuid4()), str(uuid4())
        made.hub.exits = {good: v1_exit, bad: answers_nothing}
        listen = await party.inbound("tcp/web", bad, good)
        for _ in range(3):
            assert await talk(listen, b"hello") == b"hello"


async def test_an_app_on_a_v1_endpoint_is_asked_through_the_hub(tmp_path: Path) -> None:
    async def answer(stream: Stream) -> None:
        head, _ = await read_head(stream)
        assert head.split(b"\r\n")[0] == b"GET /api/inbound HTTP/1.1"
        stream.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]")
        stream.end()

    async with v1_mesh(tmp_path) as made:
        party, endpoint = await made.joined(), str(uuid4())
        made.hub.exits[endpoint] = answer
        assert await party.ask("GET", f"/api/meshes/m/apps/ztm/tunnel/api/endpoints/{endpoint}/inbound") == []


async def v1_udp_exit(stream: Stream) -> None:
    """v1's: text frames, unmasked, long datagrams in fragments; says what the opening frames were."""
    head, rest = await read_head(stream)
    assert head.split(b"\r\n")[0] == b"CONNECT /api/outbound/udp/dns HTTP/1.1"
    stream.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while len(rest) < 2 + 2 + 8:
        rest += await stream.read()
    assert rest[:2] in (b"\x81\x00", b"\x82\x00")
    assert rest[2] in (0x81, 0x82)
    assert rest[3:] == b"\x08question"
    stream.write(frame(b"\xff\xfe answer"))
    stream.write(frame(b"y" * 16384, 0x01) + frame(b"y" * 100, 0x00) + frame(b"", 0x80))
    await stream.ended()


async def test_a_v1_exit_carries_udp(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        _, listen = await inbound_to(made, v1_udp_exit, "udp/dns")
        async with datagrams(listen) as (socket, client):
            socket.sendto(b"question")
            assert await client.came.get() == b"\xff\xfe answer"
            assert await client.came.get() == b"y" * 16484


# ---------------------------------------------------------------------- a v1-like entry


async def enter(made: V1Mesh, key: str, early: bytes, where: str = "passive") -> tuple[Stream, bytes]:
    """A CONNECT as v1's inbound makes it, with `early` right behind; accepted, and what came with the answer."""
    session = await made.hub.passive() if where == "passive" else made.hub.control()
    stream = session.http.open("CONNECT", ENTER)
    assert (await stream.head()).status == 200
    stream.write(f"CONNECT /api/outbound/{key} HTTP/1.1\r\nconnection: keep-alive\r\n\r\n".encode() + early)
    head, rest = await read_head(stream)
    assert head.startswith(b"HTTP/1.1 200 ")
    return stream, rest


@pytest.mark.parametrize("where", ["control", "passive"])
async def test_a_v1_entry_reaches_our_outbound(tmp_path: Path, where: str) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        party = await made.joined()
        await party.outbound("tcp/web", port)
        stream, came = await enter(made, "tcp/web", b"early ", where)
        stream.write(b"late")
        stream.end()
        assert came + await stream.rest() == b"early late<end>"


@pytest.mark.parametrize(("key", "users", "status"), [("tcp/none", ["root"], 404), ("tcp/web", ["alice"], 403)])
async def test_a_v1_entry_is_refused_by_status(tmp_path: Path, key: str, users: list[str], status: int) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        party = await made.joined(user="bob")
        await party.outbound("tcp/web", port, users=users)
        stream = made.hub.control().http.open("CONNECT", ENTER)
        stream.write(f"CONNECT /api/outbound/{key} HTTP/1.1\r\n\r\n".encode())
        assert (await stream.head()).status == 200
        head, _ = await read_head(stream)
        assert head.startswith(b"HTTP/1.1 %d " % status)


async def test_a_v1_entry_chooses_its_exit_over_http2(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        party = await made.joined()
        await party.outbound("tcp/web", port)
        stream = (await made.hub.passive()).http.open("CONNECT", ENTER)
        inner = made.hub.client(stream)
        answer = await inner.ask("GET", "/api/outbound/tcp/web")
        assert (answer.status, answer.json["targets"]) == (200, [{"host": LOOPBACK, "port": port}])
        tunnel = inner.open("CONNECT", "/api/outbound/tcp/web")
        assert (await tunnel.head()).status == 200
        tunnel.write(b"three layers")
        tunnel.end()
        assert await tunnel.rest() == b"three layers<end>"
        await inner.close()


async def test_a_v1_entry_carries_udp(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, datagrams() as (server, _):
        party = await made.joined()
        await party.outbound("udp/dns", server.get_extra_info("sockname")[1])
        stream, answer = await enter(made, "udp/dns", b"\x81\x00" + frame(b"\xffbinary"))
        answer += await stream.exactly(2 + 10 - len(answer))
        assert answer[0] in (0x81, 0x82)
        assert answer[1:] == b"\x0are:\xffbinary"


async def test_a_stopped_app_starts_for_its_owner(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        party = await made.joined()
        await party.outbound("tcp/web", port)
        control = made.hub.control().http
        assert (await control.ask("POST", "/api/apps/ztm/tunnel", {"isRunning": False})).status == 201
        stream, came = await enter(made, "tcp/web", b"hello")
        stream.end()
        assert came + await stream.rest() == b"hello<end>"


async def test_what_is_lost_on_the_way_there_reaches_the_target_as_an_end(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()

    async with v1_mesh(tmp_path) as made, target(watch) as port:
        party = await made.joined()
        await party.outbound("tcp/web", port)
        stream = (await made.hub.passive()).http.open("CONNECT", ENTER)
        stream.write(b"CONNECT /api/outbound/tcp/web HTTP/1.1\r\n\r\nhello")
        assert (await stream.head()).status == 200
        assert (await stream.exactly(12)).startswith(b"HTTP/1.1 200")
        stream.end()  # v1 passes every loss on as an end
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
