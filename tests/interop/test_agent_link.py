"""What our agent makes of a v1-like hub that refuses it, falls silent, or goes away, and how it comes back."""

import asyncio
import socket
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from v1_ca import authority, key, public
from v1_hub import V1Hub
from v1_mesh import LOOPBACK, Party, V1Mesh, v1_mesh

from v1_http import GOAWAY
from ztm.agent import hublink
from ztm.agent.state import State
from ztm.errors import CertificateError, ZtmError
from ztm.net.http2 import session as http2_session
from ztm.pki import identity_of

# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("status", "text", "state"),
    [
        (429, b"Too many agents", State.FULL),
        (403, b"not your endpoint", State.REFUSED),
        (500, b"something broke", State.UNREACHABLE),
    ],
)
async def test_a_refused_control_session_is_shown_with_the_hubs_reason(
    tmp_path: Path, status: int, text: bytes, state: State
) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.refusal = (status, text)
        party = await made.join()
        assert text.decode() in (await party.state(state)).reason
        with pytest.raises(ZtmError, match=text.decode()):
            party.mesh.link()


@pytest.mark.parametrize("way", ["end", "reset"])
async def test_a_wordless_end_right_after_the_handshake_is_shown_as_a_refusal(tmp_path: Path, way: str) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.shuts_out = way
        party = await made.join()
        assert "evicted" in (await party.state(State.REFUSED)).reason


async def test_a_tls_alert_is_shown_as_a_refusal(tmp_path: Path) -> None:
    def script(hub: V1Hub) -> None:
        hub.trusts = authority("foreign").certificate

    async with v1_mesh(tmp_path, script=script) as made:
        party = await made.join()
        assert "refuses this certificate" in (await party.state(State.REFUSED)).reason


