"""The grammar of command lines, shared by `ztm` and every app: tables of commands in, arguments out.

It reads words and nothing else: no files, no environment, no printing.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Generic, Literal, TypeVar

from ztm.errors import UsageError

C = TypeVar("C")
"""What the commands of one grammar run in: the command line's context, or an app's."""
R = TypeVar("R")
"""What running a command gives: its exit status (None is 0), or for an app the awaitable of that."""

UNTOUCHED = ("--", "--args")
"""Words of a command line after which nothing is meant for `ztm`."""
REST = "..."
"""The value of an option that takes every word that follows it (spec cli 2)."""
_USAGE_PART = re.compile(r"<[^>]*>|\[[^\]]*\]|\S+")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command, as its help shows it (spec cli 2)."""

    name: str
    """With its dashes: ``--listen``."""
    value: str = ""
    """Empty for a flag; ``<x>`` takes one value, ``[x]`` one or none, ``<x ...>`` one or more; ``...`` takes every word
    that follows, whatever it looks like, for `Arguments.rest`."""
    title: str = ""
    short: str = ""
    """One dash and one letter, or empty."""
    choices: tuple[str, ...] = ()
    """The values that it may have, where these are few; completion offers them."""

    @property
    def kind(self) -> Literal["flag", "one", "optional", "many", "rest"]:
        """How many values it takes, read from the form of `value`."""
        if not self.value:
            return "flag"
        if self.value == REST:
            return "rest"
        if self.value.startswith("["):
            return "optional"
        return "many" if self.value.endswith("...>") else "one"


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one command was given, already checked against its grammar."""

    words: Mapping[str, str]
    """Positional name (without brackets) to value; optional ones that were not given are absent."""
    options: Mapping[str, tuple[str, ...]]
    """Option name to its values; a flag that was given has none."""
    hint: str = ""
    """The sentence that every usage error of this command ends with."""
    rest: tuple[str, ...] = ()
    """The words behind an option or positional that takes all that follow, untouched."""
    is_exact: bool = False
    """Whether `rest` stood behind ``--``, so that it is words and not a line."""

    def word(self, name: str) -> str:
        """The positional `name`, or an empty text if it is optional and was not given."""
        return self.words.get(name, "")

    def flag(self, option: str) -> bool:
        """Whether `option` was given at all."""
        return option in self.options

    def value(self, option: str) -> str | None:
        """The value of `option`, or None if it was not given."""
        values = self.options.get(option)
        return None if values is None else "".join(values[:1])

    def values(self, option: str) -> tuple[str, ...]:
        """All values of a repeatable option, in order; empty if it was not given."""
        return self.options.get(option, ())

    def require(self, option: str, what: str = "") -> str:
        """The value of an option that the command cannot do without; `what` is its name for people.

        Raises:
            UsageError: it was not given, or is empty.
        """
        value = self.value(option)
        if not value:
            raise self.error(f"{what} not specified (with option {option})" if what else f"missing option {option}")
        return value

    def number(self, option: str, default: int, least: int) -> int:
        """The whole number given with `option`.

        Raises:
            UsageError: it is not a whole number, or is below `least`.
        """
        text = self.value(option)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise self.error(f"invalid value {text!r} for option {option} (a whole number from {least})")
        return int(text)

    def error(self, text: str) -> UsageError:
        """A usage error that names the help to read."""
        return UsageError(f"{text}. {self.hint}" if self.hint else text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[C, R]):
    """One command: how it is written, what it is called in help, and what runs it."""

    usage: str
    """Literal words (``a|b`` are spellings of one), then ``<required>`` and ``[optional]`` positionals; a last
    ``[x ...]`` takes every word that follows, whatever it looks like, for `Arguments.rest`."""
    title: str
    run: Callable[[C, Arguments], R]
    options: tuple[Option, ...] = ()
    notes: str = ""
    """Text below the options in the help of this command."""
    local: bool = False
    """It concerns this machine's agent alone, so a prefix naming another endpoint is a mistake."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a positional (without brackets) may be, where this is one of few; completion offers them."""
    words: tuple[tuple[str, ...], ...] = field(init=False)
    """The literal words, each with its spellings."""
    positionals: tuple[str, ...] = field(init=False)
    """With their brackets."""

    def __post_init__(self) -> None:
        parts = _USAGE_PART.findall(self.usage)
        positionals = tuple(part for part in parts if part[0] in "<[")
        literals = parts[: len(parts) - len(positionals)]
        object.__setattr__(self, "words", tuple(tuple(part.split("|")) for part in literals))
        object.__setattr__(self, "positionals", positionals)

    @property
    def name(self) -> str:
        """The literal words in their first spelling."""
        return " ".join(word[0] for word in self.words)

    def begins(self, words: Sequence[str]) -> int:
        """How many of the first `words` are literal words of this command."""
        count = 0
        for spellings, word in zip(self.words, words, strict=False):
            if word not in spellings:
                break
            count += 1
        return count


