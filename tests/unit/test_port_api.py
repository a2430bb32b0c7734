"""The port app's paths: what they answer, to whom, and what goes to another endpoint."""

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from app_mesh import LOOPBACK, OWN_IDS, Echo, ask, free_port
from port_mesh import PortMesh, configure, peer, port, user

from ztm.errors import DeadlineError, StorageError
from ztm.model import Address, Peer
from ztm.net.asgi import Upgrade
from ztm.net.base import Stream
from ztm.net.http1 import connect_answer, connect_head
from ztm.rest.openapi import document

A, B, C = OWN_IDS[:3]
OWNER, OTHER = Peer("alice", C), Peer("bob", C)
PORT = {"protocol": "tcp", "listen": "127.0.0.1:1", "via": B, "target": "db:5432"}
ENTRY = {"protocol": "tcp", "address": "10.0.0.0/8", "users": ["bob"]}


@pytest.fixture
async def mesh() -> AsyncIterator[PortMesh]:
    made = PortMesh()
    yield made
    await made.close()


async def test_what_is_stored_has_v1s_fields_and_no_others(mesh: PortMesh) -> None:
    a = await mesh.join("a")
    entry, _ = port(B, Address("db", 5432))
    acl = [ENTRY, {**ENTRY, "port": 5432}]
    await configure(a, A, [entry], acl)
    assert json.loads(mesh.context("a").disk.local["config.json"]) == {"ports": [entry], "acl": acl}
    status, shown = await user(a, "GET", f"/api/endpoints/{A}/config")
    assert shown.pop("revision")  # of what is shown, and of nothing that is stored
    assert (status, shown) == (200, {"ports": [entry], "acl": acl})


async def test_there_is_one_entry_for_each_protocol_address_and_port(mesh: PortMesh) -> None:
    a = await mesh.join("a")
    acl = [ENTRY, {**ENTRY, "port": 1}, {**ENTRY, "port": 2}, {**ENTRY, "protocol": "udp"}]
    await configure(a, A, acl=acl)
    assert (await user(a, "GET", f"/api/endpoints/{A}/config"))[1]["acl"] == acl


async def test_fields_that_v1_leaves_out_have_its_defaults(mesh: PortMesh) -> None:
    a = await mesh.join("a")
    listen = f"127.0.0.1:{free_port()}"
    await configure(a, A, [{"listen": listen, "via": B, "target": "db:1"}], [{"address": "db", "users": ["bob"]}])
    _, config = await user(a, "GET", f"/api/endpoints/{A}/config")
    assert (config["ports"][0]["protocol"], config["acl"][0]["protocol"]) == ("tcp", "tcp")


@pytest.mark.parametrize(
    "config",
    [
        {"ports": [{**PORT, "protocol": "sctp"}]},
        {"ports": [{**PORT, "listen": "localhost:1"}]},
        {"ports": [{**PORT, "listen": "127.0.0.1:0"}]},
        {"ports": [{**PORT, "via": "somewhere"}]},
        {"ports": [{**PORT, "target": "5432"}]},
        {"ports": [{**PORT, "target": "db:99999"}]},
        {"ports": [{**PORT, "target": "a b:1"}]},
        {"ports": [{**PORT, "idleTimeout": 5}]},
        {"ports": [{**PORT, "protocol": "udp", "idleTimeout": 0}]},
        {"ports": [PORT, {**PORT, "target": "other:1"}]},
        {"ports": [{"listen": "127.0.0.1:1"}]},
        {"acl": [{**ENTRY, "users": []}]},
        {"acl": [{**ENTRY, "users": "bob"}]},
        {"acl": [{**ENTRY, "users": ["a/b"]}]},
        {"acl": [{**ENTRY, "address": "127.0.0"}]},
        {"acl": [{**ENTRY, "address": "(a"}]},
        {"acl": [{**ENTRY, "address": "a{1,9}"}]},
        {"acl": [{**ENTRY, "address": "x" * 200 + "*"}]},
        {"acl": [{**ENTRY, "address": ""}]},
        {"acl": [{**ENTRY, "port": 0}]},
        {"acl": [ENTRY, {**ENTRY, "users": ["carol"]}]},
        [],
    ],
)
async def test_what_is_malformed_is_refused_here_and_is_not_sent_elsewhere(mesh: PortMesh, config: object) -> None:
    a = await mesh.join("a")
    for endpoint in (A, B):
        status, answer = await user(a, "POST", f"/api/endpoints/{endpoint}/config", config)
        assert status == 400
        assert answer["message"]
    assert mesh.asked == []
    assert "config.json" not in mesh.context("a").disk.local


