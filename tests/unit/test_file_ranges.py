"""Conditions and ranges of requests for contents, as RFC 9110 has them."""

import pytest

from ztm.agent.api.ranges import Part, condition, wanted_part
from ztm.rest.message import Request

TAG = '"abc"'


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("bytes=0-0", Part(0, 1)),
        ("bytes=0-", Part(0, 10)),
        ("bytes=3-5", Part(3, 3)),
        ("bytes=9-9", Part(9, 1)),
        ("bytes=9-100", Part(9, 1)),
        ("bytes=-3", Part(7, 3)),
        ("bytes=-100", Part(0, 10)),
        ("bytes=10-", Part(10, 0)),
        ("bytes=11-12", Part(11, 0)),
        ("bytes=-0", Part(10, 0)),
        (f"bytes={'9' * 19}-", Part(int("9" * 19), 0)),
    ],
)
def test_one_range_is_understood(field: str, part: Part) -> None:
    found = wanted_part({"range": field}, TAG, 10)
    assert found == part


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-3",
        "bytes=a-b",
        "bytes=1-2,4-5",
        "items=0-1",
        "bytes=0-٣",
        "bytes= 1-2",
    ],
)
def test_what_is_no_single_range_gets_the_whole(field: str) -> None:
    assert wanted_part({"range": field}, TAG, 10) is None


def test_a_range_of_an_empty_content_is_the_whole_or_cannot_be_had() -> None:
    assert wanted_part({"range": "bytes=-5"}, TAG, 0) is None
    assert wanted_part({"range": "bytes=0-"}, TAG, 0) == Part(0, 0)


@pytest.mark.parametrize(("tag", "counts"), [(TAG, True), ('W/"abc"', False), ("abc", False), ('"x"', False)])
def test_a_range_counts_only_for_the_content_that_it_is_of(tag: str, *, counts: bool) -> None:
    found = wanted_part({"range": "bytes=0-0", "if-range": tag}, TAG, 10)
    assert (found is not None) is counts


def status(**fields: str) -> int:
    async def receive() -> dict[str, object]:
        raise AssertionError

    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    found = condition(Request({"method": "GET", "headers": headers}, receive), TAG)
    return found.status if found else 200


def test_conditions_are_kept() -> None:
    assert status() == 200
    for same in (TAG, f'"x", {TAG}', "*"):
        assert status(if_none_match=same) == 304
        assert status(if_match=same) == 200
    assert status(if_none_match=f"W/{TAG}") == 304
    assert status(if_match=f"W/{TAG}") == 412
    for other in ('"x"', "abc", ""):
        assert status(if_none_match=other) == 200
        assert status(if_match=other) == 412
    assert status(if_match='"x"', if_none_match=TAG) == 412
