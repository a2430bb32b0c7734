"""Tables, JSON and times, and that no name of another machine can command the terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.apps import text as texts
from ztm.cli import output


def test_a_table_is_padded_to_its_widest_cells_with_two_spaces_after_each() -> None:
    rows = [("m", "ep-1", None), ("m2", "", "Connected")]
    assert texts.table(("NAME", "JOINED AS", "STATUS"), rows).splitlines() == [
        "NAME  JOINED AS  STATUS     ",
        "m     ep-1                  ",
        "m2               Connected  ",
    ]


def test_a_table_without_rows_is_its_headings_and_without_headings_its_rows() -> None:
    assert texts.table(("A", "B"), []) == "A  B  "
    assert texts.table(("LONG", "B"), [("x", "y")], headed=False) == "x  y  "


def test_wide_characters_count_as_two_columns() -> None:
    assert texts.table(("A", "B"), [("家", "y")], headed=False) == "家  y  "
    assert texts.table(("ABCD", "B"), [("家", "y")]).splitlines()[1] == "家    y  "


@given(st.text())
def test_nothing_printed_can_move_the_cursor_or_reverse_the_text(text: str) -> None:
    cleaned = texts.clean(text)
    assert not set(cleaned) & set(map(chr, {*range(9), *range(11, 32), *range(127, 160), 0x202E}))
    cleaned.encode()


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_cleaned_json_is_the_same_json(value: object) -> None:
    assert json.loads(texts.clean(texts.json_text(value))) == value


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_a_row_is_always_one_line(rows: list[tuple[str, str]]) -> None:
    assert texts.table(("A", "B"), rows).count("\n") == len(rows)


@pytest.mark.parametrize(("ms", "text"), [(0, "0s"), (1, "0.001s"), (1500, "1.5s"), (30000, "30s")])
def test_durations_are_seconds_without_needless_zeros(ms: float, text: str) -> None:
    assert texts.seconds(ms) == text


def test_an_error_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain("first\nsecond\x1b[31m")
    assert capsys.readouterr() == ("", "ztm: first second\\u001b[31m\n")
