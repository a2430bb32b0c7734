"""Which exit a destination is led through: the one it had, else the quickest, and another one where that fails."""

import asyncio
import json

import pytest
from app_mesh import LOOPBACK, OWN_IDS, read_exactly
from proxy_mesh import proxies

from ztm.apps.proxy.choice import REMEMBERED, Choice
from ztm.apps.proxy.offers import read_path
from ztm.core.balance import HOLD_OFF
from ztm.errors import ForbiddenError, NotFoundError, RefusedError, UnreachableError
from ztm.net.base import Exchange

A, B, C = "a", "b", "c"
LOOP = ["127.0.0.0/8", "*"]


def measured() -> Choice:
    choice = Choice()
    choice.accepted(A, "x", 0.3)
    choice.accepted(B, "y", 0.1)
    choice.accepted(C, "z", 0.2)
    return choice


def test_the_quickest_exit_is_first_and_one_never_measured_before_it() -> None:
    choice = measured()
    assert choice.order([A, B, C], "new", 0.0) == [B, C, A]
    assert choice.order([A, B, C, "d"], "new", 0.0)[0] == "d"


def test_a_destination_stays_with_its_exit() -> None:
    assert measured().order([A, B, C], "x", 0.0) == [A, B, C]


def test_an_exit_that_failed_is_last_until_its_hold_off_is_over() -> None:
    choice = measured()
    choice.failed(B, 5.0, "gone")
    assert choice.order([A, B, C], "new", 5.0) == [C, A, B]
    assert choice.order([A, B, C], "y", 5.0 + HOLD_OFF - 0.1) == [C, A, B]
    assert choice.order([A, B, C], "new", 5.0 + HOLD_OFF + 0.1) == [B, C, A]
    assert choice.standing(B).reason == "gone"
    choice.accepted(B, "y", 0.1)
    assert choice.standing(B).reason == ""


def test_exits_are_still_tried_when_all_have_failed_the_longest_ago_first() -> None:
    choice = measured()
    for number, exit_ in enumerate((C, A, B)):
        choice.failed(exit_, float(number), "gone")
    assert choice.order([A, B, C], "x", 3.0) == [C, A, B]


def test_one_slow_answer_changes_little() -> None:
    choice = measured()
    choice.accepted(B, "y", 0.5)
    assert choice.standing(B).seconds == pytest.approx(0.18)
    assert choice.order([A, B, C], "new", 0.0)[0] == B


def test_what_is_remembered_is_bounded_and_exits_that_are_gone_are_forgotten() -> None:
    choice = Choice()
    for number in range(REMEMBERED + 10):
        choice.accepted(A, str(number), 0.1)
    assert len(choice._had) == REMEMBERED
    choice.keep([B])
    assert not choice._had
    assert choice.standing(A).seconds is None


@pytest.mark.parametrize(
    "path",
    ["/shared/a/config.json", f"/users/a/{OWN_IDS[0]}/config.json", "/shared/a/x/config.json",
     f"/shared/a/{OWN_IDS[0]}/other.json", f"/shared/a/b/{OWN_IDS[0]}/config.json"],
)  # fmt: skip
def test_only_config_files_of_endpoints_are_offers(path: str) -> None:
    assert read_path(path) is None
    assert read_path(f"/shared/a/{OWN_IDS[0]}/config.json") == ("a", OWN_IDS[0])


async def test_a_site_sees_one_exit() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        for name in ("one", "two", "three"):
            await mesh.join(name)
            await mesh.configure(name, targets=LOOP)
        seen = set()
        for _ in range(8):
            stream, exit_ = await mesh.reach("entry", LOOPBACK, port)
            seen.add(exit_)
            stream.abort()
        assert len(seen) == 1


