"""One page of the manual as data: sections of paragraphs, definitions and literal text.

How a page looks is the business of `roff` and `markdown`.
"""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; its line ends mean nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """Lines that are shown as they are."""

    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Words, each with what it means."""

    terms: tuple[tuple[str, str], ...]


Block: TypeAlias = Text | Literal | Terms


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a section, with a heading that is typed as it stands: a command."""

    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One section."""

    heading: str
    blocks: tuple[Block, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    name: str
    number: int
    """The section of the manual: 1 commands, 5 files, 8 administration."""
    title: str
    sections: tuple[Section, ...]
    see: tuple[str, ...] = field(default=())
    """Other pages, as ``ztm(1)``."""
