"""A hub whose certificates are signed by a CA service: invitations, evictions, renewals, and a service that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ca_server import CaServer, ca_server
from hub_client import Mesh, mesh
from ztm.hub.ca_service import CaService
from ztm.pki import Authority, fingerprint, identity_of, new_key, public_key


@asynccontextmanager
async def served(
    folder: Path, *, days: int = 365, backdated: timedelta = timedelta(), **options: Any
) -> AsyncIterator[tuple[Mesh, CaServer]]:
    """A mesh by a service that signs for `days` days, beginning `backdated` ago."""
    authority = Authority.create(datetime.now(UTC) - timedelta(days=30))

    def sign(name: str, key: str) -> str:
        begin = datetime.now(UTC) - backdated
        if name.startswith("hub/"):
            return authority.sign_hub(name.removeprefix("hub/"), key, begin, days)
        return authority.sign_user(name, key, begin, days)

    with ca_server() as ca:
        ca.authority = SimpleNamespace(certificate=authority.certificate, sign=sign)  # type: ignore[assignment]
        async with mesh(folder, authority=authority, ca=CaService.parse(ca.url), **options) as made:
            yield made, ca


def hub_certificates(ca: CaServer) -> int:
    return sum(name.startswith("hub/") for _, name in ca.asked)


async def test_invitations_and_renewals_are_signed_by_the_service(tmp_path: Path) -> None:
    async with served(tmp_path) as (made, ca):
        root = await made.connect("root")
        key = new_key()
        answer = await root.ask("POST", "/api/sign/carol", public_key(key).encode())
        assert answer.status == 201
        carol = made.keep("carol", answer.text, key)
        assert not await made.is_refused(carol)
        renewed = await (await made.connect(carol)).ask("POST", "/api/sign/carol", carol.public)
        assert (renewed.status, identity_of(renewed.text).user) == (201, "carol")
        assert [name for _, name in ca.asked if not name.startswith("hub/")] == ["ca", "carol", "carol"]


async def test_a_service_that_fails_is_told_and_stops_nothing_else(tmp_path: Path) -> None:
    async with served(tmp_path) as (made, ca):
        ca.sign = lambda _name, _key: (500, "")
        root = await made.connect("root")
        answer = await root.ask("POST", "/api/sign/carol", public_key(new_key()).encode())
        assert answer.status == 502
        assert "refused 'carol' with status 500" in answer.text
        assert (await root.ask("GET", "/api/status")).status == 200


async def test_who_was_evicted_is_not_let_in_by_a_certificate_that_the_service_dates_back(tmp_path: Path) -> None:
    async with served(tmp_path, backdated=timedelta(hours=1)) as (made, _):
        root = await made.connect("root")
        made.hub.state.evict("carol", None)
        answer = await root.ask("POST", "/api/sign/carol", public_key(new_key()).encode())
        assert answer.status >= 400
        assert "dates its certificates before that" in answer.text
        made.hub.state.readmit("carol")
        assert (await root.ask("POST", "/api/sign/carol", public_key(new_key()).encode())).status == 201


async def test_a_service_that_does_not_heed_a_permits_end_is_told_and_its_certificate_is_kept_back(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as (made, _):
        root = await made.connect("root")
        answer = await root.ask("POST", "/api/sign/carol?days=7", public_key(new_key()).encode())
        assert answer.status == 502
        assert "is not handed out" in answer.text
        assert b"CERTIFICATE" not in answer.body
        assert (await root.ask("GET", "/api/permits")).json == []
        assert (await root.ask("POST", "/api/sign/carol", public_key(new_key()).encode())).status == 201


async def test_who_was_shut_out_while_the_service_signed_gets_nothing_for_it(tmp_path: Path) -> None:
    async with served(tmp_path) as (made, ca):
        root, carol = await made.connect("root"), await made.connect("carol")
        signed = ca.answer

        def revoked_meanwhile(method: str, name: str, token: str, body: str) -> tuple[int, str]:
            answer = signed(method, name, token, body)
            key = fingerprint(made.credential("carol").public.decode())
            made.hub.state.permits.revoke(key, made.hub.state.now_s() - 1800)  # long before what is signed begins
            return answer

        ca.answer = revoked_meanwhile  # type: ignore[method-assign]
        renewal = await carol.ask("POST", "/api/sign/carol", made.credential("carol").public)
        assert renewal.status == 403
        assert "permit revoked" in renewal.text
        assert (await root.ask("GET", "/api/permits")).json == []


async def test_a_hub_renews_short_certificates_in_time_and_not_at_each_look(tmp_path: Path) -> None:
    async with served(tmp_path, days=6, sweep_every=0.02) as (made, ca):
        before = (await made.dial("root")).tls.getpeercert()
        made.network.shift = 3.5 * 86400
        for _ in range(3):
            await _swept(made)
        assert hub_certificates(ca) == 1, "more than a third of its days are left"
        made.network.shift = 5 * 86400
        async with asyncio.timeout(10):
            while (await made.dial("root")).tls.getpeercert() == before:
                await _swept(made)
        made.network.shift = 0.0


async def test_a_hub_that_cannot_renew_goes_on_with_what_it_has(tmp_path: Path) -> None:
    async with served(tmp_path, days=6, sweep_every=0.02) as (made, ca):
        ca.sign = lambda _name, _key: (503, "")
        made.network.shift = 5 * 86400
        async with asyncio.timeout(10):
            while hub_certificates(ca) < 3:
                await _swept(made)
        made.network.shift = 0.0
        assert (await (await made.connect("root")).ask("GET", "/api/status")).status == 200


async def test_plain_http_to_another_machine_is_warned_of_at_each_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (made, ca):
        elsewhere = ca.url.replace("127.0.0.1", "127.1")  # this machine, by a name that does not say so
        made.options["ca"] = CaService.parse(elsewhere, is_plain_allowed=True)
        await made.restart()
        assert f"INSECURE: the CA service {elsewhere}" in caplog.text


async def _swept(made: Mesh) -> None:
    """Wait until the hub has done its upkeep once more."""
    done, sweep = asyncio.Event(), made.hub.sweep

    def noted() -> None:
        sweep()
        done.set()

    made.hub.sweep = noted  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        await done.wait()
    made.hub.sweep = sweep  # type: ignore[method-assign]
