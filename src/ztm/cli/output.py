"""Printing: results on standard output, and the one-line error on standard error.

What is printed is formatted in `apps.text`; nothing that a terminal would obey leaves here.
"""

import sys

from ztm.apps.text import clean


def write(text: str) -> None:
    """Print `text` and a line end on standard output, cleaned."""
    sys.stdout.write(clean(text) + "\n")


def complain(text: str) -> None:
    """Print one line on standard error, in the form of every `ztm` error (spec cli 5)."""
    sys.stderr.write(f"ztm: {clean(' '.join(text.split()))}\n")


def is_terminal(stream: object) -> bool:
    """Whether a person sees `stream` as it is written: what progress, prompts and redrawing ask first."""
    return stream is not None and getattr(stream, "isatty", lambda: False)()
