"""Mesh files through a hub like v1's: asked for and advertised as v1's agents do it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from v1_mesh import Party, V1Mesh, v1_mesh

import recorded
from ztm.core.files import file_hash
from ztm.net.http1 import Answer
from ztm.rest.client import call_stream

PATH = "/shared/bob/a.txt"
CONTENT = b"hello"
HASH = file_hash(CONTENT, PATH)
SOURCE = "56f6e5f7-a8b2-4363-b9d2-1623b24920d9"
"""The endpoint of the recorded file info."""


async def ask(party: Party, method: str, url: str, body: bytes = b"") -> Answer:
    """What the local API answers, whatever it is."""
    stream = await party.agent.network.dial(party.agent.address)
    fields = [("host", str(party.agent.address)), ("authorization", f"Bearer {party.agent.token}")]
    try:
        return await call_stream(stream, method, f"/api/meshes/m{url}", body=body, headers=fields, timeout=10.0)
    finally:
        stream.abort()


def offer(made: V1Mesh, content: bytes = CONTENT, *sources: str) -> None:
    """Have the hub tell of a file in the recorded form, and pass its content on as it did."""
    told: dict[str, Any] = json.loads(recorded.load("hub-26").response_body)
    told |= {"#": HASH, "$": len(CONTENT), "@": list(sources or (SOURCE,))}
    made.hub.answers["GET", f"/api/filesystem{PATH}"] = (200, json.dumps(told).encode())
    for source in sources or (SOURCE,):
        made.hub.answers["GET", f"/api/endpoints/{source}/file-data/{HASH}"] = (200, content)


async def test_a_file_is_fetched_by_the_recorded_requests_and_then_advertised(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(user="alice")
        offer(made)
        answer = await ask(party, "GET", f"/file-data{PATH}")
        assert (answer.status, answer.body) == (200, CONTENT)
        await made.hub.until(lambda: PATH in made.hub.files)
        asked = [
            one for one in made.hub.asked if one.path.startswith(("/api/filesystem/", f"/api/endpoints/{SOURCE}/"))
        ]
        info, data = recorded.load("hub-26"), recorded.load("hub-30")
        assert [(one.method, one.path, one.query) for one in asked] == [
            (info.method, info.path, {}),
            (data.method, data.path.replace("h1", HASH), {}),
        ]
        wanted = json.loads(recorded.load("agent-filesystem").request_body)
        assert made.hub.files[PATH].keys() - {"+"} == wanted["/users/root/a.txt"].keys()
        told = json.loads(info.response_body)
        assert (made.hub.files[PATH]["T"], made.hub.files[PATH]["$"]) == (told["T"], len(CONTENT))


async def test_of_sources_that_have_it_not_or_send_it_wrong_the_next_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ztm.agent.files.fetch.random.shuffle", lambda _sources: None)
    other, third = SOURCE.replace("56", "66"), SOURCE.replace("56", "76")
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(user="alice")
        offer(made, CONTENT, other, third, SOURCE)
        made.hub.answers["GET", f"/api/endpoints/{other}/file-data/{HASH}"] = (404, b"")
        made.hub.answers["GET", f"/api/endpoints/{third}/file-data/{HASH}"] = (200, b"hell0")
        answer = await ask(party, "GET", f"/file-data{PATH}")
        assert (answer.status, answer.body) == (200, CONTENT)


async def test_what_no_source_sends_right_is_a_failure_that_leaves_nothing(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(user="alice")
        offer(made, b"hello!")
        answer = await ask(party, "GET", f"/file-data{PATH}")
        assert answer.status == 503
        assert SOURCE in json.loads(answer.body)["message"]
        assert list((made.folder / "agent0" / "meshes" / "m" / "fs").iterdir()) == []
        assert PATH not in made.hub.files


async def test_a_hash_of_no_visible_file_is_not_asked_for_although_the_hub_would_give_it(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(user="alice")
        offer(made)
        url = f"/endpoints/{SOURCE}/file-data/{HASH}"
        assert (await ask(party, "GET", url)).status == 404
        assert not any("file-data" in one.path for one in made.hub.asked)
        made.hub.store({PATH: {"#": HASH, "$": len(CONTENT), "T": 5}})
        answer = await ask(party, "GET", url)
        assert (answer.status, answer.body) == (200, CONTENT)


async def test_a_held_long_poll_asks_a_hub_nothing_more(tmp_path: Path) -> None:
    """A v1 hub keeps a poll that was given up, so each one that is held here must not become one there."""
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(user="alice")
        await made.hub.until_asked("GET", "/api/filesystem")
        polls = [asyncio.ensure_future(ask(party, "GET", "/files?since=1&wait=true")) for _ in range(5)]
        await ask(party, "GET", "/log")
        made.hub.store({PATH: {"#": HASH, "$": len(CONTENT), "T": 5}})
        answers = await asyncio.gather(*polls)
        assert all(json.loads(answer.body).keys() == {PATH} for answer in answers)
        assert sum("wait" in one.query for one in made.hub.asked) <= 2
