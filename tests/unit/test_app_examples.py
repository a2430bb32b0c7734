"""The examples, as their authors would test them: on two endpoints in memory, with their manifests' permissions."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ztm.apps.manifest import Manifest, read_manifest
from ztm.errors import UsageError
from ztm_app.testing import two_endpoints

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def manifest(name: str) -> Manifest:
    return read_manifest((EXAMPLES / name / "ztm-app.toml").read_bytes())


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the example that the test is about."""
    name: str = request.param
    monkeypatch.syspath_prepend(EXAMPLES / name)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield importlib.import_module(name)
    del sys.modules[name]


def test_there_are_a_smallest_a_talking_and_a_fastapi_one() -> None:
    assert NAMES == ["board", "hello", "talk"]
    assert [manifest(name).name for name in NAMES] == NAMES


@pytest.mark.parametrize("example", ["hello"], indirect=True)
async def test_hello_greets_and_remembers_who_did(example: ModuleType) -> None:
    granted = manifest("hello").permissions
    async with two_endpoints(example.app, permissions=granted) as (a, b):
        assert (await a.get(f"/api/hello/{b.id}")).json() == {"from": "a", "reply": {"name": "b", "you": "alice"}}
        assert (await a.run("say", "b")).out == "Hello from b\n"
        assert (await b.as_peer("mallory", "GET", "/whoami")).status == 403


@pytest.mark.parametrize("example", ["talk"], indirect=True)
async def test_talk_knows_who_says_what_whatever_they_claim(example: ModuleType) -> None:
    granted = manifest("talk").permissions
    async with two_endpoints(example.app, users=("alice", "bob"), permissions=granted) as (a, b):
        assert (await a.run("tell", "b", "hi")).status == 0
        assert (await b.as_peer("carol", "POST", "/messages", {"text": "me too", "user": "alice"})).status == 204
        assert (await b.run("inbox")).out == "alice: hi\ncarol: me too\n"
        assert (await a.get("/api/inbox")).json() == []
        await a.post("/api/history", {"text": "first"})
        await b.post("/api/history", {"text": "second", "user": "alice"})
        said = [(one["user"], one["text"]) for one in (await a.get("/api/history")).json()]
        assert said == [("alice", "first"), ("bob", "second")]


@pytest.mark.parametrize("example", ["talk"], indirect=True)
async def test_talk_takes_no_message_without_or_with_too_much_text(example: ModuleType) -> None:
    async with two_endpoints(example.app) as (a, _):
        for text in ("", "x" * 2001):
            assert (await a.as_peer("bob", "POST", "/messages", {"text": text})).status == UsageError.status
        for _ in range(105):
            await a.as_peer("bob", "POST", "/messages", {"text": "x"})
        assert len((await a.get("/api/inbox")).json()) == 100


@pytest.mark.parametrize("example", ["board"], indirect=True)
async def test_board_puts_notes_up_and_takes_them_down(example: ModuleType) -> None:
    pytest.importorskip("fastapi")
    async with two_endpoints(example.app, permissions=manifest("board").permissions) as (a, _):
        assert (await a.post("/api/notes", {"text": "milk"})).status == 201
        assert (await a.get("/api/notes")).json() == [{"text": "milk"}]
        assert (await a.post("/api/notes", {"text": ""})).status == 422
        assert (await a.request("DELETE", "/api/notes/1")).status == 404
        assert (await a.request("DELETE", "/api/notes/0")).status == 204
        assert (await a.get("/api/notes")).json() == []
