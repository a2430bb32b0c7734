"""What an app may see of its agent and its mesh, with real agents and hub on virtual time."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from ztm.apps.base import AppContext
from ztm.apps.builtin import BUILTIN
from ztm.errors import ForbiddenError, NotFoundError, UnreachableError, UsageError
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.testing.mesh import SimEndpoint, SimMesh

made: dict[tuple[str, str], AppContext] = {}
"""Contexts by app and endpoint name."""


class LookingApp:
    """An app that gives its context away."""

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.user_api = self.peer_api = Router()

    async def start(self) -> None:
        made["looking", self.context.place.name] = self.context

    async def stop(self) -> None:
        made.pop(("looking", self.context.place.name))

    async def command(self, console: object) -> int:
        raise NotImplementedError


class NeighbourApp(LookingApp):
    """One that answers other apps."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        self.self_api = Router()
        self.self_api.add("GET", "/api/who", self.who)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def who(self, request: Request) -> Response:
        return Response(200, {"user": self.context.user, "peer": str(request.peer)})


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimMesh]:
    apps = {**BUILTIN, "looking": LookingApp, "neighbour": NeighbourApp}
    monkeypatch.setattr("ztm.testing.mesh.BUILTIN", apps)
    world = SimMesh(tmp_path)
    yield world
    await world.close()
    assert not made


async def context_of(endpoint: SimEndpoint) -> AppContext:
    await endpoint.mesh.host.start("ztm", "looking")
    return made["looking", endpoint.name]


async def test_what_one_endpoint_writes_another_reads(mesh: SimMesh) -> None:
    home, work = await mesh.join("home", "work")
    at_home, at_work = await context_of(home), await context_of(work)
    await at_home.files.write("/shared/root/a/b.json", b"one")
    await at_home.files.write("/users/root/mine", b"two")
    assert await at_work.files.read("/shared/root/a/b.json") == b"one"
    assert await at_work.files.read("/users/root/mine") == b"two"
    assert await at_work.files.read("/shared/root/none") is None
    await at_home.files.write("/shared/root/a/b.json", b"three")
    assert await at_work.files.read("/shared/root/a/b.json") == b"three"


async def test_what_is_erased_is_gone_everywhere(mesh: SimMesh) -> None:
    home, work = await mesh.join("home", "work")
    at_home, at_work = await context_of(home), await context_of(work)
    await at_home.files.write("/shared/root/x", b"one")
    assert await at_work.files.erase("/shared/root/x")
    assert await at_home.files.read("/shared/root/x") is None
    assert not await at_home.files.erase("/shared/root/x")


async def test_files_of_other_users_are_read_only_and_private_ones_unseen(mesh: SimMesh) -> None:
    (home,), (guest,) = await mesh.join("home"), await mesh.join("guest", user="alice")
    at_home, at_guest = await context_of(home), await context_of(guest)
    await at_home.files.write("/shared/root/x", b"one")
    assert await at_guest.files.read("/shared/root/x") == b"one"
    with pytest.raises(ForbiddenError):
        await at_guest.files.write("/shared/root/x", b"two")
    with pytest.raises(ForbiddenError):
        await at_guest.files.erase("/shared/root/x")
    for path in ("/users/root/x", "/local/x", "/other/x", "/shared/../x", "shared/root/x"):
        with pytest.raises(UsageError):
            await at_guest.files.read(path)


async def test_local_files_are_listed_and_erased(mesh: SimMesh) -> None:
    (home,) = await mesh.join("home")
    files = (await context_of(home)).files
    files.write_local("b", b"1")
    files.write_local("a", b"2")
    assert files.list_local() == ["a", "b"]
    assert files.erase_local("a")
    assert not files.erase_local("a")
    assert files.read_local("a") is None


async def test_users_of_the_mesh_are_listed(mesh: SimMesh) -> None:
    (home,), _ = await mesh.join("home"), await mesh.join("guest", user="alice")
    assert {one.name: one.count for one in await (await context_of(home)).users()} == {"root": 1, "alice": 1}


async def test_an_app_asks_another_one_of_its_endpoint_which_starts(mesh: SimMesh) -> None:
    (home,) = await mesh.join("home")
    context = await context_of(home)
    for name in ("neighbour", "ztm/neighbour"):
        answer = await context.ask(name, "GET", "/api/who")
        assert (answer.status, answer.body) == (200, b'{"user":"root","peer":"None"}')
    with pytest.raises(NotFoundError, match="answers no other app"):
        await context.ask("looking", "GET", "/api/who")
    with pytest.raises(NotFoundError):
        await context.ask("nothing", "GET", "/")
    await home.mesh.host.stop("ztm", "neighbour", "disabled")
    with pytest.raises(UnreachableError, match="disabled"):
        await context.ask("neighbour", "GET", "/api/who")


async def test_an_app_has_a_directory_of_its_own_for_this_user_only(mesh: SimMesh) -> None:
    (home,) = await mesh.join("home")
    directory = (await context_of(home)).directory()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert directory == home.data / "meshes" / "sim" / "appdata" / "ztm" / "looking"


async def test_asking_who_the_owner_is_costs_no_parsing_of_certificates(
    mesh: SimMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home,) = await mesh.join("home")
    context = await context_of(home)
    assert context.user == "root"

    def parse(_pem: str) -> NoReturn:
        raise AssertionError("the certificate was parsed again")

    monkeypatch.setattr("ztm.pki.identity_of", parse)
    assert context.user == "root"
