"""What may stand at the cursor of a `ztm` command line, read from the tables of commands.

Names that exist now come from a function that is passed in; it is called only where such a name may stand.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ztm.apps.catalog import TITLES
from ztm.apps.grammar import Command, Grammar, Option
from ztm.cli.commands import app_grammar, commands
from ztm.cli.completing.candidates import Source, option_source, positional_source
from ztm.cli.shared import PREFIXES, SHARED, Target
from ztm.errors import UsageError

Name = tuple[str, str]
"""A word, and a few words about it."""
Names = Callable[[Target, str, str], Iterable[Name]]
"""The names of one kind that exist now, for a target, of which the beginning was typed."""
HELP = Option("--help", "", "Show the help of this command", "-h")


SHORT = {"script": "run"}
"""Apps whose command of this name may be left out before a file."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the shell is to offer."""

    kind: Literal["words", "files", "dirs"] = "words"
    names: tuple[Name, ...] = ()


def complete(words: Sequence[str], current: str, names: Names) -> Answer:
    """What may follow `words` (without the program's name), of which `current` is typed already."""
    line = _Line(list(words), current, names)
    answer = line.answer()
    fitting = {word: about for word, about in reversed(answer.names) if word.startswith(current)}
    return Answer(answer.kind, tuple(reversed(fitting.items())))


@dataclass(slots=True)
class _Line:
    """One command line, read from the left; the target grows as it is read."""

    rest: list[str]
    current: str
    names: Names
    target: Target = field(default_factory=Target)

    def answer(self) -> Answer:
        pending = self._leading()
        if pending is not None:
            return pending
        grammar = commands()
        if not self.rest:
            return self._first(grammar)
        first = self.rest[0]
        if first in ("help", "-h", "--help"):
            return self._help(grammar, self.rest[1:])
        if first.removeprefix("ztm/") in TITLES:
            self.rest = self.rest[1:]
            return self._app(first)
        return self._command(grammar)

    # ------------------------------------------------------------------ before the command

    def _leading(self) -> Answer | None:
        """Read prefixes and shared options; an answer where the cursor is within one of them."""
        while self.rest:
            name, equals, value = self.rest[0].partition("=")
            kind = _KINDS.get(name)
            if kind is None:
                return None
            if equals:
                self._choose(name, value)
                self.rest = self.rest[1:]
            elif len(self.rest) == 1:
                return self._live(kind)
            else:
                self._choose(name, self.rest[1])
                self.rest = self.rest[2:]
        return None

    def _choose(self, name: str, value: str) -> None:
        with suppress(UsageError):
            self.target = self.target.plus(name, value)

    def _first(self, grammar: Grammar[Any, Any]) -> Answer:
        name, equals, _ = self.current.partition("=")
        if equals and name.startswith("-"):
            return self._glued(name, Source(live=tuple(filter(None, (_KINDS.get(name, ""),)))))
        if self.current.startswith("-"):
            return self._options((*SHARED, HELP), ())
        firsts = [(word[0], "") for word in dict.fromkeys(one.words[0] for one in grammar.commands)]
        fixed = [
            *firsts,
            ("help", ""),
            *((word, "") for word in PREFIXES),
            *((app, "app") for app in sorted(TITLES)),
        ]
        return Answer(names=tuple(fixed))

    def _help(self, grammar: Grammar[Any, Any], words: list[str]) -> Answer:
        if words and words[0] in TITLES:
            grammar, words = app_grammar(words[0]), words[1:]
        found = [word for command in grammar.commands for word in _next_literal(command, words)]
        apps = sorted(TITLES) if grammar.program == "ztm" and not words else []
        return Answer(names=tuple((word, "") for word in dict.fromkeys([*found, *apps])))

    # ------------------------------------------------------------------ within a command

    def _app(self, typed: str) -> Answer:
        grammar = app_grammar(typed)
        if self.rest[:1] == ["help"]:
            return self._help(grammar, self.rest[1:])
        is_short = typed.removeprefix("ztm/") in SHORT
        if is_short and self.rest and self.rest[0] not in {one.words[0][0] for one in grammar.commands}:
            self.rest = [SHORT[typed.removeprefix("ztm/")], *self.rest]
        answer = self._command(grammar)
        if self.rest:
            return answer
        return Answer("files" if is_short else answer.kind, (*answer.names, ("help", "")))

    def _command(self, grammar: Grammar[Any, Any]) -> Answer:
        literals = [(word, "") for one in grammar.commands for word in _next_literal(one, self.rest)]
        whole = [one for one in grammar.commands if one.begins(self.rest) == len(one.words)]
        if not whole:
            return Answer(names=tuple(literals))
        command = max(whole, key=lambda one: len(one.words))
        answer = self._arguments(grammar, command, self.rest[len(command.words) :])
        return Answer(answer.kind, (*literals, *answer.names))

    def _arguments(self, grammar: Grammar[Any, Any], command: Command[Any, Any], words: list[str]) -> Answer:
        options = grammar.options_of(command) or SHARED
        given = _read(words, (*options, *SHARED))
        for name, value in given.shared:
            self._choose(name, value)
        positionals = dict(zip((one[1:-1] for one in command.positionals), given.positionals, strict=False))
        if given.pending is not None and not (given.may_end and self.current.startswith("-")):
            return self._value(option_source(command, given.pending))
        if given.is_over or not self.current.startswith("-"):
            return self._positional(command, given, options, positionals)
        name, equals, _ = self.current.partition("=")
        glued = next((one for one in options if equals and one.name == name), None)
        if glued is None:
            return self._options((*options, HELP), given.names)
        return self._glued(name, option_source(command, glued))

    def _glued(self, name: str, source: Source) -> Answer:
        """A value that is written in one word with the name of its option."""
        after = _Line([], self.current[len(name) + 1 :], self.names, self.target)
        answer = after._value(source)
        return Answer(answer.kind, tuple((f"{name}={word}", about) for word, about in answer.names))

    def _positional(
        self, command: Command[Any, Any], given: "_Given", options: Sequence[Option], positionals: dict[str, str]
    ) -> Answer:
        count = len(given.positionals)
        if count < len(command.positionals):
            name = command.positionals[count][1:-1]
            return self._value(positional_source(command, name, positionals))
        return self._options(options, given.names) if not given.is_over else Answer()

    def _options(self, options: Iterable[Option], given: Iterable[str]) -> Answer:
        taken = set(given)
        free = [one for one in options if one.name not in taken or one.kind == "many"]
        return Answer(names=tuple((one.name, one.title) for one in {each.name: each for each in free}.values()))

    def _value(self, source: Source) -> Answer:
        if source.files:
            return Answer(source.files)
        fixed = tuple((word, "") for word in _singular(source.words, self.current))
        live = [one for kind in source.live for one in self._live(kind).names]
        return Answer(names=(*fixed, *live))

    def _live(self, kind: str) -> Answer:
        return Answer(names=tuple(self.names(self.target, kind, self.current))) if kind else Answer()


