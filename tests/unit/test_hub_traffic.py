"""Rates of relayed traffic, and what a hub's settings may be."""

from pathlib import Path

import pytest

from ztm.errors import UsageError
from ztm.hub.config import HubConfig
from ztm.hub.traffic import TrafficMeter
from ztm.model import Address
from ztm.net.base import Meter
from ztm.net.flow import Tally

HERE = Address("127.0.0.1", 8888)


def test_rates_are_bytes_by_seconds_of_the_last_sample_only() -> None:
    meter = TrafficMeter()
    ab, ca = meter.begin("a", "b"), meter.begin("c", "a")
    ab.meter.sent, ab.meter.received = 300, 100
    ca.meter.received = 100
    meter.end(ca)
    assert meter.of("a").send == 0, "not sampled yet"
    meter.sample(2.0)
    found = meter.of("a")
    assert (found.send, found.receive) == (200, 50)
    assert {peer: (rate.send, rate.receive) for peer, rate in found.peers.items()} == {"b": (150, 50), "c": (50, 0)}
    meter.sample(1.0)
    assert (meter.of("a").send, meter.of("a").peers) == (0, {})


def test_totals_count_open_streams_and_those_that_are_over() -> None:
    meter = TrafficMeter()
    over, going = meter.begin("a", "b"), meter.begin("b", "a")
    over.meter.sent, over.meter.received = 5, 1
    meter.end(over)
    going.meter.follow(live := Tally())
    assert (meter.to_targets, meter.from_targets) == (5, 1)
    live.bytes = 7
    assert (meter.to_targets, meter.from_targets) == (12, 1)


def test_a_meter_adds_what_it_follows_to_what_was_written_and_keeps_what_it_followed_before() -> None:
    meter, first, second = Meter(), Tally(), Tally()
    meter.sent += 3
    meter.follow(first)
    first.bytes += 4
    meter.follow(second, second)
    second.bytes += 50
    assert (meter.sent, meter.received) == (57, 50)
    meter.sent += 1
    meter.received -= 10
    assert (meter.sent, meter.received) == (58, 40)


def test_a_sample_of_no_time_gives_no_rates() -> None:
    meter = TrafficMeter()
    meter.begin("a", "b").meter.sent = 300
    meter.sample(0.0)
    assert meter.of("b").receive == 0


@pytest.mark.parametrize("wrong", [{"max_agents": 1}, {"max_sessions": 9}, {"names": ()}])
def test_settings_that_make_no_hub_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        HubConfig(**({"data": tmp_path, "listen": HERE, "names": (HERE,)} | wrong))  # type: ignore[arg-type]
