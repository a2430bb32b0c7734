"""A page as Markdown, for `docs/`. No block of it is marked as shell, since none is meant to be typed as it stands."""

from ztm.cli.manual.page import Block, Literal, Page, Text


def markdown(page: Page, title: str, first: str) -> str:
    """The whole page under another `title`; `first` is its opening paragraph."""
    lines = ["<!-- Made by `make docs` from the tables of commands; changes belong there. -->", f"# {title}", first]
    for section in page.sections:
        lines += [f"## {section.heading}", *map(_block, section.blocks)]
        for part in section.parts:
            lines += [f"### `{part.heading}`", *map(_block, part.blocks)]
    return "\n\n".join(lines) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return _plain(block.text)
    if isinstance(block, Literal):
        return f"```text\n{block.text.strip(chr(10))}\n```"
    rows = [f"| `{term.replace('|', chr(92) + '|')}` | {_plain(text)} |" for term, text in block.terms]
    return "\n".join(["| | |", "|---|---|", *rows])


def _plain(text: str) -> str:
    """Running text in which nothing is markup."""
    joined = " ".join(text.split())
    for letter in "\\`*_<>|[]":
        joined = joined.replace(letter, f"\\{letter}")
    return joined
