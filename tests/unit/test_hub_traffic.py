"""Rates of relayed traffic, and what a hub's settings may be."""

from pathlib import Path

import pytest

from ztm.errors import UsageError
from ztm.hub.config import HubConfig
from ztm.hub.traffic import TrafficMeter
from ztm.model import Address

HERE = Address("127.0.0.1", 8888)


def test_rates_are_bytes_by_seconds_of_the_last_sample_only() -> None:
    meter = TrafficMeter()
    meter.add("a", "b", 300)
    meter.add("b", "a", 100)
    meter.add("a", "c", 100)
    assert meter.of("a").send == 0, "not sampled yet"
    meter.sample(2.0)
    found = meter.of("a")
    assert (found.send, found.receive) == (200, 50)
    assert {peer: (rate.send, rate.receive) for peer, rate in found.peers.items()} == {"b": (150, 50), "c": (50, 0)}
    meter.sample(1.0)
    assert (meter.of("a").send, meter.of("a").peers) == (0, {})


def test_a_sample_of_no_time_gives_no_rates() -> None:
    meter = TrafficMeter()
    meter.add("a", "b", 300)
    meter.sample(0.0)
    assert meter.of("b").receive == 0


@pytest.mark.parametrize("wrong", [{"max_agents": 1}, {"max_sessions": 9}, {"names": ()}])
def test_settings_that_make_no_hub_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        HubConfig(**({"data": tmp_path, "listen": HERE, "names": (HERE,)} | wrong))  # type: ignore[arg-type]
