"""How things are written for people and scripts: tables, JSON, YAML, times.

Names and messages come from other machines, so nothing that a terminal would obey is passed on. Nothing is printed
here.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from unicodedata import east_asian_width

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, direction overrides and lone surrogates; tab and line end are left alone."""
_ENDPOINT = re.compile(r"\b(endpoint|exit) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
"""How messages speak of an endpoint whose name they do not know."""
_LISTENING = re.compile(r"cannot listen on \S+(?: \(udp\))?: ")


def clean(text: str) -> str:
    """`text` with terminal controls and direction overrides written as escapes."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def speaks_of_ids(message: str) -> bool:
    """Whether `message` speaks of an endpoint by its id."""
    return bool(_ENDPOINT.search(message))


def with_names(message: str, names: Mapping[str, str]) -> str:
    """`message` with endpoints that it speaks of by id called by their `names`, as far as these are known."""
    return _ENDPOINT.sub(lambda found: f"{found[1]} {names.get(found[2]) or found[2]}", message)


def not_open(reason: str) -> str:
    """What stands beside an address that is not listened on: `reason` without the address."""
    why = _LISTENING.sub("", reason, count=1)
    return f"(not open: {why})" if why else "(not open)"


def json_text(value: object) -> str:
    """`value` as indented JSON; it stays valid JSON when cleaned, since the escapes are JSON's own."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def yaml_text(value: object) -> str:
    """`value` as YAML, without a line end."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000).rstrip("\n")


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, headed: bool = True, indent: str = "") -> str:
    """An aligned table: each cell padded to its column and followed by two spaces, also the last.

    None and empty texts are empty cells; False and 0 are shown. Line ends in cells become blanks.

    Source: spec cli.md section 5.
    """
    lines = [[_cell(value) for value in row] for row in ([headings, *rows] if headed else rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(indent + "".join(map(_pad, line, widths)) for line in lines)


def clock_time(ms: float | None) -> str:
    """Epoch milliseconds as local wall-clock time with its zone; empty for None."""
    return "" if ms is None else datetime.fromtimestamp(ms / 1000).astimezone().strftime("%H:%M:%S GMT%z %Z")


def day_time(ms: float | None) -> str:
    """Epoch milliseconds as a local day and time: ``Mon Nov 23 11:00:02 2026``; empty for None.

    Source: spec cli.md section 5.
    """
    try:
        return "" if ms is None else time.ctime(ms / 1000)
    except (ValueError, OverflowError, OSError):
        return f"{ms:g} ms"  # another machine may write what no calendar has


def seconds(ms: float) -> str:
    """A duration in milliseconds as seconds: ``0.001s``, ``0s``, ``1.5s``."""
    text = f"{ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{text}s"


def rate(bytes_per_second: float) -> str:
    """A data rate in the unit of v1's tables: 1024 bytes a second."""
    return f"{bytes_per_second / 1024:.3f}KB/s"


def _cell(value: object) -> str:
    return "" if value is None else clean(" ".join(str(value).splitlines()).replace("\t", " "))


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text) + 2)


def _width(text: str) -> int:
    """Columns on a terminal: wide East Asian characters take two."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(c) in "WF" else 1 for c in text)
