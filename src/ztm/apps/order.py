"""In which order rows are shown when somebody asks for one (`--sort`).

It compares what was shown; where that does not say the order, a kind of object gives a key of its own.
"""

import re
from typing import Any

MISSING = frozenset({"", "n/a"})
"""Cells that say nothing; they come last."""

_DIGITS = re.compile(r"([0-9]+)")

Key = tuple[Any, ...]


def natural(value: object) -> Key:
    """A key by which numbers are compared as numbers, also within texts: ``ep-2`` comes before ``ep-10``."""
    if value is None or value in MISSING:
        return (2,)
    if isinstance(value, int | float):
        return 0, value
    parts = _DIGITS.split(str(value).casefold())
    # Each part as (kind, number, text), so that a number is never compared with a text.
    return 1, [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts if part]
