"""The local API's audit log: this endpoint's, and that of others, whoever they belong to and whatever they run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_api import home_of

from ztm.agent.answers import Answers
from ztm.agent.events.bus import Filter
from ztm.apps.audit import Trail, audited
from ztm.errors import NotFoundError
from ztm.model import Peer
from ztm.rest.message import Request, Response
from ztm.testing.mesh import SimEndpoint, SimMesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[SimMesh]:
    """A mesh of the test's own."""
    made = SimMesh(tmp_path)
    await made.start_hub()
    yield made
    await made.close()


def leave(endpoint: SimEndpoint, *subjects: str, user: str = "root") -> None:
    """Have sessions with these subjects in the endpoint's audit log."""
    for subject in subjects:
        with audited(
            endpoint.mesh.audit.of("ztm/x"), Trail(side="exit", peer=Peer(user), action="connect", subject=subject)
        ):
            pass


async def test_own_records_are_listed_with_the_newest_last_and_filtered(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    assert await home.ok("GET", "/audit") == []
    leave(home.endpoint, "a", "b")
    leave(home.endpoint, "c", user="bob")
    assert [one["subject"] for one in await home.ok("GET", "/audit")] == ["a", "b", "c"]
    assert [one["subject"] for one in await home.ok("GET", "/audit?limit=1&offset=1&app=x")] == ["b"]
    assert [one["subject"] for one in await home.ok("GET", "/audit?user=bob&allowed=true")] == ["c"]
    assert await home.ok("GET", "/audit?allowed=false") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "offset=-1", "since=soon", "until=1h", "allowed=maybe"])
async def test_a_malformed_query_is_refused_here_and_for_others(mesh: SimMesh, query: str) -> None:
    home = await home_of(mesh)
    work = await home_of(mesh, "work")
    await home.refused(400, "GET", f"/audit?{query}")
    await home.refused(400, "GET", f"/endpoints/{work.endpoint.id}/audit?{query}")


async def test_another_endpoint_of_the_own_user_shows_its_log_as_it_is(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    leave(work.endpoint, "a", "b/ä ?&", user="bob")
    path = f"/endpoints/{work.endpoint.id}/audit"
    assert await home.ok("GET", path) == await work.ok("GET", "/audit")
    assert [one["subject"] for one in await home.ok("GET", f"{path}?limit=1&user=bob")] == ["b/ä ?&"]
    assert await work.ok("GET", path) == await work.ok("GET", "/audit")  # the own one by its id


async def test_another_users_log_is_not_shown(mesh: SimMesh) -> None:
    home, other = await home_of(mesh), await home_of(mesh, "other", user="alice")
    assert "belongs to user root" in await other.refused(403, "GET", f"/endpoints/{home.endpoint.id}/audit")


async def test_an_endpoint_that_keeps_none_is_said_to_keep_none(mesh: SimMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(_self: Answers, _request: Request) -> Response:
        raise NotFoundError("")  # as v1 answers a path that it does not know

    monkeypatch.setattr(Answers, "audit", unknown)
    home, work = await home_of(mesh), await home_of(mesh, "work")
    said = await home.refused(404, "GET", f"/endpoints/{work.endpoint.id}/audit")
    assert said == "endpoint work keeps no audit log: its agent is of another version"


async def test_an_answer_that_is_no_audit_log_is_not_passed_on(mesh: SimMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    async def odd(_self: Answers, _request: Request) -> Response:
        return Response(200, [{"time": 5}])

    monkeypatch.setattr(Answers, "audit", odd)
    home, work = await home_of(mesh), await home_of(mesh, "work")
    assert "what is no audit log" in await home.refused(502, "GET", f"/endpoints/{work.endpoint.id}/audit")


async def test_followers_are_told_that_there_is_more_once_for_many(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    reader = home.endpoint.mesh.events.read(Filter(frozenset({"audit"})))
    leave(home.endpoint, *map(str, range(50)))
    told = await reader.next(5.0)
    assert told is not None
    assert (told.event.type, told.event.mesh) == ("audit", home.endpoint.mesh.name)
    assert await reader.next(5.0) is None
    reader.close()
