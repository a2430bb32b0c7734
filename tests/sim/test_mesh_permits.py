"""Permits on a whole mesh: revoking one cuts its holder off and nobody else, and one with an end really ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from local_api import Api, home_of

from ztm import pki
from ztm.agent.state import State
from ztm.errors import BrokenStreamError
from ztm.testing.mesh import MESH, SimEndpoint, SimMesh

TUNNEL = "tcp/echo"
PORT = 1080
DAY = 86400
SWEEP = 15.0
"""Seconds within which a hub looks for permits that are over."""


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


async def invited(mesh: SimMesh, home: Api, name: str, user: str, query: str = "") -> Api:
    """A new endpoint of a user whom root has invited by the local API, connected."""
    endpoint = SimEndpoint(mesh, name, user, f"10.0.1.{len(mesh.endpoints) + 1}")
    mesh.endpoints.append(endpoint)
    await endpoint.start()
    await rejoined(mesh, home, Api(endpoint), query)
    return Api(endpoint)


async def rejoined(mesh: SimMesh, home: Api, guest: Api, query: str = "") -> None:
    """Invite the endpoint's user (again), and wait until it is connected by that permit."""
    agent = guest.endpoint.agent
    assert agent is not None
    permit = await home.ok("POST", f"/permits/{guest.endpoint.user}{query}", agent.public_key())
    settings = {**permit, "agent": {**permit["agent"], "name": guest.endpoint.name}}
    await guest.ok("POST", f"/api/meshes/{MESH}", settings)
    await mesh.connected(guest.endpoint)


async def permit_of(home: Api, guest: Api) -> dict[str, Any]:
    """What the hub has on the permit of an endpoint."""
    agent = guest.endpoint.agent
    assert agent is not None
    key = pki.fingerprint(agent.public_key())
    (found,) = [one for one in await home.ok("GET", "/permits") if one["key"] == key]
    return dict(found)


