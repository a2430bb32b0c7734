"""The entry of `ztm`: prefixes, choosing a command or app, and turning failures into exit statuses.

No command lives here.
"""

import os
import sys
from collections.abc import Sequence

from ztm.apps.catalog import TITLES
from ztm.apps.grammar import Arguments, Command, Grammar, suggestion, wants_help
from ztm.apps.help import help_text
from ztm.cli import completion, shared
from ztm.cli.commands import app_help, app_list, commands
from ztm.cli.context import Context
from ztm.cli.failures import FAILED, INTERRUPTED, NO_READER, AgentUnreachableError, status_of
from ztm.cli.output import complain
from ztm.errors import UsageError, ZtmError

USAGE = """Usage:

  ztm <cmd> ...
  ztm <app> ...

  ztm ep [<mesh name>/]<endpoint name> <cmd> ...
  ztm ep [<mesh name>/]<endpoint name> <app> ...

  ztm mesh <mesh name> <cmd> ...
  ztm mesh <mesh name> <app> ..."""


def main(argv: list[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit status."""
    try:
        status = run_words(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return NO_READER
    except ZtmError as error:
        complain(str(error))
        return status_of(error)
    except OSError as error:
        complain(f"cannot go on: {error}")
        return FAILED
    return status


def run_words(words: Sequence[str]) -> int:
    """Run one command line and return its exit status.

    Raises:
        ZtmError: it failed; the message is for people.
    """
    if words[:1] == [completion.HIDDEN]:
        return completion.answer(words[1:])
    _check_text(words)
    target, rest = shared.leading(words)
    grammar = commands()
    if not rest:
        raise UsageError(f"no command given. {grammar.hint()}")
    first = {"-h": "help", "--help": "help", "--version": "version"}.get(rest[0], rest[0])
    if first == "help":
        return _help(target, grammar, rest[1:])
    if not grammar.knows(first):
        return _run_app(target, grammar, first, rest[1:])
    if wants_help(rest):
        return _help(target, grammar, rest)
    command, arguments = grammar.parse([first, *rest[1:]])
    return _run(command, arguments, target)


def _run(command: Command[Context, int | None], arguments: Arguments, target: shared.Target) -> int:
    target = target.named_by(command, arguments)
    if command.local and target.endpoint:
        raise UsageError(f"'ztm {command.name}' concerns this machine's agent only: name no endpoint")
    return command.run(target.context(), arguments) or 0


def _check_text(words: Sequence[str]) -> None:
    """Refuse bytes that are no text in this locale: they can be put in no URL and no JSON."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"not UTF-8 text: {word!r}") from None


def _help(target: shared.Target, grammar: Grammar[Context, int | None], words: Sequence[str]) -> int:
    if words and words[0] in TITLES:
        return _run_app(target, grammar, words[0], ["help", *words[1:]])
    target.context().out(help_text(grammar, words, usage=USAGE, notes=app_list()))
    return 0


def _run_app(target: shared.Target, grammar: Grammar[Context, int | None], typed: str, words: Sequence[str]) -> int:
    """Run a command of an app; a word that names none is most likely a command mistyped."""
    from ztm.cli import appcall

    target, rest = target.named_among(words)
    wanted = rest[1:] if rest[:1] == ["help"] else rest if wants_help(rest) else None
    shown = app_help(typed, wanted) if wanted is not None else ""
    if shown:
        target.context().out(shown)
        return 0
    try:
        return appcall.run(target.context(), typed, rest)
    except (appcall.UnknownAppError, AgentUnreachableError):
        if typed in TITLES or "/" in typed:
            raise
        names = [*(command.words[0][0] for command in grammar.commands), *TITLES, "help", *shared.PREFIXES]
        raise UsageError(f"unknown command or app: {typed}{suggestion(typed, names)}. {grammar.hint()}") from None


def _discard_output() -> None:
    """Let the interpreter's own flush at exit go nowhere, so that it stays silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
