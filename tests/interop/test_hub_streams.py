"""App streams through the hub: one CONNECT joined to another, byte for byte."""

import asyncio
from pathlib import Path

import pytest

from hub_client import Agent, Mesh, echo, mesh, until
from v1_http import PATIENCE, Stream

MANY = 3 << 20
"""Bytes beyond every window on the way."""


async def pair(made: Mesh) -> tuple[Agent, Agent]:
    return await made.agent("bob", "source"), await made.agent("alice", "target")


async def test_bytes_go_both_ways_unchanged(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        stream = await made.app(source, target.id)
        assert (await stream.head()).status == 200
        data = bytes(range(256)) * (MANY // 256)
        stream.write(data)
        assert await stream.exactly(MANY) == data


async def test_early_data_reaches_a_target_that_has_not_answered_yet(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)

        async def reads_first(stream: Stream) -> None:
            said = await stream.exactly(5)
            stream.respond(200)
            stream.write(b"you said " + said)

        target.app = reads_first
        stream = await made.app(source, target.id, early=b"hello")
        assert await stream.exactly(14) == b"you said hello"


async def test_a_target_may_speak_first(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)

        async def greets(stream: Stream) -> None:
            stream.respond(200)
            stream.write(b"SSH-2.0")

        target.app = greets
        assert await (await made.app(source, target.id)).exactly(7) == b"SSH-2.0"


async def test_a_targets_refusal_comes_back_whole(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)

        async def refuses(stream: Stream) -> None:
            stream.say(404, b"no such app here", "text/plain")

        target.app = refuses
        answer = await (await made.app(source, target.id, early=b"x" * 1000)).answer()
        assert (answer.status, answer.text) == (404, "no such app here")
        assert made.hub.state.relayed == 0


async def test_a_status_that_means_nothing_becomes_502(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)

        async def confuses(stream: Stream) -> None:
            stream.say(999)

        target.app = confuses
        assert (await (await made.app(source, target.id)).answer()).status == 502


async def test_a_target_that_never_answers_becomes_504(tmp_path: Path) -> None:
    async with mesh(tmp_path, answer_timeout=0.2) as made:
        source, target = await pair(made)
        cut = asyncio.Event()

        async def hangs(stream: Stream) -> None:
            await stream.ended()
            cut.set()

        target.app = hangs
        answer = await (await made.app(source, target.id)).answer()
        assert answer.status == 504
        await asyncio.wait_for(cut.wait(), PATIENCE)
        assert made.hub.state.relayed == 0


async def test_a_target_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        target.control.end()
        await asyncio.wait_for(target.nested.closed.wait(), PATIENCE)
        answer = await (await made.app(source, target.id)).answer()
        assert (answer.status, answer.text) == (503, "Agent not found")


async def test_a_target_that_dies_before_its_answer_ends_the_callers_wait(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        asked = asyncio.Event()

        async def hangs(stream: Stream) -> None:
            asked.set()
            await stream.ended()

        target.app = hangs
        stream = await made.app(source, target.id)
        await asyncio.wait_for(asked.wait(), PATIENCE)
        await target.outer.close()
        assert (await stream.answer()).status == 502


async def test_the_end_of_one_side_leaves_the_other_open(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        taken: asyncio.Queue[Stream] = asyncio.Queue()

        async def accepts(stream: Stream) -> None:
            stream.respond(200)
            taken.put_nowait(stream)

        target.app = accepts
        for caller_first in (True, False):
            caller = await made.app(source, target.id)
            await caller.head()
            here, there = caller, await taken.get()
            if not caller_first:
                here, there = there, here
            here.write(b"the last of me")
            here.end()
            assert await there.rest() == b"the last of me"
            there.write(b"and I go on")
            assert await here.exactly(11) == b"and I go on"
            there.end()
            assert await here.rest() == b""
            assert (here.reset_code, there.reset_code) == (None, None)


async def test_nothing_is_lost_when_both_sides_have_ended_and_one_is_slow(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        taken: asyncio.Queue[Stream] = asyncio.Queue()

        async def accepts(stream: Stream) -> None:
            stream.refills = False
            stream.respond(200)
            stream.end()
            taken.put_nowait(stream)

        target.app = accepts
        caller = await made.app(source, target.id)
        slow = await taken.get()
        caller.write(b"x" * (3 << 19))  # half as much again as the window, so the rest waits in the hub
        caller.end()
        await caller.ended()
        assert len(await slow.exactly(1 << 20)) == 1 << 20
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow.read(), 0.1)
        slow.credit(1 << 20)
        assert len(await slow.rest()) == 1 << 19


async def test_a_reset_on_one_side_cuts_the_other(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        taken: asyncio.Queue[Stream] = asyncio.Queue()

        async def accepts(stream: Stream) -> None:
            stream.respond(200)
            taken.put_nowait(stream)

        target.app = accepts
        for caller_first in (True, False):
            caller = await made.app(source, target.id)
            await caller.head()
            here, there = caller, await taken.get()
            if not caller_first:
                here, there = there, here
            here.reset()
            await there.ended()
            assert there.reset_code is not None

        async def is_settled() -> bool:
            await source.outer.ask("GET", "/api/status")
            return made.hub.state.relayed == 0

        await until(is_settled)


async def test_a_caller_whose_connection_is_cut_ends_the_targets_stream(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        taken: asyncio.Queue[Stream] = asyncio.Queue()

        async def accepts(stream: Stream) -> None:
            stream.respond(200)
            taken.put_nowait(stream)

        target.app = accepts
        caller = await made.app(source, target.id)
        await caller.head()
        await caller.connection.close()
        await (await taken.get()).ended()


async def test_a_stalled_stream_holds_little_and_stops_no_other(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)

        async def swallows(stream: Stream) -> None:
            stream.refills = False
            stream.respond(200)

        target.app = swallows
        stalled = await made.app(source, target.id)
        await stalled.head()
        stalled.write(b"x" * (20 << 20))
        target.app = echo
        stream = await made.app(source, target.id)
        stream.write(b"y" * MANY)
        assert len(await stream.exactly(MANY)) == MANY
        assert stalled.unsent > 17 << 20, "the hub and both windows take no more than 3 MiB of it"


async def test_a_provider_is_optional_and_names_are_passed_on_encoded(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        for app in ("tunnel", "ztm/tunnel@v2", "ztm/a%26b%3Fc%23d%25e%20f%2Fg", "z%C3%A9/%E7%BD%91"):
            stream = await made.app(source, target.id, app, early=b"x")
            assert await stream.exactly(1) == b"x"
            assert target.connects()[-1][1].partition("?")[0] == f"/api/apps/{app}"


async def test_rates_are_shown_with_their_peers(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        stream = await made.app(source, target.id, early=b"x" * 1000)
        await stream.exactly(1000)
        made.hub.state.traffic.sample(1.0)
        one = (await source.outer.ask("GET", f"/api/stats/endpoints/{source.id}")).json
        assert (one["send"], one["receive"]) == (1000, 1000)
        assert one["peers"] == {target.id: {"send": 1000, "receive": 1000}}
        every = (await source.outer.ask("GET", "/api/stats/endpoints")).json
        assert every[target.id] == {"send": 1000, "receive": 1000}


async def test_open_streams_count_as_the_hubs_load(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        streams = [await made.app(source, target.id, early=b"x") for _ in range(3)]
        for stream in streams:
            await stream.exactly(1)
        assert (await source.outer.ask("GET", "/api/status")).json["load"] == {"agents": 2, "sessions": 3}


async def test_a_connect_over_http1_is_joined_as_well(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await pair(made)
        wire = await made.dial("bob")
        wire.write(f"CONNECT /api/endpoints/{target.id}/apps/ztm/tunnel?src={source.id} HTTP/1.1\r\n\r\nhi".encode())
        seen = b""
        async with asyncio.timeout(PATIENCE):
            while not seen.endswith(b"\r\n\r\nhi"):
                more = await wire.read()
                assert more, seen
                seen += more
        assert seen.startswith(b"HTTP/1.1 200 ")
