"""Every recorded exchange with a hub, played again: same statuses, same JSON shapes, same texts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hub_client import Agent, Mesh, mesh
from recorded import VECTORS, Exchange, all_names, load
from v1_http import Answer, Http2
from ztm.pki import fingerprint, identity_of

BOB_EP = "56f6e5f7-a8b2-4363-b9d2-1623b24920d9"
ROOT_EP = "16bad3a3-38a5-4929-8b2e-b4e20539a492"
WITH_SESSION = {"13", "22", "32", "45"}
AS_ROOT = {"08", "09", "24", "27", "34", "50", "51", "52", "53", "57"}
AS_ALICE = {"36", "38"}
WITH_ACL = {"33", "34", "35", "36"}
EVICTED = {"53", "54", "55", "57"}
LATER = {
    "/shared/bob/a.txt": {"T": 1795431879283, "#": "hNEW", "$": 3},
    "/shared/bob/new.txt": {"T": 1795431885752, "#": "hn", "$": 3},
}
"""What bob advertised between two recorded exchanges."""
NOT_A_REQUEST_ALONE = {"29"}  # the long poll has a test of its own
VOLATILE = {
    "id",
    "since",
    "start",
    "end",
    "heartbeat",
    "ping",
    "time",
    "expiration",
    "port",
    "+",
    "T",
    "names",
    "ports",
}
"""Fields that differ from run to run; their kind is compared."""


def number(name: str) -> str:
    return name.split("-")[1]


EXCHANGES = [name for name in all_names("hub") if number(name) not in NOT_A_REQUEST_ALONE]


class Scene:
    """The mesh of the recording: root and bob with an endpoint each, and bob's files."""

    def __init__(self, made: Mesh) -> None:
        self.mesh = made
        self.bob: Agent
        self.users: dict[str, Http2] = {}

    async def set(self, step: str) -> None:
        """Bring it to the state that the recording was in before `step`."""
        self.bob = await self.mesh.agent("bob", "bob ep", BOB_EP)
        self.bob.files["h1"] = b"HELLO"
        await self.mesh.agent("root", "ep-1", ROOT_EP)
        for user in ("root", "bob", "alice"):
            self.users[user] = await self.mesh.connect(user)
        await self.play("hub-22")
        if step in WITH_ACL:
            await self.play("hub-32")
        if step == "36":
            await self.bob.outer.ask("POST", "/api/filesystem", LATER)
        if step == "46":
            await self.play("hub-45")
        if step in EVICTED:
            await self.play("hub-52")

    async def play(self, name: str) -> Answer:
        exchange, step = load(name), number(name)
        if step in WITH_SESSION:
            connection = self.bob.outer
        else:
            connection = self.users["root" if step in AS_ROOT | EVICTED else "alice" if step in AS_ALICE else "bob"]
        if exchange.method == "CONNECT":
            return await connection.open("CONNECT", exchange.path).answer()
        return await connection.ask(exchange.method, self._path(exchange), self._body(step, exchange))

    def _path(self, exchange: Exchange) -> str:
        """Times in queries are by the hub's clock."""
        return re.sub(r"since=\d+", f"since={self.mesh.hub.state.since_ms - 1000}", exchange.path)

    def _body(self, step: str, exchange: Exchange) -> bytes:
        return self.mesh.credential("bob").public if step == "10" else exchange.request_body


@pytest.mark.parametrize("name", EXCHANGES)
async def test_a_hub_answers_as_was_recorded(name: str, tmp_path: Path) -> None:
    recorded = load(name)
    async with mesh(tmp_path) as made:
        scene = Scene(made)
        await scene.set(number(name))
        answer = await scene.play(name)
        assert answer.status == recorded.status, answer.text
        kind = dict(recorded.response_headers).get("content-type")
        if kind:
            assert answer.kind == kind
        if "sign" in name and recorded.status == 201:
            check_certificate(answer.text, recorded)
        elif kind == "application/json" or recorded.response_body[:1] in (b"[", b"{"):
            alike(recorded=comparable(json.loads(recorded.response_body)), ours=comparable(answer.json))
        elif recorded.response_body:
            assert answer.body == recorded.response_body
        else:
            assert not answer.body or not 200 <= answer.status < 300, "errors may tell a reason, successes are empty"
        assert not {"content-length", "connection", "transfer-encoding"} & set(dict(answer.fields))


