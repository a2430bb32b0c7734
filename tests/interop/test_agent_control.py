"""How our agent registers with a v1-like hub, and answers what that asks on the control session."""

import asyncio
import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from v1_hub import V1Hub
from v1_mesh import Party, v1_mesh

import recorded
from v1_http import Answer, Stream
from ztm.agent.state import State
from ztm.wire import codec

RECORDED_ID = "f5f4d17f-39cb-458f-8f47-4b2064553d32"
HELLO = "/users/root/a.txt"


# ---------------------------------------------------------------------- registering


async def test_connected_is_said_only_once_the_hub_has_accepted_and_taken_a_heartbeat(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        hub = made.hub
        hub.gates = {"control": asyncio.Event(), "/api/status": asyncio.Event()}
        party = await made.join()
        await hub.until(lambda: any(one.method == "CONNECT" for one in hub.asked))
        assert party.mesh.health.state is State.CONNECTING
        hub.gates["control"].set()
        await hub.until_asked("GET", "/api/status")
        assert party.mesh.health.state is State.CONNECTING
        hub.gates["/api/status"].set()
        await party.state(State.CONNECTED)
        assert hub.requests("POST", "/api/status")


async def test_the_control_connect_is_v1s(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined("vec ep")
        connect = next(one for one in made.hub.asked if one.method == "CONNECT")
        assert connect.stream is not None
        wanted = recorded.load("agent-control-connect")
        assert connect.stream.request[":path"] == wanted.path.replace(RECORDED_ID, party.id)
        assert connect.stream.request[":scheme"] == "http"


async def test_every_heartbeat_names_the_hub(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined("vec ep", heartbeat=0.05)
        await made.hub.until_asked("POST", "/api/status", times=3)
        told = [one.json for one in made.hub.requests("POST", "/api/status")]
        assert {tuple(one["hubs"]) for one in told} == {(made.hub.id,)}
        wanted = json.loads(recorded.load("agent-heartbeat").request_body)
        assert told[0].keys() == wanted.keys()
        assert (told[0]["name"], told[0]["agent"]["labels"]) == ("vec ep", [])
        assert told[0]["agent"]["version"]["ztm"].keys() >= {"edition", "tag"}
        assert party.mesh.hub_id == made.hub.id


async def test_no_heartbeat_comes_before_the_control_session(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        assert made.hub.asked[0].method == "CONNECT"
        assert made.hub.control().link.endpoint is not None


@pytest.mark.parametrize("nested", [False, True], ids=["outer", "nested"])
async def test_settings_are_v1s_on_every_layer(tmp_path: Path, nested: bool) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        session = made.hub.control()
        await session.http.ask("GET", "/api/ping")
        settings = (session.http if nested else session.link.http).settings
        assert {key: settings[key] for key in (1, 2, 4, 5)} == {1: 4096, 2: 0, 4: 1048576, 5: 16384}


def _only_tls12(hub: V1Hub) -> None:
    hub.most = ssl.TLSVersion.TLSv1_2


def _no_tickets(hub: V1Hub) -> None:
    hub.tickets = 0


@pytest.mark.parametrize("script", [_only_tls12, _no_tickets])
async def test_an_agent_joins_whatever_tls_the_hub_has(tmp_path: Path, script: Any) -> None:
    async with v1_mesh(tmp_path, script=script) as made:
        await made.joined()


async def test_a_root_permit_of_v1_is_used_with_its_own_key(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        made.is_rsa = True
        party = await made.joined()
        assert [one.user for one in made.hub.endpoints.values()] == ["root"]
        assert party.mesh.user == "root"


async def test_a_user_permit_is_used_with_the_identity_key(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(user="bob")
        assert [one.user for one in made.hub.endpoints.values()] == ["bob"]
        assert party.mesh.user == "bob"


async def test_no_tls_session_is_ever_resumed(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        for _ in range(2):
            await made.passive_ended()
        await made.hub.drop()
        await made.hub.until(lambda: len(made.hub.dialled) >= 4 and made.hub.control().link.is_control)
        await party.state(State.CONNECTED)
        assert "TLS resumption was tried" not in made.hub.violations


# ---------------------------------------------------------------------- answering

VECTORS = [name for name in recorded.all_names("agent") if re.match(r"agent-(0\d|1[0-5])-", name)]
PREPARED = {"agent-12-app-log": "agent-11-app-start", "agent-13-app-stop": "agent-11-app-start"}


async def replay(party: Party, hub: V1Hub, name: str) -> tuple[recorded.Exchange, Answer]:
    wanted = recorded.load(name)
    answer = await hub.control(party.id).http.ask(wanted.method, wanted.path, wanted.request_body)
    return wanted, answer


@pytest.mark.parametrize("name", VECTORS)
async def test_a_recorded_request_gets_the_recorded_answer(tmp_path: Path, name: str) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined("vec ep")
        party.mesh.files.write(HELLO, b"hello")
        if name in PREPARED:
            await replay(party, made.hub, PREPARED[name])
        wanted, answer = await replay(party, made.hub, name)
        assert answer.status == wanted.status
        if answer.status >= 400:
            return  # ours may say why
        assert answer.kind == dict(wanted.response_headers).get("content-type")
        if answer.kind == "application/json":
            check_same(answer.json, json.loads(wanted.response_body), party)
        else:
            assert answer.body == wanted.response_body


def check_same(found: Any, wanted: Any, party: Party) -> None:
    """The same fields of the same types; the values too where they do not depend on the agent and its day."""
    if isinstance(wanted, list):
        assert isinstance(found, list)
        for one in found:  # ours has other apps and log lines
            check_same(one, wanted[0], party)
        return
    assert found.keys() == wanted.keys()
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in wanted.items()}
    if "id" in wanted:
        assert (found["id"], found["name"]) == (party.id, wanted["name"])


async def test_labels_that_a_hub_sets_are_kept_and_told(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        wanted, _ = await replay(party, made.hub, "agent-04-set-labels")
        beat = await made.hub.until_asked("POST", "/api/status", times=2)
        assert beat.json["agent"]["labels"] == json.loads(wanted.request_body)
        assert party.agent.store.meshes()["m"].labels == ("site:x", "gpu")
        _, shown = await replay(party, made.hub, "agent-03-labels")
        assert shown.json == ["site:x", "gpu"]


async def test_an_announced_hub_is_remembered(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        wanted, _ = await replay(party, made.hub, "agent-05-hub-announce")
        announced = wanted.path.rpartition("/")[2]
        assert party.agent.store.hubs("m")[announced] == codec.decode_hub(wanted.request_body, announced)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/labels", b'{"not": "a list"', 400),
        ("POST", "/api/hubs/../x", b"{}", 404),
        ("POST", "/api/hubs/x", b"{}", 400),
        ("POST", "/api/apps/ztm/tunnel", b"[", 400),
        ("GET", "/api/sessions/x", b"", 400),
        ("DELETE", "/api/apps/ztm/none", b"", 404),
        ("DELETE", "/api/apps/ztm/tunnel", b"", 204),
        ("GET", "/API/Ping/", b"", 200),
        ("GET", "/api/apps/ztm/tunnel/log", b"", 404),
    ],
)
async def test_an_odd_request_is_answered_and_harms_no_other(
    tmp_path: Path, method: str, path: str, body: bytes, status: int
) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        control = made.hub.control().http
        assert (await control.ask(method, path, body)).status == status
        assert (await control.ask("GET", "/api/ping")).status == 200


async def test_an_empty_file_is_found(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        party.mesh.files.write("/users/root/empty", b"")
        digest = "63ad36b1a595df08b3143bc387e857aced632678136759e4517219550a3a4a2f"
        answer = await made.hub.control().http.ask("GET", f"/api/file-data/{digest}")
        assert (answer.status, answer.body) == (200, b"")


async def test_a_long_header_block_comes_in_continuations(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        answer = await made.hub.control().http.ask("GET", "/api/ping?x=" + "y" * 20_000)
        assert answer.status == 200


async def test_many_requests_at_once_are_all_answered(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        control = made.hub.control().http
        answers = await asyncio.gather(*(control.ask("GET", "/api/ping") for _ in range(300)))
        assert {one.status for one in answers} == {200}


def chunks(name: str) -> list[bytes]:
    """What the hub sent in a recording of bytes; chunks that were cut short are left out."""
    lines = (recorded.VECTORS / f"{name}.txt").read_text().splitlines()
    told = [line.split()[1] for line in lines if line.startswith("hub->agent ")]
    return [bytes.fromhex(one) for one in told if not one.endswith("...")]


async def test_the_recorded_bytes_of_another_http2_library_are_answered(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined("vec ep")
        nested = made.hub.control().http
        nested._is_begun = True  # the recording has a preface and settings of its own
        answers = [register(nested, number) for number in (1, 3, 5)]
        *whole, _labels_to_set = chunks("bytes-f2-ctl")
        nested.raw(b"".join(whole))
        ping, log, labels = [await stream.answer() for stream in answers]
        assert (ping.status, ping.json["id"], ping.json["name"]) == (200, party.id, "vec ep")
        assert (log.status, labels.status, labels.json) == (200, 200, [])


async def test_the_recorded_bytes_of_a_passive_session_are_answered(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        nested = (await made.hub.passive()).http
        nested._is_begun = True
        stream = register(nested, 1)
        nested.raw(b"".join(chunks("bytes-f3-pas")))
        assert (await stream.head()).status == 200
        check_outbounds(await stream.rest())


def register(nested: Any, number: int) -> Stream:
    stream = nested.streams[number] = Stream(nested, number, [])
    return stream


# ---------------------------------------------------------------------- app streams


def check_outbounds(data: bytes) -> None:
    """The recorded answer of the tunnel app: no outbounds."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode().lower().split("\r\n")
    assert line.startswith("http/1.1 200 ")
    assert {"content-type: application/json", "content-length: 2"} <= set(fields)
    assert body == b"[]"


@pytest.mark.parametrize("name", ["agent-16", "agent-19"])
async def test_an_app_stream_is_taken_on_either_session(tmp_path: Path, name: str) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        wanted = recorded.load(name)
        session = made.hub.control() if name == "agent-16" else await made.hub.passive()
        stream = session.http.open(wanted.method, wanted.path)
        assert (await stream.head()).status == wanted.status
        stream.write(wanted.request_body.replace(b"\n", b"\r\n").rstrip(b"\r\n") + b"\r\n\r\n")
        stream.end()
        check_outbounds(await stream.rest())


@pytest.mark.parametrize("name", ["agent-17", "agent-18"])
async def test_an_app_stream_to_what_does_not_run_is_refused(tmp_path: Path, name: str) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        wanted = recorded.load(name)
        stream = made.hub.control().http.open(wanted.method, wanted.path.replace("proxy", "tunnel"))
        assert (await stream.answer()).status == wanted.status


async def test_an_app_is_found_without_its_provider(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        stream = made.hub.control().http.open("CONNECT", "/api/apps/tunnel?src=x&ip=10.1.2.3&port=7&username=root")
        assert (await stream.head()).status == 200


@pytest.mark.parametrize("where", ["control", "passive"])
async def test_one_session_carries_many_app_streams_and_requests(tmp_path: Path, where: str) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        http = (made.hub.control() if where == "control" else await made.hub.passive()).http
        dialled = len(made.hub.dialled)
        target = recorded.load("agent-16").path
        streams = [http.open("CONNECT", target) for _ in range(50)]
        for stream in streams:
            stream.write(b"GET /api/outbound HTTP/1.1\r\n\r\n")
        assert (await http.ask("GET", "/api/ping")).status == 200
        for stream in streams:
            assert (await stream.head()).status == 200
            stream.end()
            check_outbounds(await stream.rest())
        assert len(made.hub.dialled) == dialled


async def test_the_app_api_speaks_http2_in_an_app_stream_too(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        stream = (await made.hub.passive()).http.open("CONNECT", recorded.load("agent-19").path)
        inner = made.hub.client(stream)
        answer = await inner.ask("GET", "/api/outbound")
        assert (answer.status, answer.json) == (200, [])
        assert (await inner.ask("GET", "/api/outbound/tcp/none")).status == 404
        await inner.close()
