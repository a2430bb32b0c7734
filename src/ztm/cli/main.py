"""The entry of `ztm`: prefixes, choosing a command or app, and turning failures into exit statuses.

No command lives here.
"""

import os
import sys
from collections.abc import Sequence

from ztm.apps.grammar import Grammar, suggestion, wants_help
from ztm.apps.help import help_text
from ztm.cli import config, endpoint, mesh, objects, observe, run, user, version
from ztm.cli.context import AppContext, Context
from ztm.cli.failures import FAILED, INTERRUPTED, NO_READER, status_of
from ztm.cli.output import complain
from ztm.errors import UsageError, ZtmError

USAGE = """Usage:

  ztm <cmd> ...
  ztm <app> ...

  ztm ep [<mesh name>/]<endpoint name> <cmd> ...
  ztm ep [<mesh name>/]<endpoint name> <app> ...

  ztm mesh <mesh name> <cmd> ...
  ztm mesh <mesh name> <app> ..."""

APPS = frozenset({"tunnel"})
"""Names of the built-in apps that have commands; their provider is ``ztm``."""
_PREFIXES = ("mesh", "ep", "endpoint")


def grammar() -> Grammar[Context]:
    """All commands of `ztm` itself, in the order of their help."""
    groups = (version, config, run, user, mesh, endpoint, objects, observe)
    return Grammar("ztm", tuple(command for group in groups for command in group.COMMANDS))


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
    _check_text(words)
    context, rest = _prefixes(words)
    commands = grammar()
    if not rest:
        raise UsageError(f"no command given. {commands.hint()}")
    first = rest[0]
    if first in ("-h", "--help"):
        rest[0] = first = "help"
    if first == "--version":
        rest[0] = first = "version"
    if first == "help":
        return _help(context, commands, rest[1:])
    if _app(first):
        return _run_app(context, _app(first), first, rest[1:])
    if not commands.knows(first):
        names = [*(command.words[0][0] for command in commands.commands), *APPS, "help", *_PREFIXES]
        raise UsageError(f"unknown command or app: {first}{suggestion(first, names)}. {commands.hint()}")
    if wants_help(rest):
        return _help(context, commands, rest)
    command, arguments = commands.parse(rest)
    if command.local and context.named_endpoint:
        raise UsageError(f"'ztm {command.name}' concerns this machine's agent only: leave the prefix 'ep' out")
    return command.run(context, arguments) or 0


def _check_text(words: Sequence[str]) -> None:
    """Refuse bytes that are no text in this locale: they can be put in no URL and no JSON."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"not UTF-8 text: {word!r}") from None


def _prefixes(words: Sequence[str]) -> tuple[Context, list[str]]:
    """Take the leading ``mesh M`` and ``ep [M/]E`` off `words` (spec cli 3)."""
    mesh = endpoint = ""
    rest = list(words)
    while rest and rest[0] in _PREFIXES:
        named = "".join(rest[1:2])
        if named in ("-h", "--help"):
            return Context(), ["help"]
        in_mesh, on_endpoint = _named(rest[0], named)
        if (mesh and in_mesh and mesh != in_mesh) or (endpoint and on_endpoint):
            raise UsageError(f"the prefix '{rest[0]} {named}' contradicts the one before it")
        mesh, endpoint = in_mesh or mesh, on_endpoint or endpoint
        rest = rest[2:]
    return Context(mesh=mesh, endpoint=endpoint), rest


def _named(prefix: str, word: str) -> tuple[str, str]:
    """The mesh and the endpoint, each perhaps empty, that `word` names after `prefix`."""
    kind = "mesh" if prefix == "mesh" else "endpoint"
    mesh, _, endpoint = (word, "", "") if kind == "mesh" else word.rpartition("/")
    if not (mesh if kind == "mesh" else endpoint) or word.startswith("-"):
        raise UsageError(f"missing {kind} name after '{prefix}'")
    if "/" in mesh:
        raise UsageError(f"invalid character '/' in name '{mesh}'")
    return mesh, endpoint


def _help(context: Context, commands: Grammar[Context], words: Sequence[str]) -> int:
    if words and _app(words[0]):
        return _run_app(context, _app(words[0]), words[0], ["help", *words[1:]])
    context.out(help_text(commands, words, usage=USAGE))
    return 0


def _app(word: str) -> str:
    """The built-in app that `word` names, with or without its provider, or an empty text."""
    name = word.removeprefix("ztm/")
    return name if name in APPS else ""


def _run_app(context: Context, name: str, typed: str, words: Sequence[str]) -> int:
    from ztm.apps.tunnel.cli import COMMANDS, NOTES

    commands = Grammar(f"ztm {typed}", COMMANDS)
    app = AppContext(context, f"ztm/{name}")
    if words and (words[0] == "help" or wants_help(words)):
        app.out(help_text(commands, words[1:] if words[0] == "help" else words, notes=NOTES))
        return 0
    if not words:
        raise UsageError(f"no command given. {commands.hint()}")
    command, arguments = commands.parse(words)
    return command.run(app, arguments) or 0


def _discard_output() -> None:
    """Let the interpreter's own flush at exit go nowhere, so that it stays silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