def check_certificate(pem: str, recorded: Exchange) -> None:
    ours, theirs = identity_of(pem), identity_of(recorded.response_body.decode().strip() + "\n")
    assert ours.user == theirs.user
    if "BEGIN PUBLIC KEY" in recorded.request_body.decode() and ours.user != "bob":
        assert ours.key == theirs.key == fingerprint(recorded.request_body.decode().strip() + "\n")


def comparable(value: Any) -> Any:
    """Only what both meshes have: lists without other endpoints than that of bob, and one hub id for all hubs."""
    if isinstance(value, list):
        listed = [one for one in value if not isinstance(one, dict) or one.get("id", BOB_EP) == BOB_EP]
        return sorted(listed, key=lambda one: str(one.get("id")) if isinstance(one, dict) else str(one))
    if isinstance(value, dict):
        known = {key: one for key, one in value.items() if not re.fullmatch(r"[0-9a-f-]{36}|aaaa.*|eee.*", key)}
        listed = {key: one for key, one in value.items() if key in (BOB_EP, ROOT_EP)}
        hubs = [one for key, one in value.items() if key not in known and isinstance(one, dict) and "ports" in one]
        return {**known, **listed, **({"hub": hubs[0]} if hubs else {})}
    return value


def alike(recorded: Any, ours: Any, at: str = "") -> None:
    """Same keys, same kinds, and the same values but for what must differ."""
    key = at.rpartition(".")[2]
    if key in ("ztm", "pipy", "version"):
        assert isinstance(ours, dict) == isinstance(recorded, dict), at
    elif isinstance(recorded, dict):
        assert isinstance(ours, dict), at
        assert set(ours) == set(recorded), at
        for name, value in recorded.items():
            alike(value, ours[name], f"{at}.{name}")
    elif isinstance(recorded, list) and key in ("", "instances"):
        assert len(ours) == len(recorded), at
        for mine, theirs in zip(ours, recorded, strict=True):
            alike(theirs, mine, at)
    elif key in VOLATILE or key == "hubs":
        assert type(ours) is type(recorded) or key == "ping", at
    elif key == "agents":
        assert isinstance(ours, int), at
    elif key != "name" or not str(recorded).startswith("bob%20"):
        assert ours == recorded, at


async def test_a_long_poll_is_answered_once_a_change_is_visible(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        scene = Scene(made)
        await scene.set("29")
        listed = await scene.users["alice"].ask("GET", "/api/filesystem?since=0")
        since = max(entry["+"] for entry in listed.json.values())
        poll = scene.users["alice"].request("GET", f"/api/filesystem?since={since}&wait")
        hidden = await scene.bob.outer.ask("POST", "/api/filesystem", {"/users/bob/n": {"T": 1, "#": "n", "$": 1}})
        news = await scene.bob.outer.ask(
            "POST", "/api/filesystem", {"/shared/bob/new.txt": {"T": 1, "#": "hn", "$": 3}}
        )
        assert (hidden.status, news.status) == (201, 201)
        answer = await poll.answer()
        recorded = load("hub-29")
        assert answer.status == recorded.status
        alike(json.loads(recorded.response_body), answer.json)
        assert answer.json["/shared/bob/new.txt"]["+"] > since


async def test_the_http1_probe_is_answered_as_was_recorded(tmp_path: Path) -> None:
    text = (VECTORS / "l1-probe-http1.txt").read_text()
    request = text.split("--- request\n")[1].split("\n\n")[0].replace("\\r\\n", "\r\n").encode()
    async with mesh(tmp_path) as made:
        wire = await made.dial("bob")
        wire.write(request)
        first = await wire.probe("GET", "/api/nope")  # the answer read here is that of the bytes just written
        assert (first.status, first.kind, first.body) == (200, "application/json", b'["default"]')
        assert dict(first.fields)["content-length"] == "11"
        assert dict(first.fields)["connection"] == "keep-alive"
        second = await wire.probe("GET", "/api/zones")
        assert second.status == 404, "the second request's answer, on the same connection"
        assert dict(second.fields)["content-length"] == "0"
