"""`--watch`: a list that is shown again whenever it changes.

On a terminal the table is redrawn in its place; anything else is given the rows that changed. What a row says is the
business of its kind of object.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol
from unicodedata import east_asian_width

from ztm.apps.formats import NO_HEADERS, Format, Listing, Object, chosen_format, shown
from ztm.apps.grammar import Arguments, Option
from ztm.apps.text import clean, yaml_text
from ztm.cli import output
from ztm.cli.changes import Changes
from ztm.cli.context import Context
from ztm.cli.failures import AgentUnreachableError
from ztm.errors import BrokenStreamError, DeadlineError, LimitError, UnreachableError, ZtmError

WATCH = Option("--watch", "", "Go on showing what changes, until Ctrl-C or for the time of --timeout", "-w")
"""Taken by commands that list what changes."""
PASSING = (UnreachableError, DeadlineError, BrokenStreamError, LimitError)
"""Failures that may be over at the next look."""


def watch(
    context: Context, arguments: Arguments, find: Callable[[], Listing], types: Sequence[str] = (), mesh: str = ""
) -> int:
    """Show what `find` finds, again and again; the status when the time of ``--timeout`` is over.

    `types` are the agent's events after which it may find something else, and `mesh` the one they are about.

    Raises:
        UsageError: there is no such form of output.
        ZtmError: the first look failed, or a later one failed in a way that will not pass.
        KeyboardInterrupt: it was ended by Ctrl-C.
    """
    view = _view(arguments)
    with Changes(context, types, mesh) as changes:
        view.show(find())
        while changes.wait():
            try:
                listing = find()
            except AgentUnreachableError:
                raise
            except PASSING as error:
                if not changes.is_over:
                    view.missed(error)
            else:
                view.show(listing)
    return 0


class View(Protocol):
    """Where a list is shown again and again."""

    def show(self, listing: Listing) -> None:
        """Show what there is now."""

    def missed(self, error: ZtmError) -> None:
        """Say that what is shown could not be brought up to date."""


def _view(arguments: Arguments) -> View:
    form, headed = chosen_format(arguments), not arguments.flag(NO_HEADERS.name)
    can_redraw = output.is_terminal(sys.stdout) and os.environ.get("TERM", "dumb") != "dumb"
    return Screen(form, headed=headed) if can_redraw and form in (Format.TABLE, Format.WIDE) else Rows(form, headed)


class Screen:
    """A table on a terminal, redrawn in its place; rows and columns that do not fit are left out."""

    def __init__(self, form: Format, *, headed: bool) -> None:
        self._form = form
        self._headed = headed
        self._text = ""
        self._drawn = 0

    def show(self, listing: Listing) -> None:
        """Redraw the table."""
        self._text = shown(listing, self._form, headed=self._headed)
        self._draw(self._text.splitlines())

    def missed(self, error: ZtmError) -> None:
        """Put the reason below the table, which is left as it is."""
        self._draw([*self._text.splitlines(), f"(not up to date: {error})"])

    def _draw(self, lines: list[str]) -> None:
        import shutil

        width, height = shutil.get_terminal_size()
        room = max(height - 1, 2)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... and {len(lines) - room + 1} more lines"]
        back = f"\x1b[{self._drawn}A\r" if self._drawn else ""
        body = "".join(_cut(clean(line), width) + "\n" for line in lines)
        sys.stdout.write(f"{back}\x1b[J{body}")
        sys.stdout.flush()
        self._drawn = len(lines)


class Rows:
    """Rows one after another, each when it is new or has changed; for pipes, and for forms that are no table."""

    def __init__(self, form: Format, headed: bool) -> None:
        self._form = form
        self._heads = headed and form in (Format.TABLE, Format.WIDE)
        self._seen: dict[str, tuple[str, tuple[object, ...]]] = {}
        self._last = ""

    def show(self, listing: Listing) -> None:
        """Print what changed, and name on standard error what is gone."""
        lines, self._last = self._lines(listing), ""
        if self._heads:
            output.write(shown(listing, self._form).splitlines()[0])
            self._heads = False
        now: dict[str, tuple[str, tuple[object, ...]]] = {}
        for one, line in zip(listing.objects, lines, strict=True):
            key, cells = str(one.get("id") or listing.name(one)), self._cells(listing, one)
            now[key] = listing.name(one), cells
            if key not in self._seen or self._seen[key][1] != cells:
                output.write(line)
        sys.stdout.flush()
        for key in self._seen.keys() - now.keys():
            output.complain(f"gone: {self._seen[key][0]}")
        self._seen = now

    def missed(self, error: ZtmError) -> None:
        """Say why on standard error, once."""
        if str(error) != self._last:
            output.complain(f"not up to date: {error}")
        self._last = str(error)

    def _lines(self, listing: Listing) -> list[str]:
        """What to print of each object, if it is to be printed."""
        match self._form:
            case Format.JSON:
                return [json.dumps(one, ensure_ascii=False) for one in listing.objects]
            case Format.YAML:
                return [f"---\n{yaml_text(one)}" for one in listing.objects]
            case Format.NAME:
                return [listing.name(one) for one in listing.objects]
            case _:
                return shown(listing, self._form).splitlines()[1:]

    def _cells(self, listing: Listing, one: Object) -> tuple[object, ...]:
        return (*listing.row(one), *(listing.wide_row(one) if self._form is Format.WIDE else ()))


def _cut(line: str, width: int) -> str:
    """As much of `line` as fits into `width` columns."""
    if line.isascii():
        return line[:width]
    used = 0
    for position, character in enumerate(line):
        used += 2 if east_asian_width(character) in "WF" else 1
        if used > width:
            return line[:position]
    return line
