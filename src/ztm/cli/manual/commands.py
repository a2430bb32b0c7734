"""The parts of the manual that are the tables of commands themselves."""

from collections.abc import Iterable
from typing import Any

from ztm.apps.grammar import Command, Grammar, Option
from ztm.cli.manual.page import Block, Literal, Part, Terms, Text


def part(grammar: Grammar[Any, Any], command: Command[Any, Any]) -> Part:
    """One command: what it is for, its options, its notes."""
    heading = " ".join((grammar.program, command.name, *command.positionals))
    blocks: list[Block] = [Text(f"{command.title}.")]
    if command.options:
        blocks.append(options(command.options))
    if command.notes:
        blocks.append(Literal(command.notes))
    return Part(heading, tuple(blocks))


def parts(grammar: Grammar[Any, Any], names: Iterable[str] = ()) -> tuple[Part, ...]:
    """All commands in the order of the help, or those that are named, in that order."""
    wanted = list(names)
    if not wanted:
        return tuple(part(grammar, command) for command in grammar.commands)
    known = {command.name: command for command in grammar.commands}
    return tuple(part(grammar, known[name]) for name in wanted if name in known)


def options(listed: Iterable[Option]) -> Terms:
    """Options, each with its short form and the form of its value."""
    return Terms(tuple((_term(one), f"{one.title}.") for one in listed))


def _term(option: Option) -> str:
    return " ".join(filter(None, (f"{option.short}," if option.short else "", option.name, option.value)))