@dataclass(frozen=True, slots=True)
class Grammar(Generic[C, R]):
    """All commands of one program."""

    program: str
    """What is typed before a command: ``ztm``, or ``ztm tunnel``."""
    commands: tuple[Command[C, R], ...]
    shared: tuple[Option, ...] = ()
    """Options that every command takes, unless it has one of that name itself."""

    def options_of(self, command: Command[C, R]) -> tuple[Option, ...]:
        """All options that `command` takes: its own, and the shared ones that it does not have itself."""
        names = {option.name for option in command.options}
        return (*command.options, *(option for option in self.shared if option.name not in names))

    def hint(self, name: str = "") -> str:
        """The sentence that says which help to read."""
        return f"Type '{' '.join(filter(None, (self.program, 'help', name)))}' for help info."

    def knows(self, word: str) -> bool:
        """Whether any command begins with `word`."""
        return any(command.begins((word,)) for command in self.commands)

    def find(self, words: Sequence[str]) -> Command[C, R]:
        """The command with the most literal words among those that `words` begin with.

        Raises:
            UsageError: there is none; near matches are named.
        """
        whole = [command for command in self.commands if command.begins(words) == len(command.words)]
        if whole:
            return max(whole, key=lambda command: len(command.words))
        depth = max((command.begins(words) for command in self.commands), default=0)
        nearest = [command for command in self.commands if depth and command.begins(words) == depth]
        choices = [command.words[depth][0] for command in nearest or self.commands if len(command.words) > depth]
        hint = self.hint(words[0]) if depth else self.hint()
        if len(words) <= depth:
            after = " ".join((self.program, *words))
            raise UsageError(f"'{after}' must be followed by {' or '.join(choices) or 'a command'}. {hint}")
        word, near = words[depth], suggestion(words[depth], choices)
        if depth:
            known = near or f" ({', '.join(dict.fromkeys(choices))})"
            raise UsageError(f"invalid object type '{word}' for command '{words[0]}'{known}. {hint}")
        raise UsageError(f"unknown command: {word}{near}. {hint}")

    def parse(self, words: Sequence[str]) -> tuple[Command[C, R], Arguments]:
        """The command that `words` name, and its arguments.

        Options may stand before, between and after positionals; ``--`` ends them; a lone ``-`` is a
        value. An option of many values takes every word up to the next option, as v1 does, unless it
        is written ``--option=value``.

        Raises:
            UsageError: the words do not follow the grammar; the message is one line.

        Source: spec cli.md section 2.
        """
        command = self.find(words)
        reader = _Reader(command.positionals, self.options_of(command), self.hint(command.words[0][0]))
        return command, reader.read(words[len(command.words) :])


