"""The forms in which every command that lists or describes can show what it found (`--output`).

A kind of object says its columns once, as a `Listing`; the forms are made from that here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ztm.apps import text
from ztm.apps.grammar import Arguments, Option, suggestion
from ztm.apps.order import natural


class Format(StrEnum):
    """One form of output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


OUTPUT = Option("--output", "<format>", f"Output format: {', '.join(Format)} (default table)", "-o", tuple(Format))
"""Taken by every command that lists or describes."""
NO_HEADERS = Option("--no-headers", "", "Leave out the heading row of tables")
SORT = Option("--sort", "<column>", "Sort by the column with this heading; numbers and times sort as such")

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects of one type, for scripts and for people."""

    objects: list[dict[str, Any]]
    """As the agent's API has them: what JSON and YAML show."""
    headings: tuple[str, ...]
    row: Callable[[Object], tuple[object, ...]]
    """The cells of one object, below `headings`."""
    wide: tuple[str, ...] = ()
    """Further headings, shown by ``-o wide`` only."""
    wide_row: Callable[[Object], tuple[object, ...]] = lambda _one: ()
    """The cells below `wide`."""
    name: Callable[[Object], str] = lambda one: str(one["name"])
    """What ``-o name`` prints of an object: a word that commands take to mean it."""
    keys: Mapping[str, Callable[[Object], object]] = field(default_factory=dict)
    """By heading, what to sort by where the cells below it do not say it."""


@dataclass(frozen=True, slots=True)
class Description:
    """One object, for scripts and for people."""

    object: Any
    """As the agent's API has it."""
    text: str
    name: str = ""
    """What ``-o name`` prints."""


def chosen_format(arguments: Arguments) -> Format:
    """The form that ``--output`` asks for.

    Raises:
        UsageError: there is no such form.
    """
    chosen = arguments.value(OUTPUT.name)
    if chosen is None:
        return Format.TABLE
    try:
        return Format(chosen)
    except ValueError:
        raise arguments.error(f"unknown output format {chosen!r} ({', '.join(Format)})") from None


def in_form(found: Listing | Description, arguments: Arguments) -> str:
    """Objects in the form that ``--output`` and ``--no-headers`` ask for; empty where there is nothing to print.

    Raises:
        UsageError: there is no such form.
    """
    form = chosen_format(arguments)
    if isinstance(found, Description):
        return described(found, form)
    return shown(found, form, headed=not arguments.flag(NO_HEADERS.name))


def sorted_by(listing: Listing, arguments: Arguments) -> Listing:
    """`listing` in the order that ``--sort`` asks for; what has nothing in that column comes last.

    Raises:
        UsageError: there is no such column.
    """
    column = arguments.value(SORT.name)
    if column is None:
        return listing
    headings = (*listing.headings, *listing.wide)
    heading = column.upper()
    if heading not in headings:
        near = suggestion(heading, headings)
        raise arguments.error(f"no column {column!r} to sort by{near} ({', '.join(headings).lower()})")
    position = headings.index(heading)

    def cell(one: Object) -> object:
        cells = listing.row(one) if position < len(listing.headings) else (*listing.row(one), *listing.wide_row(one))
        return cells[position]

    chosen = listing.keys.get(heading, cell)
    return replace(listing, objects=sorted(listing.objects, key=lambda one: natural(chosen(one))))


def shown(listing: Listing, form: Format, *, headed: bool = True) -> str:
    """All objects of `listing` in `form`; empty where there is nothing to print."""
    if form in (Format.JSON, Format.YAML):
        return data_text(listing.objects, form)
    if form is Format.NAME:
        return "\n".join(listing.name(one) for one in listing.objects)
    is_wide = form is Format.WIDE
    headings = (*listing.headings, *(listing.wide if is_wide else ()))
    rows = [(*listing.row(one), *(listing.wide_row(one) if is_wide else ())) for one in listing.objects]
    return text.table(headings, rows, headed=headed) if headed or rows else ""


def described(description: Description, form: Format) -> str:
    """One object in `form`."""
    if form in (Format.JSON, Format.YAML):
        return data_text(description.object, form)
    return description.name if form is Format.NAME and description.name else description.text


def data_text(value: object, form: Format) -> str:
    """`value` as JSON or, if `form` says so, as YAML."""
    return text.yaml_text(value) if form is Format.YAML else text.json_text(value)
