"""Which commit this installation was built from, and when: written into the package by `setup.py`.

A checkout that is run as it is has no such file, and git is never asked at run time.
"""

from dataclasses import dataclass
from pathlib import Path

FILE = "build.json"
"""Beside this module, in packages that were built."""


@dataclass(frozen=True, slots=True)
class Build:
    """Empty texts where it is not known."""

    commit: str = ""
    date: str = ""
    """Of the commit, ISO 8601."""


def built(directory: Path = Path(__file__).parent) -> Build:
    """What was written when this package was built; a missing or malformed file says nothing."""
    file = directory / FILE
    if not file.is_file():
        return Build()
    import json

    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        return Build(str(fields["commit"]), str(fields["date"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Build()