class _Reader:
    """Reads the words after one command's literals."""

    def __init__(self, positionals: tuple[str, ...], options: tuple[Option, ...], hint: str) -> None:
        self._positionals = positionals
        self._by_name = {option.name: option for option in options}
        self._by_short = {option.short: option for option in options if option.short}
        self._hint = hint
        self._rest: deque[str] = deque()
        self._words: list[str] = []
        self._options: dict[str, list[str]] = {}
        self._after: tuple[str, ...] = ()
        self._is_exact = False
        self._fixed = len(positionals) - 1 if positionals and positionals[-1].endswith(" ...]") else None
        """How many positionals stand before one that takes all that follow; None where there is no such one."""

    def read(self, words: Iterable[str]) -> Arguments:
        self._rest = deque(words)
        while self._rest:
            word = self._rest.popleft()
            if word == "--":
                self._end_options()
                break
            if _is_option(word):
                self._option(word)
            elif len(self._words) == self._fixed:
                self._rest.appendleft(word)
                self._take_rest()
            else:
                self._words.append(word)
        options = {name: tuple(values) for name, values in self._options.items()}
        return Arguments(self._named_words(), options, self._hint, self._after, self._is_exact)

    def _take_rest(self) -> None:
        self._after = tuple(self._rest)
        self._rest.clear()

    def _end_options(self) -> None:
        """What stands behind ``--``: positionals, or what something of this command takes with all that follows."""
        if self._fixed is not None:
            self._is_exact = len(self._words) == self._fixed
            while self._rest and len(self._words) < self._fixed:
                self._words.append(self._rest.popleft())
            self._take_rest()
        elif any(option.kind == "rest" for option in self._by_name.values()):
            self._take_rest()
        else:
            self._words.extend(self._rest)

    def _option(self, word: str) -> None:
        option, glued, alone = self._match(word)
        if option.name in self._options and option.kind != "many":
            raise self._error(f"option {option.name} is given twice")
        if option.kind == "flag" and glued is not None:
            raise self._error(f"option {option.name} takes no value")
        values = self._options.setdefault(option.name, [])
        if option.kind == "rest":
            self._after = tuple(self._rest) if glued is None else (glued, *self._rest)
            self._rest.clear()
            return
        before = len(values)
        if glued is not None:
            values.append(glued)
        if option.kind == "many" and not alone:
            while self._has_value():
                values.append(self._rest.popleft())
        elif option.kind in ("one", "optional") and glued is None and self._has_value():
            values.append(self._rest.popleft())
        if option.kind in ("one", "many") and len(values) == before:
            raise self._error(f"option {option.name} needs a value: {option.value}")

    def _match(self, word: str) -> tuple[Option, str | None, bool]:
        """The option, the value written in the same word, and whether that must be the only one."""
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in self._by_name:
                return self._by_name[name], value if equals else None, bool(equals)
            raise self._error(f"unknown option: {name}{suggestion(name, self._by_name)}")
        if word[:2] in self._by_short:
            return self._by_short[word[:2]], word[2:] or None, False
        raise self._error(f"unknown option: {word}{suggestion('-' + word, self._by_name)}")

    def _has_value(self) -> bool:
        return bool(self._rest) and not _is_option(self._rest[0])

    def _named_words(self) -> dict[str, str]:
        if len(self._words) > len(self._positionals):
            raise self._error(f"excessive positional argument: {self._words[len(self._positionals)]}")
        for missing in self._positionals[len(self._words) :]:
            if missing.startswith("<"):
                raise self._error(f"missing argument {missing}{self._swallowed()}")
        return {name[1:-1]: word for name, word in zip(self._positionals, self._words, strict=False)}

    def _swallowed(self) -> str:
        greedy = [name for name in self._options if self._by_name[name].kind == "many"]
        return f" (write it before {greedy[0]}, which takes every word after it)" if greedy else ""

    def _error(self, text: str) -> UsageError:
        return UsageError(f"{text}. {self._hint}")


def wants_help(words: Sequence[str]) -> bool:
    """Whether ``-h`` or ``--help`` stands anywhere before what belongs to somebody else (`UNTOUCHED`)."""
    options = list(takewhile(lambda word: word not in UNTOUCHED, words))
    return "-h" in options or "--help" in options


def suggestion(word: str, choices: Iterable[str]) -> str:
    """A clause naming what `word` may have been meant to be, or an empty text."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(dict.fromkeys(choices)), n=2)
    return f" (did you mean {' or '.join(repr(choice) for choice in near)}?)" if near else ""


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-")
