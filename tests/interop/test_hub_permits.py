"""Permits at the hub's own API: who may see and revoke them, how they end, and that none is handed out unrecorded."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub_client import Credential, Mesh, mesh, until
from v1_http import Http2
from ztm.hub.root import issue
from ztm.model import Address, permit_id
from ztm.pki import Authority, fingerprint, identity_of, new_key, parse_permit, public_key

BEHIND = -30.0
"""The hub's clock against the machine's, so that a certificate signed a second after a revocation is good at once."""
DAY = 86400


async def invited(made: Mesh, root: Http2, user: str, key: str = "", query: str = "") -> Credential:
    """A user whose key root has had signed."""
    key = key or new_key()
    answer = await root.ask("POST", f"/api/sign/{user}{query}", public_key(key).encode())
    assert answer.status == 201, answer.text
    return made.keep(user, answer.text, key)


async def listed(root: Http2) -> list[dict[str, Any]]:
    answer = await root.ask("GET", "/api/permits")
    assert (answer.status, answer.kind) == (200, "application/json")
    found: list[dict[str, Any]] = answer.json
    return found


def id_of(credential: Credential) -> str:
    return permit_id(credential.user, fingerprint(credential.public.decode()))


async def test_what_was_signed_is_listed_once_for_each_key_and_renewals_keep_the_id(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        bob, again = await invited(made, root, "bob"), await invited(made, root, "bob")
        first = {one["id"]: one for one in await listed(root)}
        assert set(first) == {id_of(bob), id_of(again)}
        one = first[id_of(bob)]
        assert (one["username"], one["issuedBy"], one["state"]) == ("bob", "root", "valid")
        assert (one["ends"], one["revoked"]) == (None, None)
        assert one["fingerprint"] == fingerprint(bob.public.decode())
        assert one["notAfter"] - one["notBefore"] == 365 * DAY
        renewing = await made.connect(bob)
        assert (await renewing.ask("POST", "/api/sign/bob", bob.public)).status == 201
        second = {one["id"]: one for one in await listed(root)}
        assert set(second) == set(first)
        assert second[id_of(bob)]["issuedBy"] == "renewal"


async def test_only_root_sees_and_revokes(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        bob = await invited(made, root, "bob")
        other = await made.connect(bob)
        assert (await other.ask("GET", "/api/permits")).status == 403
        assert (await other.ask("DELETE", f"/api/permits/{id_of(bob)}")).status == 403
        assert (await root.ask("DELETE", "/api/permits/0123456789ab")).status == 404
        assert not await made.is_refused(bob)


async def test_a_revoked_key_is_cut_at_once_and_the_users_other_key_goes_on(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        laptop, phone = await invited(made, root, "bob"), await invited(made, root, "bob")
        lost, kept, idle = await made.connect(laptop), await made.connect(phone), await made.connect(laptop)
        for connection in (lost, kept, idle):
            assert (await connection.ask("GET", "/api/status")).status == 200
        poll = lost.request("GET", "/api/filesystem?since=0&wait")
        assert (await root.ask("DELETE", f"/api/permits/{id_of(laptop)}")).status == 200
        async with asyncio.timeout(1.0):
            await poll.ended()
            await lost.closed.wait()
            await idle.closed.wait()
        assert (await kept.ask("GET", "/api/status")).status == 200
        assert await made.is_refused(laptop)
        assert made.hub.state.counts.connections_refused == {"permit": 1}
        assert not await made.is_refused(phone)
        states = {one["id"]: (one["state"], one["revoked"] is None) for one in await listed(root)}
        assert states == {id_of(laptop): ("revoked", False), id_of(phone): ("valid", True)}
        await made.restart()
        assert await made.is_refused(laptop)
        assert not await made.is_refused(phone)


async def test_a_revoked_key_is_shut_out_under_other_names_too(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, key = await made.connect("root"), new_key()
        typo, right = await invited(made, root, "bbo", key), await invited(made, root, "bob", key)
        await root.ask("DELETE", f"/api/permits/{id_of(typo)}")
        assert await made.is_refused(right)
        assert {one["state"] for one in await listed(root)} == {"revoked"}


async def test_the_answer_names_the_endpoints_that_were_cut_off(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, bob = await made.connect("root"), await made.agent("bob", "laptop")
        await root.ask("POST", "/api/sign/bob", made.credential("bob").public)
        permit = id_of(made.credential("bob"))
        assert (await root.ask("DELETE", f"/api/permits/{permit}")).json == {
            "endpoints": [{"id": bob.id, "name": "laptop"}]
        }
        assert (await root.ask("DELETE", f"/api/permits/{permit}")).json == {"endpoints": []}


async def test_a_later_invitation_of_the_same_key_lets_it_in_again_and_the_old_permit_stays_out(tmp_path: Path) -> None:
    async with mesh(tmp_path, shift=BEHIND) as made:
        root = await made.connect("root")
        old = made.issue("bob", new_key())
        await invited(made, root, "bob", old.key.read_text())
        await root.ask("DELETE", f"/api/permits/{id_of(old)}")
        assert await made.is_refused(old)
        again = await invited(made, root, "bob", old.key.read_text())
        assert not await made.is_refused(again)
        assert await made.is_refused(old)
        assert [one["state"] for one in await listed(root)] == ["valid"]


async def test_the_permit_in_use_is_not_revoked_and_another_one_of_root_is(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        names = (Address("hub.example", 8888),)
        permits = [parse_permit(issue(made.data, names), datetime.now(UTC)) for _ in range(2)]
        mine, lost = (made.keep("root", one.certificate, one.key or "") for one in permits)
        root, other = await made.connect(mine), await made.connect(lost)
        assert (await other.ask("GET", "/api/status")).status == 200
        assert {one["id"]: one["issuedBy"] for one in await listed(root)} == {id_of(mine): "hub", id_of(lost): "hub"}
        refused = await root.ask("DELETE", f"/api/permits/{id_of(mine)}")
        assert refused.status == 409
        assert "another permit of root" in refused.text
        assert (await root.ask("DELETE", f"/api/permits/{id_of(lost)}")).status == 200
        async with asyncio.timeout(1.0):
            await other.closed.wait()
        assert await made.is_refused(lost)
        assert not await made.is_refused(mine)


async def test_an_evicted_users_permits_are_called_so(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        await invited(made, root, "bob")
        await root.ask("POST", "/api/evictions/bob?time=1")
        assert [one["state"] for one in await listed(root)] == ["evicted"]
        await root.ask("DELETE", "/api/evictions/bob")
        assert [one["state"] for one in await listed(root)] == ["valid"]


# ---------------------------------------------------------------------- expiry


async def test_a_permit_with_an_end_lasts_so_long_and_is_not_renewed_beyond(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        bob = await invited(made, root, "bob", query="?days=7")
        identity = identity_of(bob.certificate.read_text())
        assert identity.not_after - identity.not_before == timedelta(days=7)
        (one,) = await listed(root)
        assert one["ends"] == one["notAfter"] == identity.not_after.timestamp()
        renewal = await (await made.connect(bob)).ask("POST", "/api/sign/bob", bob.public)
        assert renewal.status == 403
        assert "root can issue another" in renewal.text
        assert await listed(root) == [one], "a refused renewal leaves the permit as it is"


async def test_a_permit_with_an_end_is_cut_off_then_with_an_older_certificate_as_well(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, key = await made.connect("root"), new_key()
        longer = await invited(made, root, "bob", key)
        shorter = await invited(made, root, "bob", key, "?days=1")
        live, old = await made.connect(shorter), await made.connect(longer)
        assert [(await one.ask("GET", "/api/status")).status for one in (live, old)] == [200, 200]
        made.network.shift = DAY + 5
        made.hub.sweep()
        async with asyncio.timeout(2.0):
            await live.closed.wait()
            await old.closed.wait()
        assert await made.is_refused(longer)
        assert (await root.ask("GET", "/api/status")).status == 200
        made.network.shift = 0.0


async def test_a_later_invitation_moves_the_end(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        bob = await invited(made, root, "bob", query="?days=7")
        await invited(made, root, "bob", bob.key.read_text(), "?days=30")
        renewed = await (await made.connect(bob)).ask("POST", "/api/sign/bob", bob.public)
        assert renewed.status == 201
        left = identity_of(renewed.text).not_after - datetime.now(UTC)
        assert timedelta(days=29) < left <= timedelta(days=30)
        await invited(made, root, "bob", bob.key.read_text())
        renewed = await (await made.connect(bob)).ask("POST", "/api/sign/bob", bob.public)
        assert identity_of(renewed.text).not_after - datetime.now(UTC) > timedelta(days=364)


async def test_no_permit_with_an_end_outlasts_the_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ztm.pki.authority.CA_DAYS", 20)
    async with mesh(tmp_path, authority=Authority.create(datetime.now(UTC))) as made:
        root = await made.connect("root")
        bob = await invited(made, root, "bob", query="?days=365")
        assert identity_of(bob.certificate.read_text()).not_after == identity_of(made.authority.certificate).not_after


@pytest.mark.parametrize("days", ["0", "366", "-1", "1.5", "x", "", "9" * 40, "%D9%A7"])
async def test_what_is_no_number_of_days_gets_400_and_signs_nothing(days: str, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        answer = await root.ask("POST", f"/api/sign/bob?days={days}", public_key(new_key()).encode())
        assert answer.status == 400
        assert await listed(root) == []


async def test_only_root_says_how_long_a_permit_lasts(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        bob = await invited(made, root, "bob", query="?days=7")
        assert (await (await made.connect(bob)).ask("POST", "/api/sign/bob?days=300", bob.public)).status == 403


# ---------------------------------------------------------------------- the disk


def kept(made: Mesh, table: str) -> int:
    """How many rows of a table are on disk, counted by somebody else."""
    with closing(sqlite3.connect(made.data / "ztm-hub.db")) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


async def test_what_cannot_be_written_down_is_not_handed_out(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        made.hub.state.store.database.execute("PRAGMA query_only=ON")
        answer = await root.ask("POST", "/api/sign/carol?days=3", public_key(new_key()).encode())
        assert answer.status == 507
        assert b"CERTIFICATE" not in answer.body
        assert await listed(root) == []


async def test_a_renewal_that_the_disk_refused_is_listed_and_written_later(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, bob = await made.connect("root"), await made.connect("bob")
        made.hub.state.store.database.execute("PRAGMA query_only=ON")
        assert (await bob.ask("POST", "/api/sign/bob", made.credential("bob").public)).status == 201
        assert [one["issuedBy"] for one in await listed(root)] == ["renewal"]
        assert kept(made, "permits") == 0
        made.hub.state.store.database.execute("PRAGMA query_only=OFF")
        made.hub.sweep()
        assert kept(made, "permits") == 1


async def test_on_a_full_disk_a_revocation_acts_and_says_so_and_is_written_later(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        bob = await invited(made, root, "bob")
        made.hub.state.store.database.execute("PRAGMA query_only=ON")
        answer = await root.ask("DELETE", f"/api/permits/{id_of(bob)}")
        assert answer.status == 507
        assert "is revoked now" in answer.text
        assert await made.is_refused(bob)
        made.hub.state.store.database.execute("PRAGMA query_only=OFF")
        made.hub.sweep()
        await made.restart()
        assert await made.is_refused(bob)


async def test_long_expired_permits_are_dropped(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        await invited(made, root, "bob", query="?days=1")
        made.network.shift = 31 * DAY - 60.0
        made.hub.sweep()
        assert [one["state"] for one in await listed(root)] == ["expired"]
        made.network.shift = 31 * DAY + 60.0
        made.hub.sweep()
        assert await listed(root) == []
        assert kept(made, "permits") == 0
        made.network.shift = 0.0


async def test_a_renewal_that_was_asked_for_before_the_revocation_is_not_signed_after_it(tmp_path: Path) -> None:
    """The key's first half comes, the permit is revoked, the rest comes: by then nobody is there to be answered."""
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        bob = await invited(made, root, "bob")
        renewing = await made.connect(bob)
        stream = renewing.open("POST", "/api/sign/bob")
        stream.write(bob.public[:20])
        await renewing.ask("GET", "/api/status")
        before = await listed(root)
        assert (await root.ask("DELETE", f"/api/permits/{id_of(bob)}")).status == 200
        await asyncio.wait_for(renewing.closed.wait(), 1.0)

        async def is_revoked() -> bool:
            return [one["state"] for one in await listed(root)] == ["revoked"]

        await until(is_revoked)
        assert [one["issued"] for one in await listed(root)] == [one["issued"] for one in before]
