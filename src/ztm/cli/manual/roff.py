"""A page in the man macros, as every man program reads them.

Source: man(7).
"""

from textwrap import wrap

from ztm import __version__
from ztm.cli.manual.page import Block, Literal, Page, Section, Terms, Text

DATE = "2026-11-23"
"""Of the last change worth a new date; fixed, so that the same tables make the same pages."""

WIDTH = 72
"""Letters of one line of running text before they are escaped."""


def roff(page: Page) -> str:
    """The whole page."""
    lines = [
        '.\\" Made by "make docs" from the tables of commands; changes belong there.',
        f'.TH {page.name.upper()} {page.number} {DATE} "ztm {__version__}" "ztm manual"',
        ".SH NAME",
        f"{page.name} \\- {_escaped(page.title)}",
    ]
    for section in page.sections:
        lines += _section(section)
    lines += [".SH SEE ALSO", *_see(page.see)] if page.see else []
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    lines = [f".SH {_escaped(section.heading.upper())}", *_blocks(section.blocks)]
    for part in section.parts:
        lines += [f'.SS "{_escaped(part.heading)}"', *_blocks(part.blocks)]
    return lines


def _blocks(blocks: tuple[Block, ...]) -> list[str]:
    lines: list[str] = []
    for number, block in enumerate(blocks):
        lines += [".PP"] if number and isinstance(block, Text | Literal) else []
        lines += _block(block)
    return lines


def _block(block: Block) -> list[str]:
    match block:
        case Text(text):
            return _sentences(text)
        case Literal(text):
            return [".nf", *(_escaped(line) for line in text.strip("\n").splitlines()), ".fi"]
        case Terms(terms):
            return [line for term, text in terms for line in (".TP", f"\\fB{_escaped(term)}\\fR", *_sentences(text))]


def _see(names: tuple[str, ...]) -> list[str]:
    last = len(names) - 1
    return [
        f".BR {name.partition('(')[0].replace('-', chr(92) + '-')} ({name.partition('(')[2]}{'' if n == last else ' ,'}"
        for n, name in enumerate(names)
    ]


def _sentences(text: str) -> list[str]:
    """Running text; each sentence begins a line, as roff likes it."""
    sentences = " ".join(text.split()).replace(". ", ".\n").splitlines()
    return [_escaped(line) for one in sentences for line in wrap(one, WIDTH, break_on_hyphens=False)]


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    escaped = escaped.replace("~", "\\(ti").replace("`", "\\(ga").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
