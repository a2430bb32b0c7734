"""The agent's local API on a whole mesh: what is refused is said so, and what is answered as done is done."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_api import BASE, Api, home_of

from ztm import pki
from ztm.agent.mesh import Mesh
from ztm.agent.state import State
from ztm.testing.mesh import MESH, SimMesh

NOBODY = "6f4b4c1c-0f4e-4b54-9d2a-2b8f7f6f0a11"


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[SimMesh]:
    """A mesh of the test's own."""
    made = SimMesh(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def home(mesh: SimMesh) -> Api:
    """An endpoint of root."""
    return await home_of(mesh)


@pytest.fixture
async def work(mesh: SimMesh, home: Api) -> Api:
    """Another one of root."""
    return await home_of(mesh, "work")


@pytest.fixture
async def alice(mesh: SimMesh, home: Api) -> Api:
    """An endpoint of another user."""
    return await home_of(mesh, "alice", "alice")


# ---------------------------------------------------------------------- meshes that are not joined


async def test_lists_of_a_mesh_that_is_not_joined_are_empty(home: Api) -> None:
    for path in ("hubs/x/log", "endpoints", "users", "apps", "evictions", "permits", "endpoints/x/apps"):
        assert await home.ok("GET", f"/api/meshes/nope/{path}", status=200) == [], path
    assert await home.ok("GET", "/api/meshes/nope/hubs") == {}


UNKNOWN = [
    ("GET", "", None),
    ("DELETE", "", None),
    ("GET", "/log", None),
    ("GET", "/ca", None),
    ("POST", "/ca", "text"),
    ("GET", "/agent/certificate", None),
    ("POST", "/agent/certificate", "text"),
    ("POST", "/agent/key", "text"),
    ("POST", "/permits/bob", "text"),
    ("DELETE", "/permits/0123456789ab", None),
    ("GET", "/users/bob", None),
    ("DELETE", "/users/bob", None),
    ("DELETE", "/evictions/bob", None),
    ("GET", "/hubs/x", None),
    ("POST", "/hubs/x", {"connected": True}),
    ("GET", "/endpoints/x", None),
    ("GET", "/endpoints/x/labels", None),
    ("POST", "/endpoints/x/labels", []),
    ("GET", "/endpoints/x/log", None),
    ("GET", "/endpoints/x/apps/ztm/tunnel", None),
    ("POST", "/endpoints/x/apps/ztm/tunnel", {}),
    ("DELETE", "/endpoints/x/apps/ztm/tunnel", None),
    ("GET", "/endpoints/x/apps/ztm/tunnel/log", None),
    ("GET", "/ping/endpoints/x", None),
    ("GET", "/stats/endpoints", None),
    ("GET", "/stats/endpoints/x", None),
    ("GET", "/apps/ztm/tunnel/api/appinfo", None),
]


async def test_a_mesh_that_is_not_joined_is_not_found(home: Api) -> None:
    for method, path, body in UNKNOWN:
        assert "mesh 'nope' not found" in await home.refused(404, method, f"/api/meshes/nope{path}", body), path


# ---------------------------------------------------------------------- meshes


async def test_a_mesh_read_and_sent_back_keeps_its_key_and_id(home: Api, mesh: SimMesh) -> None:
    before = await home.ok("GET", "")
    key = home.endpoint.mesh.row.key
    before["agent"]["offline"] = True
    assert (await home.ok("POST", "", before, status=201))["state"] == "offline"
    before["agent"]["offline"] = False
    after = await home.ok("POST", "", before, status=201)
    assert after["agent"]["id"] == before["agent"]["id"]
    assert home.endpoint.mesh.row.key == key
    await mesh.connected()


async def test_no_mesh_is_shown_with_its_key(home: Api) -> None:
    key = home.endpoint.mesh.row.key
    assert key
    for path in ("/api/meshes", BASE, f"{BASE}/log", f"{BASE}/agent/certificate", f"{BASE}/ca"):
        answer = await home.ask("GET", path)
        assert answer.status == 200
        assert b"PRIVATE KEY" not in answer.body


async def test_a_key_is_stored_and_never_shown(home: Api) -> None:
    key = home.endpoint.mesh.row.key
    assert key
    answer = await home.ask("POST", "/agent/key", key)
    assert (answer.status, answer.body) == (204, b"")
    assert "does not take GET" in await home.refused(405, "GET", "/agent/key")
    await home.refused(400, "POST", "/agent/key", pki.new_key())
    await home.refused(400, "POST", "/agent/key", "garbage")
    assert home.endpoint.mesh.row.key == key


async def test_a_ca_that_is_none_or_not_of_the_permit_is_refused(home: Api, mesh: SimMesh) -> None:
    ca = await home.ok("GET", "/ca")
    foreign = pki.Authority.create(mesh.date()).certificate
    for bad in ("garbage", "", foreign, ca.replace("M", "N", 20)):
        await home.refused(400, "POST", "/ca", bad)
        await home.refused(400, "POST", "", {"ca": bad})
    assert await home.ok("GET", "/ca") == ca
    assert await home.ok("POST", "/ca", ca, status=201) == ca
    await mesh.connected()


async def test_a_certificate_is_replaced_only_by_one_that_fits(home: Api, alice: Api, mesh: SimMesh) -> None:
    own, other = await home.ok("GET", "/agent/certificate"), await alice.ok("GET", "/agent/certificate")
    for bad in ("garbage", "", other):
        await home.refused(400, "POST", "/agent/certificate", bad)
    assert await home.ok("POST", "/agent/certificate", own, status=201) == own
    await mesh.connected()


async def test_leaving_a_mesh_removes_its_files_unless_told_to_keep_them(home: Api, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "meshes" / MESH
    assert folder.is_dir()
    settings = home.endpoint.mesh.row
    await home.refused(400, "DELETE", "?keepData=maybe")
    await home.ok("DELETE", "?keepData=true", status=204)
    assert folder.is_dir()
    again = {
        "ca": settings.ca,
        "agent": {"name": "home", "certificate": settings.certificate, "privateKey": settings.key, "offline": True},
        "bootstraps": [str(address) for address in settings.bootstraps],
    }
    await home.ok("POST", "", again, status=201)
    await home.ok("DELETE", "", status=204)
    assert not folder.exists()
    await home.refused(404, "DELETE", "")


async def test_failures_that_repeat_are_one_entry_with_their_number(home: Api) -> None:
    mesh: Mesh = home.endpoint.mesh
    for _ in range(500):
        mesh.standing._note("this")
        mesh.standing._note("that")
    assert [(message, count) for _, message, count in mesh.standing.errors] == [("this", 500), ("that", 500)]
    for number in range(1000):
        mesh.standing._note(f"reason {number}")
    assert len(mesh.standing.errors) <= 100


async def test_a_mesh_is_not_connected_by_the_hub_of_another(home: Api, mesh: SimMesh) -> None:
    row = home.endpoint.mesh.row
    settings = {
        "ca": row.ca,
        "agent": {"name": "home", "certificate": row.certificate, "privateKey": row.key},
        "bootstraps": ["10.0.0.99:8888"],
    }
    await home.ok("POST", "/api/meshes/other", settings, status=201)
    assert home.endpoint.agent is not None
    other = home.endpoint.agent.mesh("other")
    assert (await other.standing.settled(60.0)).state is State.UNREACHABLE
    assert await home.ok("GET", "/api/meshes/other/hubs") == {}
    async with asyncio.timeout(300.0):
        while (shown := await home.ok("GET", "/api/meshes/other"))["errors"][0]["count"] < 3:
            await asyncio.sleep(1.0)
    assert (shown["connected"], len(shown["errors"])) == (False, 1)
    await mesh.connected()


# ---------------------------------------------------------------------- identity


async def test_an_identity_is_replaced_by_a_key_and_by_nothing_else(home: Api) -> None:
    before = await home.ok("GET", "/api/identity")
    for bad in ("", "garbage", before, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        await home.refused(400, "POST", "/api/identity", bad)
    assert await home.ok("GET", "/api/identity") == before
    key = pki.new_key()
    answer = await home.ask("POST", "/api/identity", key)
    assert (answer.status, answer.body.decode()) == (201, pki.public_key(key))
    assert await home.ok("GET", "/api/identity") == pki.public_key(key)
    assert home.endpoint.mesh.health.state is State.CONNECTED


# ---------------------------------------------------------------------- users


async def test_a_bad_key_is_refused_here_and_harms_no_session(home: Api, alice: Api) -> None:
    link = home.endpoint.mesh.link()
    for bad in ("", "garbage", pki.new_key(), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        await home.refused(400, "POST", "/permits/dave", bad)
    assert home.endpoint.mesh.link() is link
    assert home.endpoint.mesh.health.state is State.CONNECTED
    assert len(await alice.ok("GET", "/endpoints")) == 2


async def test_only_root_invites_and_reserved_names_are_refused(home: Api, alice: Api) -> None:
    public = pki.public_key(pki.new_key())
    assert "only root" in await alice.refused(403, "POST", "/permits/dave", public)
    for name in ("root", "ca", "hub", "a%2Fb", "%20x"):
        await home.refused(400, "POST", f"/permits/{name}", public)
    permit = await home.ok("POST", "/permits/dave", public, status=200)
    assert set(permit) == {"ca", "agent", "bootstraps"}
    assert set(permit["agent"]) == {"certificate"}
    assert pki.identity_of(permit["agent"]["certificate"]).user == "dave"


async def test_evicting_who_is_unknown_or_by_whom_may_not_is_refused(home: Api, alice: Api) -> None:
    assert "not found" in await home.refused(404, "DELETE", "/users/nobody")
    assert "root cannot be evicted" in await home.refused(403, "DELETE", "/users/root")
    assert "only root" in await alice.refused(403, "DELETE", "/users/alice")
    assert "only root" in await alice.refused(403, "DELETE", "/evictions/alice")
    assert await home.ok("GET", "/evictions") == []
    await home.ok("DELETE", "/users/nobody?force=true", status=204)
    assert [each["username"] for each in await home.ok("GET", "/evictions")] == ["nobody"]


async def test_an_eviction_is_listed_and_can_be_undone(home: Api, alice: Api, mesh: SimMesh) -> None:
    assert (await home.ok("GET", "/users/alice"))["endpoints"]["count"] == 1
    await home.ok("DELETE", "/users/alice", status=204)
    while alice.endpoint.mesh.health.state is not State.EVICTED:
        await alice.endpoint.mesh.standing.turned()
    view = await alice.ok("GET", "")
    assert (view["connected"], view["state"]) == (False, "evicted")
    assert "evicted" in view["lastError"]
    shown = await home.ok("GET", "/evictions")
    assert [each["username"] for each in shown] == ["alice"]
    assert shown[0]["time"] < shown[0]["expiration"]
    await home.ok("DELETE", "/evictions/alice", status=204)
    assert await home.ok("GET", "/evictions") == []
    await home.refused(404, "DELETE", "/evictions/alice")
    await mesh.connected(alice.endpoint)


async def test_users_are_listed_with_their_number(home: Api, alice: Api) -> None:
    answer = await home.ask("GET", "/users")
    assert [user["name"] for user in json.loads(answer.body)] == ["root", "alice"]
    assert dict(answer.headers)["total"] == "2"
    answer = await home.ask("GET", "/users?limit=1&offset=1")
    assert [user["name"] for user in json.loads(answer.body)] == ["alice"]
    assert dict(answer.headers)["total"] == "2"
    assert [user["name"] for user in await home.ok("GET", "/users?keyword=li")] == ["alice"]
    await home.refused(404, "GET", "/users/nobody")


# ---------------------------------------------------------------------- hubs


async def test_a_hub_is_shown_as_each_of_its_addresses_answers(home: Api, mesh: SimMesh) -> None:
    hubs = await home.ok("GET", "/hubs")
    (hub_id,) = hubs
    assert hubs[hub_id]["connected"] is True
    known = home.endpoint.mesh.hubs()[hub_id]
    dead = type(known.ports[0])("10.0.0.99", 8888)
    home.endpoint.mesh.learn_hub(type(known)(known.id, (*known.ports, dead), known.zone, known.version))
    shown = await home.ok("GET", f"/hubs/{hub_id}")
    by_name = {port["name"]: port for port in shown["ports"]}
    assert by_name[str(known.ports[0])]["online"] is True
    assert by_name[str(known.ports[0])]["ping"] >= 0
    assert by_name[str(dead)] == {"name": str(dead), "ping": None, "online": False}
    assert (shown["id"], shown["connected"]) == (hub_id, True)


async def test_a_hub_that_is_unknown_or_gone_is_not_found_and_nothing_is_switched(home: Api) -> None:
    (hub_id,) = await home.ok("GET", "/hubs")
    known = home.endpoint.mesh.hubs()[hub_id]
    dead = type(known.ports[0])("10.0.0.99", 8888)
    home.endpoint.mesh.learn_hub(type(known)(NOBODY, (dead,), known.zone, known.version))
    link = home.endpoint.mesh.link()
    for path in ("/hubs/nope", f"/hubs/{NOBODY}"):
        await home.refused(404, "GET", path)
        await home.refused(404, "POST", path, {"connected": True})
    await home.refused(400, "POST", f"/hubs/{hub_id}", {"connected": False})
    await home.refused(400, "POST", f"/hubs/{hub_id}", {})
    await home.ok("POST", f"/hubs/{hub_id}", {"connected": True}, status=201)
    assert home.endpoint.mesh.link() is link


async def test_only_root_reads_a_hubs_log_and_of_known_hubs_only(home: Api, alice: Api) -> None:
    (hub_id,) = await home.ok("GET", "/hubs")
    lines = await home.ok("GET", f"/hubs/{hub_id}/log")
    assert all(set(line) == {"time", "type", "message"} for line in lines)
    assert "only root" in await alice.refused(403, "GET", f"/hubs/{hub_id}/log")
    await home.refused(404, "GET", "/hubs/nope/log")


# ---------------------------------------------------------------------- endpoints


async def test_labels_are_replaced_here_and_there_and_nothing_else_is_taken(home: Api, work: Api, alice: Api) -> None:
    for endpoint in (home.endpoint.id, work.endpoint.id):
        await home.ok("POST", f"/endpoints/{endpoint}/labels", ["a", "b", "a"], status=201)
        assert await home.ok("GET", f"/endpoints/{endpoint}/labels") == ["a", "b"]
        for bad in ({}, "text", [1], None, ["x" * 257], [str(n) for n in range(65)]):
            await home.refused(400, "POST", f"/endpoints/{endpoint}/labels", json.dumps(bad))
        assert await home.ok("GET", f"/endpoints/{endpoint}/labels") == ["a", "b"]
    for method, body in (("GET", None), ("POST", ["c"])):
        assert "belongs to user alice" in await home.refused(
            403, method, f"/endpoints/{alice.endpoint.id}/labels", body
        )


async def test_an_endpoint_that_is_unknown_is_not_found(home: Api) -> None:
    for method, rest, body in (
        ("GET", "", None),
        ("GET", "/labels", None),
        ("POST", "/labels", ["a"]),
        ("GET", "/log", None),
        ("GET", "/apps", None),
        ("GET", "/apps/ztm/tunnel", None),
        ("POST", "/apps/ztm/tunnel", {"isRunning": True}),
        ("DELETE", "/apps/ztm/tunnel", None),
        ("GET", "/apps/ztm/tunnel/log", None),
    ):
        for endpoint in (NOBODY, "nope", "..%2F.."):
            assert "not found" in await home.refused(404, method, f"/endpoints/{endpoint}{rest}", body)
    await home.refused(404, "GET", f"/stats/endpoints/{NOBODY}")
    hops = await home.ok("GET", f"/ping/endpoints/{NOBODY}")
    assert any(hop["error"] for hop in hops)


async def test_an_endpoint_that_is_offline_is_said_to_be(home: Api, work: Api) -> None:
    gone = work.endpoint.id
    await work.endpoint.kill()
    while (await home.ok("GET", f"/endpoints/{gone}"))["online"]:
        pass
    assert "offline" in await home.refused(503, "GET", f"/endpoints/{gone}/labels")


async def test_endpoints_are_paged_and_their_whole_number_is_told(home: Api, work: Api, alice: Api) -> None:
    async def page(query: str) -> tuple[list[str], str | None]:
        answer = await home.ask("GET", f"/endpoints?{query}")
        assert answer.status == 200, answer
        return [each["name"] for each in json.loads(answer.body)], dict(answer.headers).get("total")

    assert await page("") == (["home", "work", "alice"], "3")
    assert await page("limit=2") == (["home", "work"], "3")
    assert await page("limit=2&offset=2") == (["alice"], "3")
    assert await page("limit=2&offset=5") == ([], "3")
    assert await page("user=alice") == (["alice"], "1")
    assert await page(f"id={home.endpoint.id}&name=work") == (["home", "work"], "2")
    assert await page("keyword=o") == (["home", "work"], "2")
    for bad in ("limit=0", "limit=-1", "limit=x", "offset=-1", "limit=1001", "offset=1e3"):
        await home.refused(400, "GET", f"/endpoints?{bad}")


async def test_endpoints_are_chosen_by_all_the_labels_given(home: Api, work: Api) -> None:
    await home.ok("POST", f"/endpoints/{home.endpoint.id}/labels", ["site=paris", "prod"])
    await home.ok("POST", f"/endpoints/{work.endpoint.id}/labels", ["site=paris"])

    async def chosen(*labels: str) -> list[str]:
        query = "&".join(f"label={label}" for label in labels)
        return [each["name"] for each in await home.ok("GET", f"/endpoints?{query}")]

    while await chosen("prod") != ["home"] or await chosen("site%3Dparis") != ["home", "work"]:
        await home.endpoint.mesh.link().beat()
        await work.endpoint.mesh.link().beat()
    assert await chosen("site%3Dparis", "prod") == ["home"]
    assert await chosen("nothing") == []
    answer = await home.ask("GET", "/endpoints?label=site%3Dparis&limit=1&offset=1")
    assert [each["name"] for each in json.loads(answer.body)] == ["work"]
    assert dict(answer.headers)["total"] == "2"


async def test_rates_and_pings_have_v1s_form(home: Api, work: Api) -> None:
    assert set(await home.ok("GET", "/stats/endpoints")) == {home.endpoint.id, work.endpoint.id}
    rates = await home.ok("GET", f"/stats/endpoints/{work.endpoint.id}")
    assert set(rates) == {"send", "receive", "peers"}
    hops = await home.ok("GET", f"/ping/endpoints/{work.endpoint.id}")
    assert [sorted(set(hop) & {"hub", "endpoint"}) for hop in hops] == [["endpoint"], ["hub"], ["endpoint"]]
    assert all({"start", "end", "error"} <= set(hop) for hop in hops)


async def test_a_mesh_that_is_not_connected_says_why(home: Api, mesh: SimMesh) -> None:
    await home.ok("POST", "", {"agent": {"offline": True}})
    for path in ("/endpoints", "/users", "/stats/endpoints", f"/endpoints/{NOBODY}"):
        assert "not connected" in await home.refused(503, "GET", path)
    (hub_id,) = await home.ok("GET", "/hubs")
    assert "disabled" in await home.refused(409, "POST", f"/hubs/{hub_id}", {"connected": True})


# ---------------------------------------------------------------------- general rules


async def test_what_a_caller_has_already_is_not_sent_again(home: Api) -> None:
    first = await home.ask("GET", "/api/meshes")
    tag = dict(first.headers)["etag"]
    again = await home.ask("GET", "/api/meshes", if_none_match=tag)
    assert (again.status, again.body) == (304, b"")
    await home.ok("POST", f"/endpoints/{home.endpoint.id}/labels", ["new"])
    assert (await home.ask("GET", "/api/meshes", if_none_match=tag)).status == 200


async def test_other_methods_are_refused_with_those_that_are_taken(home: Api) -> None:
    answer = await home.ask("DELETE", "/api/meshes")
    assert (answer.status, dict(answer.headers)["allow"]) == (405, "GET, HEAD, OPTIONS")
    answer = await home.ask("OPTIONS", "")
    assert (answer.status, dict(answer.headers)["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST")
    assert "/api/openapi.json" in await home.refused(404, "GET", "/api/nowhere")


async def test_vitals_tell_whether_each_mesh_is_as_it_should_be(home: Api, mesh: SimMesh) -> None:
    assert await home.ok("GET", "/api/healthz") == {"status": "ok", "meshes": {MESH: "connected"}}
    await mesh.kill_hub()
    while home.endpoint.mesh.health.state is State.CONNECTED:
        await home.endpoint.mesh.standing.turned()
    assert (await home.ok("GET", "/api/healthz"))["status"] == "degraded"
