"""Certificates: renewals keep their key, root signs for others, and reserved names are nobody's."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from hub_client import Agent, mesh
from ztm.pki import days_left, fingerprint, identity_of, new_key, public_key


async def test_a_user_renews_its_own_key_only(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob, other = await made.connect("bob"), public_key(new_key()).encode()
        own = made.credential("bob").public
        renewed = await bob.ask("POST", "/api/sign/bob", own)
        assert (renewed.status, renewed.kind) == (201, "text/plain")
        identity = identity_of(renewed.text)
        assert (identity.user, identity.key) == ("bob", fingerprint(own.decode()))
        assert days_left(identity, datetime.now(UTC)) >= 364
        assert (await bob.ask("POST", "/api/sign/bob", other)).status == 403
        assert (await bob.ask("POST", "/api/sign/alice", own)).status == 403
        assert (await bob.ask("POST", "/api/sign/root", own)).status == 403


async def test_a_signed_key_is_let_in(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, key = await made.connect("root"), new_key()
        signed = await root.ask("POST", "/api/sign/carol", public_key(key).encode())
        carol = await Agent(made, made.keep("carol", signed.text, key), "ep", made.hub.state.id).connect()
        assert (await root.ask("GET", f"/api/endpoints/{carol.id}")).json["username"] == "carol"


@pytest.mark.parametrize(
    "user", ["ca", "CA", "hub", "hub/x", "a/b", "..", ".", " a", "a ", "a\nb", "a\\b", "x" * 65, "é" * 33]
)
async def test_reserved_and_malformed_names_are_never_signed(user: str, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        answer = await root.ask("POST", f"/api/sign/{quote(user, safe='')}", public_key(new_key()).encode())
        assert answer.status == 400
        assert b"CERTIFICATE" not in answer.body


async def test_root_is_not_signed_for_another_key(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        assert (await root.ask("POST", "/api/sign/root", public_key(new_key()).encode())).status == 403
        assert (await root.ask("POST", "/api/sign/root", made.credential("root").public)).status == 201


async def test_names_are_decoded_once(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        for user in ("a b", "é网", "a%2Fb", "x&y=z#?"):
            signed = await root.ask("POST", f"/api/sign/{quote(user, safe='')}", public_key(new_key()).encode())
            assert identity_of(signed.text).user == user


@pytest.mark.parametrize(
    "body", [b"", b"x", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
async def test_what_is_no_public_key_gets_400_and_the_connection_lives(body: bytes, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        assert (await root.ask("POST", "/api/sign/carol", body)).status == 400
        assert (await root.ask("GET", "/api/status")).status == 200


async def test_a_private_key_is_refused_without_being_repeated(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, key = await made.connect("root"), new_key()
        answer = await root.ask("POST", "/api/sign/carol", key.encode())
        assert answer.status == 400
        assert key.splitlines()[1] not in answer.text


async def test_many_may_be_signed_at_once(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        keys = [public_key(new_key()).encode() for _ in range(20)]
        asked = [root.ask("POST", f"/api/sign/user{number}", key) for number, key in enumerate(keys)]
        signed = await asyncio.gather(*asked)
        assert [identity_of(one.text).user for one in signed] == [f"user{number}" for number in range(20)]


async def test_on_a_full_disk_a_renewal_succeeds_and_a_new_key_does_not(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, bob = await made.connect("root"), await made.agent("bob")
        made.hub.state.store.database.execute("PRAGMA query_only=ON")
        assert (await bob.outer.ask("POST", "/api/sign/bob", made.credential("bob").public)).status == 201
        assert (await root.ask("POST", "/api/sign/carol", public_key(new_key()).encode())).status == 507