async def test_another_exit_takes_over_with_what_the_client_has_sent() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        for name in ("one", "two"):
            await mesh.join(name)
            await mesh.configure(name, targets=LOOP)
        stream, first = await mesh.reach("entry", LOOPBACK, port)
        stream.abort()
        mesh.refusing[first] = 503
        stream, second = await mesh.reach("entry", LOOPBACK, port, b"early")
        assert second != first
        assert await read_exactly(stream, 5) == b"early"
        stream.abort()
        mesh.asked.clear()
        mesh.names["other.test"] = [LOOPBACK]
        (await mesh.reach("entry", "other.test", port)).stream.abort()
        assert mesh.asked == [second]
        known = {one["endpoint"]: one for one in json.loads((await mesh.ask("entry", "GET", "exits"))[2])}
        assert 0 < known[first]["heldOff"] <= HOLD_OFF
        assert known[second]["seconds"] > 0
        assert "heldOff" not in known[second]


async def test_a_dead_destination_does_not_make_its_exit_a_dead_one() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        for name in ("one", "two"):
            await mesh.join(name)
            await mesh.configure(name, targets=LOOP)
        _, exit_ = await mesh.reach("entry", LOOPBACK, port)
        with pytest.raises(RefusedError):
            await mesh.reach("entry", LOOPBACK, 1)
        assert (await mesh.reach("entry", LOOPBACK, port)).exit == exit_


async def test_an_exit_that_denies_is_followed_by_one_that_does_not() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        for name in ("entry", "one", "two"):
            await mesh.join(name)
        await mesh.configure("one", targets=LOOP, rules=[{"action": "deny"}])
        await mesh.configure("two", targets=LOOP)
        assert (await mesh.reach("entry", LOOPBACK, port)).exit == mesh.place("two")
        await mesh.configure("two", targets=LOOP, rules=[{"action": "deny"}])
        with pytest.raises(ForbiddenError):
            await mesh.reach("entry", LOOPBACK, port)


async def test_no_question_is_asked_for_a_connection() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        await mesh.join("exit")
        await mesh.configure("exit", targets=LOOP)
        mesh.asked.clear()
        await mesh.reach("entry", LOOPBACK, port)
        assert mesh.asked == [mesh.place("exit")]


async def test_an_exit_that_stops_being_one_is_asked_no_more() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        await mesh.join("exit")
        await mesh.configure("exit", targets=LOOP)
        await mesh.reach("entry", LOOPBACK, port)
        await mesh.configure("exit")
        assert not mesh.shared
        with pytest.raises(NotFoundError):
            await mesh.reach("entry", LOOPBACK, port)


async def test_a_malformed_or_foreign_file_offers_nothing_and_harms_nobody() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        await mesh.join("exit")
        for number, data in enumerate([b"", b"{", b'{"targets":"*"}', b'{"targets":[1]}', b"\xff"]):
            mesh.publish(f"/shared/alice/{OWN_IDS[5 + number % 4]}/config.json", data)
        mesh.publish(f"/shared/alice/{OWN_IDS[9]}/config.json", b'{"targets":["127.0.0.0/8","not a host","*"]}')
        await mesh.configure("exit", targets=LOOP)
        mesh.refusing[mesh.place("exit")] = 503
        with pytest.raises((NotFoundError, UnreachableError)):
            await mesh.reach("entry", LOOPBACK, port)
        assert set(mesh.asked) == {mesh.place("exit"), OWN_IDS[9]}


async def test_the_own_exit_takes_over_with_what_another_one_was_sent_and_did_not_take() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        for name in ("entry", "exit"):
            await mesh.join(name)
            await mesh.configure(name, targets=LOOP)
        route = mesh.apps[mesh.place("entry")].proxy.route
        await route.offers.settled(5.0)
        route._choice.accepted(mesh.place("exit"), LOOPBACK, 0.1)
        arrived = asyncio.Event()

        async def takes_and_leaves(exchange: Exchange) -> None:
            while b"early" not in await exchange.read():
                pass
            arrived.set()
            exchange.abort("gone")

        mesh.before_answer = takes_and_leaves
        stream, exit_ = await mesh.reach("entry", LOOPBACK, port, b"early")
        assert arrived.is_set()
        assert exit_ == mesh.place("entry")
        assert await read_exactly(stream, 5) == b"early"
        stream.abort()
