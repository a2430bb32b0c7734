"""Which hub is dialled, and how soon again."""

import math

import pytest

from ztm.core.hubs import LAST_REFUSAL, Dial, HubChooser, Probe, Wait, best
from ztm.errors import UnreachableError
from ztm.model import Address

A, B = Address("a", 1), Address("b", 1)
EVEN = 0.5
"""The jitter that changes nothing."""


def test_hubs_are_tried_in_the_given_order():
    chooser = HubChooser([A, B])
    assert chooser.next(0.0) == Dial(A)
    chooser.failed(A, 0.0, EVEN)
    assert chooser.next(0.0) == Dial(B)
    chooser.failed(B, 0.1, EVEN)
    assert chooser.next(0.1) == Wait(0.25)
    assert chooser.next(0.25) == Dial(A)


def test_the_delay_doubles_to_its_bound_and_is_spread():
    chooser, waits = HubChooser([A]), []
    for _ in range(6):
        chooser.failed(A, 0.0, EVEN)
        waits.append(chooser.next(0.0).until)
    assert waits == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]
    chooser.failed(A, 0.0, 0.0)
    assert chooser.next(0.0).until == pytest.approx(1.6)
    chooser.failed(A, 0.0, 1.0)
    assert chooser.next(0.0).until == pytest.approx(2.4)


def test_a_hub_whose_healthy_session_is_lost_is_due_at_once():
    chooser = HubChooser([A])
    for _ in range(3):
        chooser.failed(A, 0.0, EVEN)
    chooser.connected(A, 5.0)
    chooser.failed(A, 10.0, EVEN)
    assert chooser.next(10.0) == Dial(A)
    chooser.failed(A, 10.0, EVEN)
    assert chooser.next(10.0) == Wait(10.25)


def test_a_hub_that_accepts_and_hangs_up_is_not_dialled_in_a_tight_loop():
    chooser, now = HubChooser([A]), 0.0
    for _ in range(10):
        chooser.connected(A, now)
        chooser.failed(A, now + 0.01, EVEN)
        now = chooser.next(now + 0.01).until
    assert now > 10


def test_a_hub_that_refuses_is_asked_ever_less():
    chooser, waits = HubChooser([A]), []
    for _ in range(7):
        chooser.refused(A, 0.0, EVEN)
        waits.append(chooser.next(0.0).until)
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    chooser.connected(A, 30.0)
    chooser.refused(A, 40.0, EVEN)
    assert chooser.next(40.0) == Wait(41.0)


def test_very_many_failures_do_not_overflow():
    chooser = HubChooser([A])
    for _ in range(5000):
        chooser.refused(A, 0.0, EVEN)
        chooser.failed(A, 0.0, EVEN)
    chooser.refused(A, 0.0, EVEN)
    assert chooser.next(0.0) == Wait(LAST_REFUSAL)


def test_replacing_keeps_what_is_known_and_forgets_the_rest():
    chooser = HubChooser([A])
    assert HubChooser([]).next(0.0) == Wait(math.inf)
    chooser.failed(A, 0.0, EVEN)
    chooser.replace([A, B])
    assert chooser.addresses == (A, B)
    assert chooser.next(0.0) == Dial(B)
    chooser.replace([A])
    assert chooser.next(0.0) == Wait(0.25)
    chooser.failed(B, 0.0, EVEN)
    chooser.refused(B, 0.0, EVEN)
    chooser.connected(B, 0.0)
    assert chooser.addresses == (A,)


def test_the_nearest_hub_is_best_and_among_the_near_the_least_loaded():
    near, nearer_full, far = Probe("1", A, 0.012, 0.1), Probe("2", A, 0.010, 0.9), Probe("3", B, 0.020, 0.0)
    assert best([far, nearer_full, near]) == near
    assert best([far, nearer_full]) == nearer_full
    with pytest.raises(UnreachableError):
        best([])