_KINDS = {"mesh": "mesh", "--mesh": "mesh", "ep": "endpoint", "endpoint": "endpoint", "--endpoint": "endpoint"} | {
    "--timeout": ""
}
"""Words before a command that take a name, and the kind of it."""


@dataclass(slots=True)
class _Given:
    """What stands before the cursor within one command."""

    positionals: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    shared: list[Name] = field(default_factory=list)
    """Shared options, each with its value."""
    pending: Option | None = None
    """The option whose value may stand at the cursor."""
    may_end: bool = False
    """Whether another option may stand there instead."""
    is_over: bool = False
    """Two dashes were typed."""


def _read(words: Iterable[str], options: Sequence[Option]) -> _Given:
    """Read words as the grammar does, but refuse none."""
    found, by_name = _Given(), {key: one for one in options for key in (one.name, one.short) if key}
    for word in words:
        if found.is_over:
            found.positionals.append(word)
        elif word == "--":
            found.is_over, found.pending = True, None
        elif len(word) > 1 and word.startswith("-"):
            _take_option(found, word, by_name)
        elif found.pending is not None:
            _take_value(found, word)
        else:
            found.positionals.append(word)
    return found


def _take_option(found: _Given, word: str, by_name: dict[str, Option]) -> None:
    name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
    option = by_name.get(name)
    found.pending = None
    if option is None:
        return
    found.names.append(option.name)
    if equals:
        found.shared.append((option.name, value))
        if option.kind == "many" and not word.startswith("--"):
            found.pending, found.may_end = option, True
    elif option.kind != "flag":
        found.pending, found.may_end = option, option.kind == "optional"


def _take_value(found: _Given, word: str) -> None:
    assert found.pending is not None
    found.shared.append((found.pending.name, word))
    if found.pending.kind == "many":
        found.may_end = True
    else:
        found.pending = None


def _singular(words: Sequence[str], begun: str) -> list[str]:
    """`words` without the plurals of others that fit what was typed as well."""
    fitting = {word for word in words if word.startswith(begun)}
    return [word for word in words if not {word.removesuffix("s"), word.removesuffix("es")} & (fitting - {word})]


def _next_literal(command: Command[Any, Any], words: Sequence[str]) -> Iterator[str]:
    """The literal word of `command` that comes after `words`, if all of these are literal words of it."""
    if len(command.words) > len(words) and command.begins(words) == len(words):
        yield command.words[len(words)][0]
