"""Whose turn it is, what way leads there, and how often."""

import pytest

from ztm.core.balance import HOLD_OFF, Balancer
from ztm.core.limits import Bucket
from ztm.core.routing import Route, route
from ztm.errors import NotFoundError, UnreachableError
from ztm.model import Address, Endpoint, HubInfo


def use(balancer, now=0.0):
    first = balancer.order(now)[0]
    balancer.opened(first)
    return first


def test_equals_take_turns():
    balancer, used = Balancer("abc"), []
    for _ in range(6):
        used.append(use(balancer))
        balancer.closed(used[-1])
    assert used == list("abcabc")


def test_the_least_loaded_comes_first():
    balancer = Balancer("ab")
    assert [use(balancer), use(balancer), use(balancer)] == list("aba")
    balancer.closed("b")
    assert balancer.order(0.0) == ["b", "a"]
    balancer.closed("a")
    balancer.closed("a")
    assert balancer.order(0.0) == ["b", "a"]


def test_one_that_failed_is_tried_last_until_its_time_is_over():
    balancer = Balancer("ab")
    balancer.failed("a", 5.0)
    assert balancer.order(5.0) == ["b", "a"]
    balancer.opened("b")
    assert balancer.order(5.0 + HOLD_OFF - 0.1) == ["b", "a"]
    assert balancer.order(5.0 + HOLD_OFF) == ["a", "b"]
    balancer.failed("a", 20.0)
    balancer.succeeded("a")
    assert balancer.order(20.0) == ["a", "b"]


def test_when_all_failed_the_one_that_failed_first_is_tried_first():
    balancer = Balancer("ab")
    balancer.failed("b", 1.0)
    balancer.failed("a", 2.0)
    assert balancer.order(3.0) == ["b", "a"]


def test_replacing_keeps_open_streams_in_mind():
    balancer = Balancer("ab")
    balancer.opened("a")
    balancer.replace("b")
    balancer.replace("ab")
    assert balancer.order(0.0) == ["b", "a"]
    balancer.closed("a")
    balancer.closed("a")
    balancer.closed("x")
    assert set(balancer.order(0.0)) == set("ab")


HUBS = {"h2": HubInfo("h2", (Address("b", 2),)), "h3": HubInfo("h3", ())}


def test_an_endpoint_is_reached_through_the_attached_hub_where_possible():
    assert route(Endpoint("e", "n", "u", hubs=("h2", "h1")), "h1", HUBS) == Route("h1")
    assert route(Endpoint("e", "n", "u"), "h1", HUBS).is_attached
    other = route(Endpoint("e", "n", "u", hubs=("h3", "h2")), "h1", HUBS)
    assert other == Route("h2", (Address("b", 2),))
    assert not other.is_attached


def test_a_member_that_failed_says_how_long_it_is_held_off():
    balancer = Balancer(["a", "b"])
    balancer.failed("a", 100.0)
    assert [balancer.held("a", now) for now in (100.0, 104.0, 110.0, 200.0)] == [10.0, 6.0, 0.0, 0.0]
    assert balancer.held("b", 100.0) == 0.0
    balancer.succeeded("a")
    assert balancer.held("a", 101.0) == 0.0


def test_an_endpoint_without_a_way_says_why():
    with pytest.raises(NotFoundError):
        route(None, "h1", HUBS)
    with pytest.raises(UnreachableError, match="h9"):
        route(Endpoint("e", "n", "u", hubs=("h9",)), "h1", HUBS)


def test_a_bucket_lets_a_burst_pass_and_then_its_rate():
    bucket = Bucket(rate=2.0, burst=3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.4)
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert bucket.take(100.0, 3)
    assert not bucket.take(100.0)


def test_a_clock_that_goes_back_gives_nothing():
    bucket = Bucket(rate=1.0, burst=1)
    assert bucket.take(100.0)
    assert not bucket.take(0.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)