async def until_state(guest: Api, state: State, within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while guest.endpoint.mesh.health.state is not state:
            await guest.endpoint.mesh.standing.turned()


async def test_revoking_cuts_live_streams_at_once_and_the_agent_says_why(mesh: SimMesh, home: Api) -> None:
    laptop, phone = await invited(mesh, home, "laptop", "alice"), await invited(mesh, home, "phone", "alice")
    await home.endpoint.open_outbound(TUNNEL, [await home.endpoint.echo_server()], users=["alice"])
    streams = []
    for guest in (laptop, phone):
        body = {"listens": [{"ip": "127.0.0.1", "port": PORT}], "exits": [home.endpoint.id], "fromUsers": ["root"]}
        await guest.endpoint.tunnel("POST", f"inbound/{TUNNEL}", body)
        async with asyncio.timeout(10.0):
            while await guest.endpoint.echo(PORT, b"x") != b"x":
                await asyncio.sleep(0.1)
        streams.append(await guest.endpoint.client(PORT))
        await streams[-1].write(b"a")
        assert await streams[-1].read() == b"a"
    permit = await permit_of(home, laptop)
    assert (permit["username"], permit["issuedBy"], permit["state"]) == ("alice", "root", "valid")
    cut = await home.ok("DELETE", f"/permits/{permit['id']}", status=200)
    assert cut == {"endpoints": [{"id": laptop.endpoint.id, "name": "laptop"}]}
    with pytest.raises(BrokenStreamError):
        async with asyncio.timeout(1.0):
            await streams[0].read()
    await streams[1].write(b"b")
    assert await streams[1].read() == b"b", "another key of the same user goes on working"
    await until_state(laptop, State.REFUSED)
    view = await laptop.ok("GET", "")
    assert (view["connected"], view["state"]) == (False, "refused")
    assert "permit revoked" in view["lastError"]
    assert (await permit_of(home, laptop))["state"] == "revoked"
    assert (await permit_of(home, phone))["state"] == "valid"


async def test_a_revocation_outlives_the_hub_and_ends_with_a_new_invitation(mesh: SimMesh, home: Api) -> None:
    guest = await invited(mesh, home, "laptop", "alice")
    await home.ok("DELETE", f"/permits/{(await permit_of(home, guest))['id']}")
    await until_state(guest, State.REFUSED)
    await mesh.kill_hub()
    await until_state(guest, State.UNREACHABLE, within=600.0)
    await mesh.start_hub()
    await mesh.connected(home.endpoint)
    await until_state(guest, State.REFUSED, within=600.0)
    assert (await permit_of(home, guest))["state"] == "revoked"
    await rejoined(mesh, home, guest)
    assert (await permit_of(home, guest))["state"] == "valid"


async def test_a_permit_with_an_end_is_cut_off_when_it_is_over(mesh: SimMesh, home: Api) -> None:
    guest = await invited(mesh, home, "laptop", "alice", "?expires=7")
    permit = await permit_of(home, guest)
    assert permit["expiration"] == permit["ends"]
    assert permit["expiration"] - permit["notBefore"] == 7 * DAY * 1000
    mesh.world.put_forward(7 * DAY - 30.0)
    await asyncio.sleep(5.0)
    assert guest.endpoint.mesh.health.state is State.CONNECTED
    assert (await permit_of(home, guest))["state"] == "expiring"
    await asyncio.sleep(25.0)
    await until_state(guest, State.BAD_PERMIT, within=SWEEP + 15.0)
    assert "expired" in guest.endpoint.mesh.health.reason
    assert (await permit_of(home, guest))["state"] == "expired"


async def test_a_session_outlives_the_certificate_it_began_with_where_that_was_renewed(
    mesh: SimMesh, home: Api
) -> None:
    guest = await invited(mesh, home, "laptop", "alice")
    first = await permit_of(home, guest)
    mesh.world.put_forward(300 * DAY)
    await asyncio.sleep(70.0)
    later = await permit_of(home, guest)
    assert (later["id"], later["issuedBy"], later["state"]) == (first["id"], "renewal", "valid")
    assert later["expiration"] >= first["expiration"] + 300 * DAY * 1000
    mesh.world.put_forward(100 * DAY)
    await asyncio.sleep(70.0)
    for each in (guest, home):
        assert each.endpoint.mesh.health.state is State.CONNECTED
        assert each.endpoint.mesh.standing.connects == 1


async def test_an_agent_whose_permit_ends_does_not_ask_for_renewals_again_and_again(
    mesh: SimMesh, home: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = await invited(mesh, home, "laptop", "alice", "?expires=1")
    before, asked = guest.endpoint.mesh.row.certificate, []

    def noted(pem: str) -> str:
        asked.append(pem)
        return pki.check_public_key(pem)

    monkeypatch.setattr("ztm.hub.signing.check_public_key", noted)
    await asyncio.sleep(8000.0)
    assert len(asked) <= 1, "a refusal counts for a tenth of the day"
    await asyncio.sleep(1000.0)
    assert len(asked) == 2, "after joining, and then"
    assert guest.endpoint.mesh.row.certificate == before
    assert (await permit_of(home, guest))["issuedBy"] == "root"
    assert guest.endpoint.mesh.health.state is State.CONNECTED


async def test_only_root_lists_and_revokes_and_what_is_unknown_is_not_found(mesh: SimMesh, home: Api) -> None:
    guest = await invited(mesh, home, "laptop", "alice")
    permit = (await permit_of(home, guest))["id"]
    assert "only root may list permits" in await guest.refused(403, "GET", "/permits")
    assert "only root may revoke permits" in await guest.refused(403, "DELETE", f"/permits/{permit}")
    assert "no permit 'beef'" in await home.refused(404, "DELETE", "/permits/beef")
    assert guest.endpoint.mesh.health.state is State.CONNECTED


async def test_the_permit_of_ones_own_is_not_revoked(mesh: SimMesh, home: Api) -> None:
    (own,) = await home.ok("GET", "/permits")
    assert (own["username"], own["issuedBy"]) == ("root", "hub")
    assert "the one in use here" in await home.refused(409, "DELETE", f"/permits/{own['id']}")
    assert home.endpoint.mesh.health.state is State.CONNECTED


@pytest.mark.parametrize("days", ["0", "366", "-1", "1.5", "soon", ""])
async def test_what_is_no_number_of_days_is_refused_and_invites_nobody(home: Api, days: str) -> None:
    await home.refused(400, "POST", f"/permits/dave?expires={days}", pki.public_key(pki.new_key()))
    assert [one["username"] for one in await home.ok("GET", "/permits")] == ["root"]
