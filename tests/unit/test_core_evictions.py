"""Who is shut out, until when, and who never is."""

from datetime import UTC, datetime

import pytest

from ztm.core.evictions import DEFAULT_TERM, Evictions
from ztm.errors import ForbiddenError, UsageError
from ztm.model import Eviction, Identity

T = 1_800_000_000


def identity(user="bob", key="k1", not_before=T - 10.0):
    begin = datetime.fromtimestamp(not_before, UTC)
    return Identity(user, key, begin, begin.replace(year=2100))


def test_an_evicted_user_is_refused_under_every_key_it_shows():
    evictions = Evictions()
    assert evictions.evict("bob", ["k1"], T)
    assert evictions.of("bob") == Eviction("bob", T, T + DEFAULT_TERM, ("k1",))
    assert evictions.refuses(identity(key="unknown"), T) == "user bob is evicted"


def test_an_evicted_key_is_refused_under_every_name():
    evictions = Evictions([Eviction("bob", T, T + 100, ("k1",))])
    assert "key" in evictions.refuses(identity("carol"), T)
    assert evictions.refuses(identity("carol", "k2"), T) is None


def test_only_a_certificate_of_a_later_second_gets_back_in():
    evictions = Evictions([Eviction("bob", T, T + 100, ("k1",))])
    assert evictions.refuses(identity(not_before=T + 0.9), T + 2)
    assert evictions.refuses(identity(not_before=T + 1), T + 2) is None
    assert evictions.refuses(identity("carol", not_before=T + 1), T + 2) is None


def test_an_eviction_acts_until_it_expires():
    evictions = Evictions()
    evictions.evict("bob", [], T, T + 5)
    assert evictions.refuses(identity(), T + 4)
    assert evictions.refuses(identity(), T + 5) is None


def test_a_newer_eviction_replaces_and_keeps_the_keys():
    evictions = Evictions()
    evictions.evict("bob", ["k1"], T)
    assert not evictions.evict("bob", ["k2"], T)
    assert not evictions.evict("bob", ["k2"], T - 5)
    assert evictions.evict("bob", ["k2"], T + 5)
    assert evictions.of("bob").keys == ("k1", "k2")
    assert evictions.refuses(identity("x", "k1", T + 5), T + 6)
    assert len(evictions.all()) == 1


def test_removing_lets_user_and_keys_in_again():
    evictions = Evictions([Eviction("bob", T, T + 100, ("k1",)), Eviction("carol", T, T + 100, ("k1",))])
    assert evictions.remove("bob")
    assert not evictions.remove("bob")
    assert evictions.refuses(identity("bob", "k2"), T) is None
    assert evictions.refuses(identity("bob", "k1"), T), "carol's eviction still holds the key"
    assert evictions.remove("carol")
    assert evictions.refuses(identity("bob", "k1"), T) is None


@pytest.mark.parametrize("user", ["root", "ca", "hub/1234"])
def test_root_and_hubs_are_never_shut_out(user):
    evictions = Evictions()
    with pytest.raises(ForbiddenError, match="cannot be evicted"):
        evictions.evict(user, [], T)
    evictions.evict("bob", ["k1"], T)
    if user != "ca":
        assert evictions.refuses(identity(user), T) is None


def test_an_expiration_in_the_past_is_refused():
    with pytest.raises(UsageError, match="expired"):
        Evictions().evict("bob", [], T, T)