async def test_the_same_request_for_another_endpoint_runs_there(mesh: PortMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    entry, _ = port(A, Address("db", 1))
    await configure(a, B, [entry], [ENTRY])
    assert (await user(b, "GET", f"/api/endpoints/{B}/config"))[1]["ports"] == [entry]
    for what in ("config", "ports"):
        there = await user(b, "GET", f"/api/endpoints/{B}/{what}")
        assert await user(a, "GET", f"/api/endpoints/{B}/{what}") == there
    assert [one["name"] for one in (await user(a, "GET", "/api/endpoints"))[1]] == ["a", "b"]


async def test_only_the_owner_may_see_or_change_the_configuration_from_afar(mesh: PortMesh) -> None:
    a = await mesh.join("a")
    requests = [("GET", "/api/config"), ("GET", "/api/ports"), ("POST", "/api/config")]
    for method, path in requests:
        assert (await peer(a, OTHER, method, path, {}))[0] == 403
        assert (await peer(a, None, method, path, {}))[0] == 403
    assert [(await peer(a, OWNER, *request, {}))[0] for request in requests] == [200, 200, 201]


async def test_v1s_stored_file_is_taken_and_what_is_unsafe_in_it_is_left_out(mesh: PortMesh) -> None:
    acl = [
        ENTRY,
        {"protocol": "tcp", "address": "127.0.0", "users": ["bob"]},
        {"protocol": "tcp", "address": r"db-\d+\.corp", "users": ["bob"]},
        {"protocol": "tcp", "address": "(a+)+{3}", "users": ["bob"]},
    ]
    mesh.local["a"] = {"config.json": json.dumps({"ports": [], "acl": acl}).encode()}
    a = await mesh.join("a")
    _, config = await user(a, "GET", f"/api/endpoints/{A}/config")
    assert [one["address"] for one in config["acl"]] == ["10.0.0.0/8", r"db-\d+\.corp"]


async def test_a_damaged_configuration_stops_the_start_and_is_not_overwritten(mesh: PortMesh) -> None:
    mesh.local["a"] = {"config.json": b"{"}
    with pytest.raises(StorageError, match="damaged"):
        await mesh.join("a")
    assert mesh.local["a"] == {"config.json": b"{"}


async def test_every_path_is_described(mesh: PortMesh) -> None:
    a = await mesh.join("a")
    described = document(a.user_api, "port", "1")
    assert "/api/endpoints/{ep}/config" in described["paths"]
    assert all(one["summary"] for path in described["paths"].values() for one in path.values())


async def test_a_refused_connect_says_why_in_its_status_and_header(
    mesh: PortMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await mesh.join("a")

    async def connect(path: str, who: Peer = OWNER) -> tuple[int, str]:
        upgrade = Upgrade(cast("Stream", None), lambda headers: None)
        status, headers, _ = await ask(a.peer_api, "CONNECT", f"/api/targets/{path}", peer=who, upgrade=upgrade)
        assert not upgrade.accepted
        return status, headers["ztm-error"]

    assert (await connect("tcp/nowhere"))[0] == 400
    assert (await connect("tcp/db%3A99999"))[0] == 400
    assert (await connect("sctp/db%3A1"))[0] == 400
    status, reason = await connect("tcp/db%3A1", OTHER)
    assert status == 403
    assert "bob" in reason
    status, reason = await connect(f"tcp/{LOOPBACK}%3A{free_port()}")
    assert status == 502
    assert "connection refused" in reason
    assert (await connect(f"tcp/{LOOPBACK}:{free_port()}"))[0] == 502  # a plain colon is taken as well

    async def silent(address: Address, **_: float) -> Stream:
        raise DeadlineError(f"no answer from {address}")

    monkeypatch.setattr(mesh.network, "dial", silent)
    assert (await connect("tcp/db%3A1"))[0] == 504


async def test_a_name_that_does_not_resolve_is_told_to_those_alone_who_may_reach_it(
    mesh: PortMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await mesh.join("a")
    await configure(a, A, acl=[ENTRY, {**ENTRY, "address": "db.corp"}])

    async def unknown(host: str, **_: float) -> list[str]:
        raise DeadlineError(f"the name {host} was not resolved")

    monkeypatch.setattr(mesh.network, "resolve", unknown)
    for name, status in {"db.corp": 504, "secret.corp": 403}.items():
        upgrade = Upgrade(cast("Stream", None), lambda headers: None)
        answer = await ask(a.peer_api, "CONNECT", f"/api/targets/tcp/{name}%3A1", peer=OTHER, upgrade=upgrade)
        assert answer[0] == status


async def test_after_a_refusal_the_stream_is_over_and_the_next_one_works(mesh: PortMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    target = Echo(mesh.network)
    where = await target.open()
    context = mesh.context("a")
    for acl, answered in (([], 403), ([{**ENTRY, "address": LOOPBACK, "users": ["alice"]}], 200)):
        await configure(b, B, acl=cast("list[dict[str, Any]]", acl))
        stream = await context.connect(B)
        await stream.write(connect_head(f"/api/targets/tcp/{LOOPBACK}%3A{where.port}"))
        await stream.response()
        status, _ = await connect_answer(stream)
        assert status == answered
        if status != 200:
            while await stream.read():
                pass
            stream.end()
            await stream.ended()
        stream.abort()
    assert a is mesh.apps[A]
    await target.close()