async def test_an_eviction_while_connected_is_noticed(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        made.hub.shuts_out = "end"
        await made.hub.drop()
        assert "evicted" in (await party.state(State.REFUSED)).reason


async def test_a_hub_that_shows_a_users_certificate_is_told_nothing(tmp_path: Path) -> None:
    def script(hub: V1Hub) -> None:
        hub.name = "bob"

    async with v1_mesh(tmp_path, script=script) as made:
        party = await made.join()
        reason = (await party.state(State.BAD_PERMIT)).reason
        assert "'bob'" in reason
        assert made.hub.links == []


async def test_a_hub_of_another_mesh_is_told_nothing(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.ca = authority("foreign")
        party = await made.join()
        assert "no valid certificate" in (await party.state(State.BAD_PERMIT)).reason
        assert made.hub.links == []


async def test_an_absent_hub_is_shown_as_unreachable(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.hub.close()
        party = await made.join()
        assert made.hub.address in (await party.state(State.UNREACHABLE)).reason


async def test_a_hub_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.gates["control"] = asyncio.Event()
        party = await made.join(answer_timeout=0.1)
        assert "does not answer" in (await party.state(State.UNREACHABLE)).reason
        await made.hub.until(made.hub.links[0].http.closed.is_set)


@pytest.mark.parametrize(("status", "least"), [(429, [0.8]), (500, [0.2, 0.4])])
async def test_a_hub_that_refuses_is_asked_ever_more_seldom(tmp_path: Path, status: int, least: list[float]) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.refusal = (status, b"no")
        await made.join()
        await made.hub.until(lambda: len(made.hub.dialled) > len(least))
        times = made.hub.dialled
        pauses = [after - before for before, after in pairwise(times)]
        assert all(pause >= bound for pause, bound in zip(pauses, least, strict=False)), pauses


# ---------------------------------------------------------------------- coming back


async def drops_tls(made: V1Mesh) -> None:
    await made.hub.drop()


async def sends_goaway(made: V1Mesh) -> None:
    made.hub.control().link.http.frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0))


async def ends_the_control_stream(made: V1Mesh) -> None:
    made.hub.control().tunnel.end()


async def resets_the_control_stream(made: V1Mesh) -> None:
    made.hub.control().tunnel.reset()


async def restarts(made: V1Mesh) -> None:
    await made.hub.close()
    await made.hub.open()


@pytest.mark.parametrize(
    "does", [drops_tls, sends_goaway, ends_the_control_stream, resets_the_control_stream, restarts]
)
async def test_an_agent_comes_back_with_the_same_id_when_the_hub(
    tmp_path: Path, does: Callable[[V1Mesh], "asyncio.Future[None]"]
) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        first = made.hub.links[0]
        await does(made)
        await made.hub.until(first.http.closed.is_set)
        await made.hub.until(lambda: any(link.is_control for link in made.hub.links[1:]))
        await party.state(State.CONNECTED)
        await came_back(made, party, dials=2)


async def came_back(made: V1Mesh, party: Party, dials: int) -> None:
    assert list(made.hub.endpoints) == [party.id]
    assert len(made.hub.dialled) == dials
    answer = await made.hub.control().http.ask("GET", "/api/ping")
    assert answer.json["id"] == party.id


async def test_the_address_that_worked_is_dialled_before_others_that_the_hub_names(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        with socket.create_server((LOOPBACK, 0)) as mute:  # takes connections, and says nothing
            made.hub.more_ports = [f"{LOOPBACK}:{mute.getsockname()[1]}"]
            party = await made.joined(heartbeat=0.3)
            await made.hub.until_asked("POST", "/api/status", times=5)  # long enough to be no failure when it is lost
            assert len(party.mesh.hubs()[made.hub.id].ports) == 2
            await made.hub.drop()
            async with asyncio.timeout(3.0):
                await made.hub.until(lambda: any(link.is_control for link in made.hub.links[1:]))


async def test_files_are_advertised_again_after_a_reconnect(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        party.mesh.files.write("/users/root/a.txt", b"hello")
        await made.hub.until(lambda: made.hub.files)
        made.hub.files.clear()
        await made.hub.drop()
        await made.hub.until(lambda: made.hub.files)
        assert list(made.hub.files) == ["/users/root/a.txt"]


async def test_a_hub_that_has_forgotten_the_session_is_dialled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hublink, "HUB_PING_LATE", 0.2)
    monkeypatch.setattr(hublink, "LOOK_EVERY", 0.02)
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        reason = (await party.state(State.UNREACHABLE)).reason
        assert "forgotten this session" in reason
        await party.state(State.CONNECTED)


async def test_a_hub_that_pings_keeps_its_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        before = party.mesh.link().pinged_at
        await made.hub.control().http.ask("GET", "/api/ping")
        assert party.mesh.link().pinged_at > before


async def test_a_hub_that_answers_no_ping_frame_is_dialled_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_session, "PING_EVERY", 0.05)

    def script(hub: V1Hub) -> None:
        hub.acks = False

    async with v1_mesh(tmp_path, script=script) as made:
        party = await made.joined(suspect_after=0.2)
        made.hub.acks = True
        await made.hub.until(lambda: len(made.hub.links) == 2 and made.hub.links[1].is_control)
        await party.state(State.CONNECTED)


async def test_a_heartbeat_without_an_answer_ends_the_link(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(heartbeat=0.05, answer_timeout=0.2)
        made.hub.gates["/api/status"] = asyncio.Event()
        assert "heartbeat failed" in (await party.state(State.UNREACHABLE)).reason
        made.hub.gates["/api/status"].set()
        await party.state(State.CONNECTED)


@pytest.mark.parametrize("path", ["/api/zones", "/api/zones/default/hubs", "/api/filesystem"])
@pytest.mark.parametrize("answer", [b"{bad", b"7", b'{"x": {"ports": ["nowhere"]}, "/a": 1}'])
async def test_a_malformed_answer_harms_nothing(tmp_path: Path, path: str, answer: bytes) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.answers["GET", path] = (200, answer)
        party = await made.joined(heartbeat=0.05)
        await made.hub.until_asked("GET", path)
        await made.hub.until_asked("POST", "/api/status", times=3)
        assert party.mesh.health.state is State.CONNECTED
        assert len(made.hub.dialled) == 1
        assert len(made.hub.requests("GET", path)) == 1


async def test_a_long_poll_that_is_answered_at_once_with_nothing_is_not_repeated_at_once(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.answers["GET", "/api/filesystem"] = (200, b"{}")
        await made.joined(heartbeat=0.05)
        await made.hub.until_asked("POST", "/api/status", times=4)
        assert len(made.hub.requests("GET", "/api/filesystem")) == 2


# ---------------------------------------------------------------------- renewal


async def test_a_certificate_with_few_days_left_is_signed_anew_and_shown_from_then_on(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.join(days=50)
        old = party.mesh.row.certificate
        asked = await made.hub.until_asked("POST", "/api/sign/root")
        assert asked.body.decode() == public(key("root", is_rsa=False))
        await party.state(State.CONNECTED)
        session = await made.passive_ended()
        while session.link.not_after == made.hub.control().link.not_after:  # asked for before the answer was stored
            session = await made.passive_ended()
        new = party.agent.store.meshes()["m"].certificate
        assert new == party.mesh.row.certificate != old
        assert identity_of(new).key == identity_of(old).key
        assert len(made.hub.requests("POST", "/api/sign/root")) == 1


async def test_a_user_renews_with_the_identity_key(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.join(user="bob", days=100)
        asked = await made.hub.until_asked("POST", "/api/sign/bob")
        assert asked.body.decode() == party.agent.public_key()


async def test_a_certificate_with_many_days_left_is_not_renewed(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined(days=102)
        assert not await party.mesh.renew_if_due(party.mesh.link())
        assert not made.hub.requests("POST", "/api/sign/root")


def junk(_public: str) -> str:
    return "not a certificate"


def another_name(public_key: str) -> str:
    return authority().sign("alice", public_key)


def another_key(_public: str) -> str:
    return authority().sign("root", public(key("hub")))


def another_ca(public_key: str) -> str:
    return authority("foreign").sign("root", public_key)


@pytest.mark.parametrize("signed", [junk, another_name, another_key, another_ca])
async def test_a_wrong_certificate_is_not_taken(tmp_path: Path, signed: Callable[[str], str]) -> None:
    async with v1_mesh(tmp_path) as made:
        body = signed(public(key("root", is_rsa=False))).encode()
        made.hub.answers["POST", "/api/sign/root"] = (201, body)
        party = await made.join(days=50)
        old = party.mesh.row.certificate
        await party.state(State.CONNECTED)
        with pytest.raises(CertificateError):
            await party.mesh.renew_if_due(party.mesh.link())
        assert party.agent.store.meshes()["m"].certificate == party.mesh.row.certificate == old
        assert party.mesh.health.state is State.CONNECTED


async def test_an_older_certificate_is_not_taken(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        body = authority().sign("root", public(key("root", is_rsa=False)), days=10).encode()
        made.hub.answers["POST", "/api/sign/root"] = (201, body)
        party = await made.joined(days=50)
        old = party.mesh.row.certificate
        assert await party.mesh.renew_if_due(party.mesh.link()), "it was asked for, so it is not at once again"
        assert party.mesh.row.certificate == old
