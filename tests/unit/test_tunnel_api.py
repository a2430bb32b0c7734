"""The tunnel app's paths: what they answer, to whom, and what goes to another endpoint."""

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from app_mesh import LOOPBACK, OWN_IDS, ask, free_port
from tunnel_mesh import TunnelMesh

from ztm.apps.tunnel.api import TunnelApp
from ztm.errors import DeadlineError, StorageError, UnreachableError
from ztm.model import Address, Peer
from ztm.net.asgi import Upgrade
from ztm.net.base import Stream
from ztm.rest.openapi import document

A, B, C = OWN_IDS[:3]
OWNER, OTHER = Peer("alice", C), Peer("bob", C)
TARGETS = {"targets": [{"host": "127.0.0.1", "port": 80}]}


@pytest.fixture
async def mesh() -> AsyncIterator[TunnelMesh]:
    made = TunnelMesh()
    yield made
    await made.close()


async def user(app: TunnelApp, method: str, path: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    status, _, answer = await ask(app.user_api, method, path, content)
    return status, json.loads(answer) if answer else None


async def peer(app: TunnelApp, who: Peer, method: str, path: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    status, _, answer = await ask(app.peer_api, method, path, content, peer=who)
    return status, json.loads(answer) if answer else None


async def test_appinfo_says_which_app_and_where(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    assert await user(a, "GET", "/api/appinfo") == (
        200,
        {"name": "tunnel", "provider": "ztm", "username": "alice", "endpoint": {"id": A, "name": "a"}},
    )


async def test_an_outbound_without_users_is_for_its_owner_alone_and_says_so(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    status, shown = await user(a, "POST", f"/api/endpoints/{A}/outbound/tcp/web", TARGETS)
    assert (status, shown["users"]) == (201, ["alice"])
    assert json.loads(mesh.context("a").disk.local["config.json"])["outbound"][0]["users"] == ["alice"]
    assert json.loads(mesh.shared[f"/shared/alice/tcp/web/{A}/outbound.json"]) == {
        "name": "a", "entrances": [], "users": ["alice"],
    }  # fmt: skip


@pytest.mark.parametrize("users", [[], ["*"], ["bob", "*"]])
async def test_an_outbound_for_everyone_is_stored_and_published_as_an_empty_list(
    mesh: TunnelMesh, users: list[str]
) -> None:
    a = await mesh.join("a")
    status, shown = await user(a, "POST", f"/api/endpoints/{A}/outbound/tcp/web", {**TARGETS, "users": users})
    assert (status, shown["users"]) == (201, [])
    assert json.loads(mesh.shared[f"/shared/alice/tcp/web/{A}/outbound.json"])["users"] == []
    assert (await peer(a, OTHER, "GET", "/api/outbound/tcp/web"))[0] == 200


async def test_what_is_closed_is_gone_from_disk_and_mesh(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    await user(a, "POST", f"/api/endpoints/{A}/outbound/tcp/web", TARGETS)
    listens = {"listens": [{"ip": LOOPBACK, "port": free_port()}]}
    await user(a, "POST", f"/api/endpoints/{A}/inbound/tcp/web", listens)
    assert len(mesh.shared) == 2
    for end in ("inbound", "outbound"):
        assert await user(a, "DELETE", f"/api/endpoints/{A}/{end}/tcp/web") == (204, None)
        assert (await user(a, "GET", f"/api/endpoints/{A}/{end}/tcp/web"))[0] == 404
        assert await user(a, "DELETE", f"/api/endpoints/{A}/{end}/tcp/web") == (204, None)
    assert not mesh.shared
    assert json.loads(mesh.context("a").disk.local["config.json"]) == {"inbound": [], "outbound": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("inbound/sctp/x", {"listens": [{"ip": "127.0.0.1", "port": 1}]}),
        ("inbound/tcp/a%2Fb", {"listens": [{"ip": "127.0.0.1", "port": 1}]}),
        ("inbound/tcp/x", {"listens": [{"ip": "localhost", "port": 1}]}),
        ("inbound/tcp/x", {"listens": [{"ip": "127.0.0.1", "port": 0}]}),
        ("inbound/tcp/x", {"listens": [{"ip": "127.0.0.1", "port": "80"}]}),
        ("inbound/tcp/x", {"listens": []}),
        ("inbound/tcp/x", {}),
        ("inbound/tcp/x", {"listens": [{"ip": "127.0.0.1", "port": 1}], "exits": ["nowhere"]}),
        ("outbound/tcp/x", {"targets": [{"host": "a b", "port": 1}]}),
        ("outbound/tcp/x", {"targets": [{"host": "::zz", "port": 1}]}),
        ("outbound/tcp/x", {"targets": [{"host": "a", "port": 99999}]}),
        ("outbound/tcp/x", {**TARGETS, "users": ["a/b"]}),
        ("outbound/tcp/x", {**TARGETS, "users": "bob"}),
        ("outbound/tcp/x", {**TARGETS, "entrances": ["nowhere"]}),
        ("outbound/tcp/x", []),
    ],
)
async def test_what_is_malformed_is_refused_here_and_is_not_sent_elsewhere(
    mesh: TunnelMesh, path: str, body: object
) -> None:
    a = await mesh.join("a")
    for endpoint in (A, B):
        status, answer = await user(a, "POST", f"/api/endpoints/{endpoint}/{path}", body)
        assert status == 400
        assert answer["message"]
    assert mesh.asked == []
    assert "config.json" not in mesh.context("a").disk.local


async def test_unknown_fields_are_ignored_and_names_may_hold_any_letter(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    path = f"/api/endpoints/{A}/outbound/tcp/caf%C3%A9%20%25"
    status, shown = await user(a, "POST", path, {**TARGETS, "later": 1})
    assert (status, shown["name"]) == (201, "café %")
    assert (await user(a, "GET", path))[1]["targets"] == [{"host": "127.0.0.1", "port": 80}]


async def test_the_same_request_for_another_endpoint_runs_there(mesh: TunnelMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    status, shown = await user(a, "POST", f"/api/endpoints/{B}/outbound/tcp/caf%C3%A9", {**TARGETS, "entrances": [C]})
    assert (status, shown["users"]) == (201, ["alice"])
    assert (await user(b, "GET", f"/api/endpoints/{B}/outbound"))[1][0]["name"] == "café"
    for path in ("outbound", "outbound/tcp/caf%C3%A9"):
        assert await user(a, "GET", f"/api/endpoints/{B}/{path}") == await user(b, "GET", f"/api/endpoints/{B}/{path}")
    assert (await user(a, "DELETE", f"/api/endpoints/{B}/outbound/tcp/caf%C3%A9"))[0] == 204
    assert (await user(b, "GET", f"/api/endpoints/{B}/outbound"))[1] == []


async def test_another_endpoints_refusal_comes_back_and_names_it(mesh: TunnelMesh) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b", user="bob")
    status, answer = await user(a, "GET", f"/api/endpoints/{B}/inbound")
    assert status == 403
    assert B in answer["message"]
    status, answer = await user(a, "GET", f"/api/endpoints/{B}/outbound/tcp/none")
    assert status == 404
    assert B in answer["message"]
    assert (await user(a, "GET", f"/api/endpoints/{C}/inbound"))[0] == 503
    assert (await user(a, "GET", "/api/endpoints/nowhere/inbound"))[0] == 400


async def test_only_the_owner_may_see_or_change_the_configuration_from_afar(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    await user(a, "POST", f"/api/endpoints/{A}/outbound/tcp/web", TARGETS)
    requests = [
        ("GET", "/api/config", None),
        ("GET", "/api/inbound", None),
        ("GET", "/api/inbound/tcp/web", None),
        ("POST", "/api/inbound/tcp/web", {"listens": [{"ip": LOOPBACK, "port": free_port()}]}),
        ("POST", "/api/outbound/tcp/web", {**TARGETS, "users": []}),
        ("DELETE", "/api/inbound/tcp/web", None),
        ("DELETE", "/api/outbound/tcp/web", None),
    ]
    for method, path, body in requests:
        assert (await peer(a, OTHER, method, path, body))[0] == 403, path
    assert (await peer(a, OWNER, "GET", "/api/config"))[1]["outbound"][0]["users"] == ["alice"]
    assert [(await peer(a, OWNER, *request))[0] for request in requests] == [200, 200, 404, 201, 201, 204, 204]


async def test_peers_see_the_outbounds_that_they_may_use_and_no_more(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    rules: dict[str, Any] = {
        "mine": {},
        "bobs": {"users": ["bob"]},
        "open": {"users": []},
        "elsewhere": {"users": [], "entrances": [B]},
    }
    for name, rule in rules.items():
        await user(a, "POST", f"/api/endpoints/{A}/outbound/tcp/{name}", {**TARGETS, **rule})
    _, seen = await peer(a, OTHER, "GET", "/api/outbound")
    assert [one["name"] for one in seen] == ["bobs", "open"]
    assert all("traffic" not in one for one in seen)
    statuses = {name: (await peer(a, OTHER, "GET", f"/api/outbound/tcp/{name}"))[0] for name in rules}
    assert statuses == {"mine": 404, "bobs": 200, "open": 200, "elsewhere": 404}
    assert (await peer(a, OWNER, "GET", "/api/outbound/tcp/elsewhere"))[0] == 404  # an entrance that may not pass
    assert (await ask(a.peer_api, "GET", "/api/outbound"))[0] == 403


async def test_tunnels_lists_the_ends_of_all_users_with_their_records(mesh: TunnelMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    await user(a, "POST", f"/api/endpoints/{A}/inbound/tcp/web", {"listens": [{"ip": LOOPBACK, "port": free_port()}]})
    await user(b, "POST", f"/api/endpoints/{B}/outbound/tcp/web", TARGETS)
    mesh.publish(f"/shared/carol/udp/dns/{C}/outbound.json", b"{}")
    mesh.publish("/shared/carol/else", b"{}")
    _, found = await user(a, "GET", "/api/tunnels")
    assert [(one["protocol"], one["name"]) for one in found] == [("tcp", "web"), ("udp", "dns")]
    assert [one["name"] for one in found[0]["inbound"]] == ["a"]
    assert [(one["name"], one["username"]) for one in found[0]["outbound"]] == [("b", "bob")]
    assert found[1]["outbound"] == [{"id": C}]
    assert (await user(a, "GET", "/api/tunnels/tcp/web"))[1] == found[0]
    assert await user(a, "GET", "/api/tunnels/tcp/none") == (
        200,
        {"protocol": "tcp", "name": "none", "inbound": [], "outbound": []},
    )


async def test_tunnels_are_listed_by_id_when_no_hub_answers(mesh: TunnelMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await mesh.join("a")
    mesh.publish(f"/shared/carol/udp/dns/{C}/outbound.json", b"{}")

    async def unreachable(**_: str) -> list[Any]:
        raise UnreachableError("no hub is connected")

    monkeypatch.setattr(mesh.context("a"), "endpoints", unreachable)
    assert (await user(a, "GET", "/api/tunnels"))[1][0]["outbound"] == [{"id": C}]


async def test_an_outbound_stored_by_v1_without_users_stays_open_and_is_shown_so(mesh: TunnelMesh) -> None:
    outbound = {"protocol": "tcp", "name": "web", **TARGETS, "entrances": [], "users": []}
    bad = {"protocol": "tcp", "name": "a/b", **TARGETS}
    mesh.local["a"] = {"config.json": json.dumps({"inbound": [], "outbound": [outbound, bad]}).encode()}
    a = await mesh.join("a")
    _, shown = await user(a, "GET", f"/api/endpoints/{A}/outbound")
    assert [(one["name"], one["users"]) for one in shown] == [("web", [])]
    assert (await peer(a, OTHER, "GET", "/api/outbound/tcp/web"))[0] == 200


async def test_a_damaged_configuration_stops_the_start_and_is_not_overwritten(mesh: TunnelMesh) -> None:
    mesh.local["a"] = {"config.json": b"{"}
    with pytest.raises(StorageError, match="damaged"):
        await mesh.join("a")
    assert mesh.local["a"] == {"config.json": b"{"}


async def test_every_path_is_described(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    described = document(a.user_api, "tunnel", "1")
    assert "/api/endpoints/{ep}/inbound/{proto}/{name}" in described["paths"]
    assert all(one["summary"] for path in described["paths"].values() for one in path.values())
    assert "InboundShown" in document(a.peer_api, "tunnel", "1")["components"]["schemas"]


async def test_a_refused_connect_says_why_in_its_status_and_header(
    mesh: TunnelMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await mesh.join("a")
    for name, users in {"mine": ["alice"], "open": []}.items():
        body = {"targets": [{"host": LOOPBACK, "port": free_port()}], "users": users}
        await user(a, "POST", f"/api/endpoints/{A}/outbound/tcp/{name}", body)

    async def connect(name: str) -> tuple[int, str]:
        upgrade = Upgrade(cast("Stream", None), lambda headers: None)
        status, headers, _ = await ask(a.peer_api, "CONNECT", f"/api/outbound/tcp/{name}", peer=OTHER, upgrade=upgrade)
        assert not upgrade.accepted
        return status, headers["ztm-error"]

    assert await connect("none") == (404, "no outbound tcp/none on endpoint a")
    assert (await connect("mine"))[0] == 403
    status, reason = await connect("open")
    assert status == 502
    assert "connection refused" in reason

    async def silent(address: Address, **_: float) -> Stream:
        raise DeadlineError(f"no answer from {address}")

    monkeypatch.setattr(mesh.network, "dial", silent)
    assert (await connect("open"))[0] == 504
