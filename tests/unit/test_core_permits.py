"""What a permit is worth, whom a revocation shuts out, and what is forgotten when."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ztm.core.permits import KEPT, LONGEST, SOON, Permits, issued_of
from ztm.model import Identity, Issued, Origin, PermitState, Revocation, permit_id

T = 1_800_000_000
DAY = 86400
YEAR = 365 * DAY


def identity(user="bob", key="k1", begin=T, end=T + YEAR):
    return Identity(user, key, datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC))


def issued(user="bob", key="k1", begin=T, end=T + YEAR, ends=None):
    return Issued(
        user=user, key=key, not_before=begin, not_after=end, time=begin, origin=Origin.ROOT, ends=ends, latest=end
    )


def test_a_permit_has_one_id_whatever_certificate_it_is_renewed_by():
    assert issued().id == issued(begin=T + 9, end=T + 99).id == permit_id("bob", "k1")
    assert len({issued().id, issued(user="alice").id, issued(key="k2").id}) == 3


def test_what_is_written_down_is_what_the_certificate_says():
    ends = datetime.fromtimestamp(T + 7 * DAY, UTC)
    made = issued_of(identity(end=T + 7 * DAY), datetime.fromtimestamp(T + 0.5, UTC), Origin.ROOT, ends)
    assert made == issued(end=T + 7 * DAY, ends=T + 7 * DAY)


def test_a_revoked_key_is_refused_under_every_name_and_other_keys_are_not():
    permits = Permits([issued(), issued("bob", "k2"), issued("robert", "k1")])
    assert permits.revoke("k1", T + 5)
    for user in ("bob", "robert", "stranger", "root"):
        assert "permit revoked" in permits.refuses(identity(user), T + 5)
    assert permits.refuses(identity("bob", "k2"), T + 5) is None
    assert [permits.is_revoked(one) for one in permits.all()] == [True, False, True]


def test_a_permit_issued_after_the_revocation_is_good_and_older_ones_stay_refused():
    permits = Permits([issued()])
    permits.revoke("k1", T + 5)
    permits.note(issued(begin=T + 6))
    assert permits.refuses(identity(begin=T + 6), T + 7) is None
    assert permits.refuses(identity(begin=T + 5), T + 7)
    assert not permits.is_revoked(permits.of("bob", "k1"))
    assert permits.state(permits.of("bob", "k1"), T + 7) is PermitState.VALID


def test_a_revocation_reaches_a_permit_that_begins_only_after_it():
    permits = Permits([issued(begin=T + 1)])
    assert permits.revoke("k1", T).time == T + 1
    assert permits.refuses(identity(begin=T + 1), T)


def test_a_permit_is_revoked_once():
    permits = Permits([issued()])
    assert permits.revoke("k1", T + 5)
    assert permits.revoke("k1", T + 9) is None
    permits.note(issued(begin=T + 10))
    assert permits.revoke("k1", T + 11)


def test_a_permit_with_an_end_is_refused_after_it_whatever_its_certificates_say():
    permits = Permits([issued(end=T + DAY, ends=T + DAY)])
    older = identity(begin=T - DAY, end=T + YEAR)
    assert permits.refuses(older, T + DAY) is None
    assert "permit expired" in permits.refuses(older, T + DAY + 1)


def test_a_later_permit_moves_the_end_or_lifts_it():
    permits = Permits([issued(end=T + DAY, ends=T + DAY)])
    permits.note(issued(end=T + 9 * DAY, ends=T + 9 * DAY))
    assert permits.refuses(identity(end=T + DAY), T + DAY + 1) is None
    assert permits.refuses(identity(end=T + DAY), T + 9 * DAY + 1)
    permits.note(issued())
    assert permits.refuses(identity(end=T + DAY), T + 9 * DAY + 1) is None


@pytest.mark.parametrize(
    ("span", "age", "state"),
    [
        (YEAR, 0, "valid"),
        (YEAR, YEAR - SOON, "valid"),
        (YEAR, YEAR - SOON + 1, "expiring"),
        (YEAR, YEAR + 1, "expired"),
        (6 * DAY, 4 * DAY, "valid"),
        (6 * DAY, 4 * DAY + 1, "expiring"),
    ],
)
def test_the_state_is_told_by_what_is_left_of_the_whole(span: int, age: int, state: str):
    assert Permits().state(issued(end=T + span), T + age) == state


def test_an_evicted_users_permit_is_not_called_valid_and_a_revoked_one_stays_revoked():
    permits = Permits([issued()])
    assert permits.state(issued(), T, is_evicted=True) is PermitState.EVICTED
    assert permits.state(issued(), T + YEAR + 1, is_evicted=True) is PermitState.EXPIRED
    permits.revoke("k1", T)
    assert permits.state(issued(), T, is_evicted=True) is PermitState.REVOKED


def test_an_expired_permit_is_forgotten_only_when_all_its_certificates_are_long_over():
    permits = Permits([issued()])
    assert permits.note(issued(begin=T + 1, end=T + DAY, ends=T + DAY)).latest == T + YEAR
    assert permits.forget(T + YEAR + KEPT) == ([], [])
    assert permits.forget(T + YEAR + KEPT + 1) == ([("bob", "k1")], [])
    assert permits.all() == []


def test_a_revocation_lasts_until_nothing_can_come_of_its_key_any_more():
    permits = Permits([issued(end=T + 10 * YEAR)])
    assert permits.revoke("k1", T).expiration == T + 10 * YEAR
    assert Permits().revoke("k2", T).expiration == T + LONGEST
    assert permits.forget(T + 10 * YEAR) == ([], [])
    assert permits.forget(T + 10 * YEAR + 1) == ([], ["k1"])


def test_what_was_stored_is_in_force_again():
    permits = Permits([issued()], [Revocation("k1", T, T + YEAR)])
    assert permits.refuses(identity(), T + 1)
    permits.learn([replace(issued(), not_after=1), issued("root", "k9")])
    assert [one.user for one in permits.all()] == ["bob", "root"]
    assert permits.of("bob", "k1") == issued(), "what is known here is newer"
