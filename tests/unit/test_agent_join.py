"""Joining, changing and leaving a mesh: nothing is stored that could not connect safely, and nothing is left behind."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import msgspec
import pytest

from ztm.agent.agent import MAX_MESHES, Agent
from ztm.agent.api.views import AgentSettings, MeshSettings, MeshView, mesh_view
from ztm.agent.config import AgentConfig
from ztm.agent.credentials import credentials
from ztm.agent.state import Health, State
from ztm.apps.builtin import BUILTIN
from ztm.errors import CertificateError, ConflictError, NotFoundError, UnreachableError, UsageError, ZtmError
from ztm.model import Address
from ztm.net.choice import network as chosen_network
from ztm.pki import Authority, new_key, public_key
from ztm.store.agent import AgentStore

NOW = datetime.now(UTC)
NOWHERE = "127.0.0.1:9"
ANY_PORT = Address("127.0.0.1", 0)


@cache
def authority(name: str = "ours") -> Authority:
    return Authority.create(NOW - timedelta(days=400))


@cache
def root_key() -> str:
    return new_key()


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    made = make(tmp_path)
    yield made
    await made.close()


def make(folder: Path, listen: Address = ANY_PORT) -> Agent:
    return Agent(AgentConfig(data=folder / "a", listen=listen, pointers=folder / "p"), chosen_network(), BUILTIN)


def settings(
    user: str = "root",
    public: str = "",
    *,
    key: str | None = None,
    ca: str | None = None,
    begin: datetime = NOW,
    name: str = "home",
    offline: bool = True,
    bootstraps: list[str] | None = None,
) -> MeshSettings:
    """A permit's settings; root's own unless said otherwise. Offline, so that nothing is dialled."""
    if user == "root" and not public:
        public, key = public_key(root_key()), root_key()
    certificate = authority().sign_user(user, public, begin)
    own = AgentSettings(name=name, certificate=certificate, privateKey=key, offline=offline)
    given = [NOWHERE] if bootstraps is None else bootstraps
    return MeshSettings(ca=authority().certificate if ca is None else ca, agent=own, bootstraps=given)


def changed(before: MeshSettings, **own: object) -> MeshSettings:
    """The same with other fields of its `agent`."""
    assert before.agent is not None
    return msgspec.structs.replace(before, agent=msgspec.structs.replace(before.agent, **own))


# ---------------------------------------------------------------------- joining


async def test_a_joined_mesh_is_on_disk_with_an_id_of_its_own(agent: Agent) -> None:
    mesh = await agent.join("m", settings())
    row = agent.store.meshes()["m"]
    assert row == mesh.row
    assert (row.endpoint_name, row.key, row.bootstraps) == ("home", root_key(), (Address("127.0.0.1", 9),))
    other = await agent.join("n", settings())
    assert other.endpoint_id != mesh.endpoint_id
    assert [one.name for one in agent.meshes()] == ["m", "n"]


BAD = {
    "no CA": lambda: settings(ca=""),
    "a CA that is none": lambda: settings(ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    "a CA that is a user": lambda: settings(ca=authority().sign_user("root", public_key(root_key()), NOW)),
    "the CA of another mesh": lambda: settings(ca=authority("foreign").certificate),
    "no certificate": lambda: changed(settings(), certificate=None),
    "an empty certificate": lambda: changed(settings(), certificate=""),
    "junk for a certificate": lambda: changed(settings(), certificate="junk"),
    "root's permit without its key": lambda: changed(settings(), privateKey=None),
    "root's permit with another key": lambda: changed(settings(), privateKey=new_key()),
    "root's permit with junk for a key": lambda: changed(settings(), privateKey="junk"),
    "a permit for another identity": lambda: settings("bob", public_key(new_key())),
    "a user's permit that brings a key": lambda: settings("bob", public_key(root_key()), key=root_key()),
    "an expired permit": lambda: settings(begin=NOW - timedelta(days=399)),
    "a permit of tomorrow": lambda: settings(begin=NOW + timedelta(days=1)),
    "a hub's certificate": lambda: changed(
        settings(), certificate=authority().sign_hub("0", public_key(root_key()), NOW)
    ),
    "the CA itself": lambda: changed(settings(), certificate=authority().certificate),
    "no bootstraps": lambda: settings(bootstraps=[]),
    "a bootstrap without a port": lambda: settings(bootstraps=["hub.example"]),
    "a bootstrap with a bad port": lambda: settings(bootstraps=["hub.example:99999"]),
    "an endpoint name with a slash": lambda: settings(name="a/b"),
    "an empty endpoint name": lambda: settings(name=""),
    "no endpoint name": lambda: changed(settings(), name=None),
    "a long endpoint name": lambda: settings(name="x" * 200),
    "nothing": MeshSettings,
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_permit_is_refused_and_nothing_is_stored(agent: Agent, what: str) -> None:
    with pytest.raises(UsageError) as refused:
        await agent.join("m", BAD[what]())
    assert root_key().splitlines()[1] not in str(refused.value)
    assert agent.meshes() == []
    assert agent.store.meshes() == {}
    assert not (agent.store.database.path.parent / "meshes").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a\nb", "a\\b", " a", "x" * 200])
async def test_a_mesh_name_that_could_be_a_path_is_refused(agent: Agent, name: str) -> None:
    with pytest.raises(UsageError):
        await agent.join(name, settings())
    assert agent.store.meshes() == {}


async def test_who_holds_a_permit_for_another_identity_is_told_what_to_do(agent: Agent) -> None:
    with pytest.raises(CertificateError, match="ztm identity"):
        await agent.join("m", settings("bob", public_key(new_key())))


async def test_a_user_permit_for_this_identity_is_taken(agent: Agent) -> None:
    mesh = await agent.join("m", settings("bob", agent.public_key()))
    assert (mesh.user, mesh.row.key) == ("bob", None)


async def test_the_number_of_meshes_is_bounded(agent: Agent) -> None:
    for number in range(MAX_MESHES):
        agent._meshes[f"m{number}"] = None  # type: ignore[assignment]
    with pytest.raises(UsageError, match="leave one first"):
        await agent.join("one more", settings())
    agent._meshes.clear()


# ---------------------------------------------------------------------- changing


async def test_settings_posted_back_as_read_change_nothing(agent: Agent) -> None:
    mesh = await agent.join("m", settings())
    await agent.join("m", as_read(mesh_view(mesh)))
    assert agent.mesh("m").row == mesh.row
    assert agent.store.meshes()["m"] == mesh.row


def as_read(view: MeshView) -> MeshSettings:
    """The answer to GET, as the body of a POST."""
    return msgspec.json.decode(msgspec.json.encode(view), type=MeshSettings)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (MeshSettings(agent=AgentSettings(name="work")), "endpoint_name", "work"),
        (MeshSettings(agent=AgentSettings(labels=["a", "b"])), "labels", ("a", "b")),
        (MeshSettings(agent=AgentSettings(offline=False)), "offline", False),
        (MeshSettings(bootstraps=["[::1]:80"]), "bootstraps", (Address("::1", 80),)),
    ],
)
async def test_what_is_left_out_stays(agent: Agent, change: MeshSettings, field: str, value: object) -> None:
    before = (await agent.join("m", settings())).row
    after = (await agent.join("m", change)).row
    assert after == dataclasses.replace(before, **{field: value})


async def test_a_new_permit_keeps_the_endpoint_id(agent: Agent) -> None:
    before = (await agent.join("m", settings())).row
    after = (await agent.join("m", settings("bob", agent.public_key()))).row
    assert after.endpoint_id == before.endpoint_id
    assert agent.mesh("m").user == "bob"
    assert credentials(after, agent.store.identity_key(), agent.network.wall()).key == agent.store.identity_key()


async def test_a_permit_without_a_key_forgets_the_key_of_the_one_before(agent: Agent) -> None:
    before = (await agent.join("m", settings())).row
    assert before.key == root_key()
    assert (await agent.join("m", settings("bob", agent.public_key()))).row.key is None


async def test_a_new_certificate_of_the_same_key_keeps_the_key(agent: Agent) -> None:
    await agent.join("m", settings())
    again = changed(settings(), privateKey=None)
    assert (await agent.join("m", again)).row.key == root_key()


async def test_a_refused_change_leaves_all_as_it_was(agent: Agent) -> None:
    before = await agent.join("m", settings())
    for bad in (settings(ca=authority("foreign").certificate), settings(name="a/b"), settings(bootstraps=[])):
        with pytest.raises(UsageError):
            await agent.join("m", bad)
    assert agent.mesh("m") is before
    assert agent.store.meshes()["m"] == before.row


async def test_a_permit_can_be_erased_only_from_a_disabled_mesh(agent: Agent) -> None:
    await agent.join("m", settings())
    mesh = await agent.join("m", MeshSettings(agent=AgentSettings(certificate="", offline=True)))
    assert (mesh.user, mesh.health.state) == ("", State.OFFLINE)
    with pytest.raises(CertificateError, match="missing user certificate"):
        await agent.join("m", MeshSettings(agent=AgentSettings(offline=False)))
    with pytest.raises(CertificateError, match="no permit"):
        credentials(mesh.row, agent.store.identity_key(), agent.network.wall())


# ---------------------------------------------------------------------- shown


async def test_what_is_shown_holds_no_private_key(agent: Agent) -> None:
    view = mesh_view(await agent.join("m", settings()))
    assert b"PRIVATE KEY" not in msgspec.json.encode(view)
    told = msgspec.to_builtins(view)
    assert told.keys() >= {"name", "ca", "agent", "bootstraps", "connected", "errors", "state", "lastError"}
    assert told["agent"].keys() == {"id", "name", "username", "certificate", "labels", "offline"}
    assert (told["connected"], told["state"], told["bootstraps"]) == (False, "offline", [NOWHERE])


async def test_neither_rows_nor_credentials_print_a_private_key(agent: Agent) -> None:
    mesh = await agent.join("m", settings())
    tls = credentials(mesh.row, agent.store.identity_key(), agent.network.wall())
    assert "PRIVATE KEY" not in repr(mesh.row) + repr(tls)


async def test_a_disabled_mesh_says_why_it_cannot_be_used(agent: Agent) -> None:
    mesh = await agent.join("m", settings())
    with pytest.raises(UnreachableError, match=r"not connected.*offline"):
        mesh.link()


async def test_failures_are_shown_until_a_success_and_repeats_once(agent: Agent) -> None:
    mesh = await agent.join("m", settings())
    for reason in ("one", "one", "two"):
        mesh.standing.turn(Health(State.UNREACHABLE, reason))
        mesh.standing.turn(Health(State.CONNECTING))
    assert [one.message for one in mesh_view(mesh).errors] == ["one", "two"]
    mesh.standing.turn(Health(State.CONNECTED))
    assert (mesh_view(mesh).errors, mesh_view(mesh).last_error) == ([], "")


# ---------------------------------------------------------------------- leaving


async def test_leaving_removes_rows_and_files(agent: Agent, tmp_path: Path) -> None:
    mesh = await agent.join("m", settings())
    await agent.join("n", settings())
    mesh.files.write("/users/root/x", b"secret")
    await mesh.host.start("ztm", "tunnel")
    agent.store.write_file("m", "ztm", "tunnel", "config.json", b"{}")
    assert (tmp_path / "a" / "meshes" / "m" / "fs").is_dir()
    await agent.leave("m")
    assert [one.name for one in agent.meshes()] == ["n"]
    assert list(agent.store.meshes()) == ["n"]
    assert agent.store.apps("m") == ()
    assert agent.store.list_files("m", "ztm", "tunnel") == ()
    assert not (tmp_path / "a" / "meshes" / "m").exists()
    assert (tmp_path / "a" / "meshes" / "n").exists()


async def test_what_was_never_joined_cannot_be_left(agent: Agent) -> None:
    with pytest.raises(NotFoundError, match="'m' not found"):
        await agent.leave("m")


async def test_joining_again_after_leaving_is_another_endpoint(agent: Agent) -> None:
    first = (await agent.join("m", settings())).endpoint_id
    await agent.leave("m")
    assert (await agent.join("m", settings())).endpoint_id != first


# ---------------------------------------------------------------------- living


async def test_a_restarted_agent_has_its_meshes_and_its_identity(tmp_path: Path) -> None:
    first = make(tmp_path)
    await first.start()
    row, identity = (await first.join("m", settings())).row, first.public_key()
    await first.close()
    second = make(tmp_path)
    await second.start()
    assert (second.mesh("m").row, second.public_key()) == (row, identity)
    assert second.token != first.token
    await second.close()


async def test_a_port_in_use_is_told_and_harms_nothing(tmp_path: Path) -> None:
    first = make(tmp_path / "1")
    await first.start()
    second = make(tmp_path / "2", first.address)
    with pytest.raises(ConflictError, match=str(first.address.port)):
        await second.start()
    await second.close()
    await first.close()


async def test_an_agent_that_is_not_started_has_no_address(agent: Agent) -> None:
    with pytest.raises(ZtmError, match="not started"):
        assert agent.address
    assert agent.token == ""


def test_a_damaged_row_is_told_by_its_name(tmp_path: Path) -> None:
    store = AgentStore(tmp_path)
    store.database.execute("INSERT INTO meshes (name, ca, agent, bootstraps) VALUES ('m', '', '{', '')", ())
    with pytest.raises(ZtmError, match="'m'"):
        store.meshes()
    store.close()
