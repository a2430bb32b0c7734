"""A hub of v1 keeps no list of permits and knows of no expiry: that is said, and nothing is done by halves."""

import json
from pathlib import Path

from v1_ca import key, public
from v1_mesh import Party, v1_mesh

from v1_http import PATIENCE
from ztm.net.http1 import Answer
from ztm.pki import identity_of
from ztm.rest.client import call_stream


async def answer(party: Party, method: str, path: str, body: str = "") -> Answer:
    """What the local API answers, whatever it is."""
    stream = await party.agent.network.dial(party.agent.address)
    fields = [("host", str(party.agent.address)), ("authorization", f"Bearer {party.agent.token}")]
    try:
        return await call_stream(
            stream, method, f"/api/meshes/m{path}", body=body.encode(), headers=fields, timeout=PATIENCE
        )
    finally:
        stream.abort()


async def test_listing_and_revoking_are_refused_with_the_reason(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        for method, path in (("GET", "/permits"), ("DELETE", "/permits/0123456789ab")):
            refused = await answer(party, method, path)
            assert refused.status == 502
            assert b"keeps no list of permits" in refused.body


async def test_an_invitation_with_an_expiry_is_refused_before_anything_is_signed(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        refused = await answer(party, "POST", "/permits/bob?expires=7", public(key("bob", is_rsa=False)))
        assert refused.status == 502
        assert b"keeps no list of permits" in refused.body
        assert not made.hub.requests("POST", "/api/sign/bob")


async def test_a_hub_that_heeds_no_expiry_hands_out_nothing_by_us(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        made.hub.answers["GET", "/api/permits"] = (200, b"[]")
        party = await made.joined()
        refused = await answer(party, "POST", "/permits/bob?expires=7", public(key("bob", is_rsa=False)))
        assert refused.status == 502
        assert b"longer than 7 days" in refused.body
        assert b"CERTIFICATE" not in refused.body


async def test_an_invitation_without_an_expiry_is_asked_for_as_v1_does(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        given = await answer(party, "POST", "/permits/bob", public(key("bob", is_rsa=False)))
        assert given.status == 200
        (asked,) = made.hub.requests("POST", "/api/sign/bob")
        assert asked.query == {}
        assert not made.hub.requests("GET", "/api/permits")
        assert identity_of(json.loads(given.body)["agent"]["certificate"]).user == "bob"
