"""Patterns of the port app match as regular expressions do that are anchored and compared without case."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ztm.apps.port.model import parse_target
from ztm.apps.port.pattern import MAX_PATTERN, Pattern
from ztm.apps.port.rules import parse_where
from ztm.errors import UsageError

atoms = st.sampled_from(["a", "b", "-", "1", r"\.", r"\d", r"\w", "[ab]", "[^a]", "[0-9-]", ".*", ".+"])


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.tuples(inner, st.sampled_from("*+?")).map(lambda pair: f"({pair[0]}){pair[1]}")
    either = st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})")
    return repeated | either | st.tuples(inner, inner).map("".join)


patterns = st.recursive(atoms, _joined, max_leaves=6).filter(lambda text: len(text) <= MAX_PATTERN)


@given(patterns, st.text("ab-1.X", max_size=8))
def test_a_pattern_matches_what_the_same_anchored_expression_does(pattern: str, text: str) -> None:
    expected = re.fullmatch(pattern.lower(), text.lower()) is not None
    assert Pattern(pattern).matches(text) is expected


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_a_usage_error_and_never_a_crash(text: str) -> None:
    try:
        where = parse_where(text)
    except UsageError:
        return
    where.fits("a.example", "192.0.2.1")


@given(st.text(max_size=100))
def test_any_text_is_a_target_or_a_usage_error(text: str) -> None:
    try:
        address = parse_target(text)
    except UsageError:
        return
    assert parse_target(str(address)) == address
