"""TLS as v1 peers speak it, and the hub's own certificate."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub_client import mesh
from v1_http import PATIENCE
from ztm.pki import Authority


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_tls_versions_work_without_alpn_sni_and_tickets(version: ssl.TLSVersion, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        wire = await made.dial("bob", least=version, most=version)
        assert (await wire.probe("GET", "/api/zones")).json == ["default"]
        assert wire.tls.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
        assert wire.tls.selected_alpn_protocol() is None
        assert not wire.tls.session.has_ticket


async def test_offered_alpn_and_sni_do_no_harm(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        for offer in (["nonsense"], ["h2"], ["http/1.1", "h2"]):
            context = made.credential("bob").context()
            context.set_alpn_protocols(offer)
            wire = await made.dial_with(context, server_hostname="any.example")
            assert (await wire.probe("GET", "/api/zones")).status == 200


async def test_older_tls_is_refused(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        context = made.credential("bob").context()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await made.dial_with(context)


async def test_the_hubs_certificate_is_renewed_while_it_runs(tmp_path: Path) -> None:
    old = Authority.create(datetime.now(UTC) - timedelta(days=100))
    async with mesh(tmp_path, authority=old, shift=-61 * 86400.0) as made:
        agent, other = await made.agent("bob"), await made.agent("alice")
        before = (await made.dial("bob")).tls.getpeercert()
        assert not made.hub.renew_if_due(), "89 days are left"
        made.network.shift = 0.0
        made.hub.sweep()
        assert not made.hub.renew_if_due(), "it was renewed by the sweep"
        after = (await made.dial("bob")).tls.getpeercert()
        assert after["serialNumber"] != before["serialNumber"]
        assert after["subject"] == before["subject"]
        assert (await agent.outer.ask("GET", "/api/status")).status == 200, "live sessions go on"
        assert await (await made.app(agent, other.id, early=b"hi")).exactly(2) == b"hi"


async def test_a_ca_that_has_expired_stops_renewals_and_nothing_else(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        made.network.shift = 200 * 365 * 86400.0
        made.hub.sweep()
        made.network.shift = 0.0
        assert (await agent.outer.ask("GET", "/api/status")).status == 200


async def test_a_refused_agent_of_our_own_is_told_why(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.hub.state.evict("bob", None)
        context = made.credential("bob").context()
        context.set_alpn_protocols(["ztm/1"])
        wire = await made.dial_with(context)
        assert wire.tls.selected_alpn_protocol() == "ztm/1"
        said = b""
        async with asyncio.timeout(PATIENCE):
            while more := await wire.read():
                said += more
        assert b"user bob is evicted" in said
