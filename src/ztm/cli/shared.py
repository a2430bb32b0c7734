"""What every command takes: the mesh and the endpoint it is about, and the time it may take.

They can be given as v1's prefixes, or as options anywhere. Nothing is looked up here.

Source: spec cli.md section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ztm.apps.grammar import UNTOUCHED, Arguments, Command, Option, suggestion
from ztm.cli.context import Context
from ztm.errors import UsageError

PREFIXES = ("mesh", "ep", "endpoint")
SHARED = (
    Option("--mesh", "<name>", "The mesh that the command is about"),
    Option("--endpoint", "<[mesh/]endpoint>", "The endpoint that the command is about"),
    Option("--timeout", "<seconds>", "Give up after this time, with status 1"),
)
"""Options that every command takes, and that may stand before it as well."""
_NAMES = tuple(option.name for option in SHARED)


@dataclass(frozen=True, slots=True)
class Target:
    """What one run of `ztm` is about."""

    mesh: str = ""
    endpoint: str = ""
    timeout: float | None = None
    """Seconds for the whole run."""

    def context(self) -> Context:
        """The context that a command runs in."""
        return Context(mesh=self.mesh, endpoint=self.endpoint, timeout=self.timeout)

    def plus(self, option: str, value: str) -> "Target":
        """This target with one more thing said; saying the same twice is fine.

        Raises:
            UsageError: the value is malformed, or contradicts what was said before.
        """
        if option == "--timeout":
            return replace(self, timeout=_seconds(value))
        mesh, endpoint = _named("mesh" if option in ("--mesh", "mesh") else "endpoint", option, value)
        if (mesh and self.mesh and mesh != self.mesh) or (endpoint and self.endpoint and endpoint != self.endpoint):
            raise UsageError(f"'{option} {value}' contradicts what was said before it")
        return replace(self, mesh=mesh or self.mesh, endpoint=endpoint or self.endpoint)

    def named_by(self, command: Command[Context, Any], arguments: Arguments) -> "Target":
        """This target with the shared options among a command's arguments.

        Raises:
            UsageError: as `plus`.
        """
        own = {option.name for option in command.options}
        target = self
        for name in _NAMES:
            value = arguments.value(name)
            if name not in own and value is not None:
                target = target.plus(name, value)
        return target

    def named_among(self, words: Sequence[str]) -> tuple["Target", list[str]]:
        """This target with the shared options among the words of an app's command, and the words without them.

        Raises:
            UsageError: as `plus`.
        """
        target, rest, position = self, [], 0
        while position < len(words) and words[position] not in UNTOUCHED:
            taken, value = _option(words[position:])
            if taken:
                target = target.plus(words[position].partition("=")[0], value)
            else:
                rest.append(words[position])
            position += taken or 1
        return target, [*rest, *words[position:]]


def leading(words: Sequence[str]) -> tuple[Target, list[str]]:
    """Take the prefixes ``mesh M`` and ``ep [M/]E``, and shared options, off the front of `words`.

    Raises:
        UsageError: a name is missing or malformed, or two contradict each other.
    """
    target, rest = Target(), list(words)
    while rest:
        taken, value = _option(rest)
        if taken:
            target = target.plus(rest[0].partition("=")[0], value)
        elif rest[0] in PREFIXES:
            if rest[1:2] in (["-h"], ["--help"]):
                return Target(), ["help"]
            target, taken = target.plus(rest[0], "".join(rest[1:2])), 2
        else:
            break
        rest = rest[taken:]
    if rest and rest[0].startswith("--") and rest[0] not in ("--help", "--version"):
        raise UsageError(f"unknown option: {rest[0]}{suggestion(rest[0], _NAMES)}. Type 'ztm help' for help info.")
    return target, rest


def _option(words: Sequence[str]) -> tuple[int, str]:
    """How many of `words` a shared option at their front takes, 0 if there is none; and its value.

    Raises:
        UsageError: it has no value.
    """
    name, equals, value = words[0].partition("=")
    if name not in _NAMES:
        return 0, ""
    if equals:
        return 1, value
    if len(words) < 2 or words[1].startswith("-"):
        raise UsageError(f"option {name} needs a value")
    return 2, words[1]


def _named(kind: str, said: str, word: str) -> tuple[str, str]:
    """The mesh and the endpoint, each perhaps empty, that `word` names."""
    mesh, _, endpoint = (word, "", "") if kind == "mesh" else word.rpartition("/")
    if not (mesh if kind == "mesh" else endpoint) or word.startswith("-"):
        raise UsageError(f"missing {kind} name after '{said}'")
    if "/" in mesh:
        raise UsageError(f"invalid character '/' in name '{mesh}'")
    return mesh, endpoint


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"invalid value {text!r} for option --timeout (seconds, more than 0)")
    return seconds
