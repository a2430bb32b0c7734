"""Help texts, laid out from a grammar: the list of commands, and one command in full.

It formats and prints nothing itself.
"""

from collections.abc import Sequence
from typing import TypeVar

from ztm.apps.grammar import Command, Grammar, Option

C = TypeVar("C")
R = TypeVar("R")


def help_text(grammar: Grammar[C, R], words: Sequence[str] = (), *, usage: str = "", notes: str = "") -> str:
    """The help of the commands that `words` begin with; of all commands if there are none.

    Words after the command's own are ignored. `usage` and `notes` are blocks put above and below the
    list of all commands.

    Source: spec cli.md section 2.
    """
    asked = tuple(word for word in words if not word.startswith("-"))
    depth = max((command.begins(asked) for command in grammar.commands), default=0)
    named = [command for command in grammar.commands if depth and command.begins(asked) == depth]
    if named:
        return "\n".join([*(_one(grammar, command) for command in named), *_shared(grammar, named)])
    return _all(grammar, usage, notes)


def _shared(grammar: Grammar[C, R], commands: Sequence[Command[C, R]]) -> list[str]:
    """The block of the options that all of `commands` share, if there are any."""
    own = {option.name for command in commands for option in command.options}
    options = [option for option in grammar.shared if option.name not in own or len(commands) > 1]
    if not options:
        return []
    return ["Options of every command:\n\n" + _columns([_option(options, option) for option in options]) + "\n"]


def _all(grammar: Grammar[C, R], usage: str, notes: str) -> str:
    rows = [
        (f"{grammar.program} {command.name}", " ".join(command.positionals), command.title)
        for command in grammar.commands
    ]
    closing = f"Type '{grammar.program} help <command>' for detailed info."
    blocks = (usage, "Commands:", _columns(rows), notes, closing)
    return "\n" + "\n\n".join(filter(None, blocks)) + "\n"


def _one(grammar: Grammar[C, R], command: Command[C, R]) -> str:
    parts = [grammar.program, command.name, *command.positionals, "[options...]" if command.options else ""]
    blocks = [command.title, "Usage: " + " ".join(filter(None, parts))]
    if command.options:
        blocks += ["Options:", _columns([_option(command.options, option) for option in command.options])]
    return "\n" + "\n\n".join(filter(None, (*blocks, command.notes))) + "\n"


def _option(options: Sequence[Option], option: Option) -> tuple[str, str, str]:
    blank = "    " if any(other.short for other in options) else ""
    return f"{option.short}, {option.name}" if option.short else blank + option.name, option.value, option.title


def _columns(rows: Sequence[tuple[str, str, str]]) -> str:
    first = max(len(row[0]) for row in rows)
    second = max(len(row[1]) for row in rows)
    return "\n".join(f"  {a:<{first}}  {b:<{second}}   {c}".rstrip() for a, b, c in rows)
