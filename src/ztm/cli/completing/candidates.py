"""Where the values of options and positionals come from, by the words in their brackets.

Pure, and without names of its own: it says which kind of name may stand somewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ztm.apps.grammar import Command, Option


@dataclass(frozen=True, slots=True)
class Source:
    """What a value may be."""

    words: tuple[str, ...] = ()
    """Fixed ones."""
    live: tuple[str, ...] = ()
    """Kinds of names that exist now."""
    files: Literal["", "files", "dirs"] = ""
    """Whether it is a path on this machine."""


NOTHING = Source()
FILES = Source(files="files")
NEW = frozenset({"join", "invite"})
"""Commands whose positional is a name that does not exist yet."""
PLACEHOLDERS = {
    "file": FILES,
    "dir": Source(files="dirs"),
    "endpoint": Source(live=("endpoint",)),
    "[mesh/]endpoint": Source(live=("endpoint",)),
    "mesh name": Source(live=("mesh",)),
    "username": Source(live=("user",)),
    "app name": Source(live=("app",)),
    "hub": Source(live=("hub",)),
    "hub name": Source(live=("hub",)),
    "path": Source(live=("file",)),
    "label": Source(live=("label",)),
    "endpoint|label=x": Source(live=("endpoint",)),
    "group": Source(live=("group",)),
    "group name": Source(live=("group",)),
}
"""Words in brackets that say by themselves what may stand there."""
OBJECTS = {
    "mesh": "mesh",
    "hub": "hub",
    "endpoint": "endpoint",
    "ep": "endpoint",
    "audit": "endpoint",
    "file": "file",
    "app": "app",
    "user": "user",
    "tunnel": "tunnel",
    "tun": "tunnel",
    "inbound": "inbound",
    "in": "inbound",
    "outbound": "outbound",
    "out": "outbound",
}
"""Spellings of object types, without a final s, and the kind of name that an object of it has."""


def option_source(command: Command[Any, Any], option: Option) -> Source:
    """What the value of `option` may be."""
    if option.choices:
        return Source(words=option.choices)
    if option.name == "--mesh":
        return Source(live=("mesh",))
    if command.name == "label":
        return Source(live=("own_label",) if option.name == "--delete" else ("label",))
    return PLACEHOLDERS.get(option.value[1:-1].removesuffix("...").strip(), NOTHING)


def positional_source(command: Command[Any, Any], name: str, given: Mapping[str, str]) -> Source:
    """What the positional `name` (without brackets) may be, after the ones that are `given`."""
    if command.name == "ping" and name == "object type":
        return Source(words=("ep",), live=("endpoint",))
    if name in command.choices:
        return Source(words=command.choices[name])
    if command.name in NEW:
        return NOTHING
    if command.name == "user readmit":
        return Source(live=("evicted",))
    if command.name == "permit revoke":
        return Source(live=("permit",))
    if name in ("object name", "proto/name"):
        kind = given.get("object type") or command.words[-1][0]
        return _of_object(kind)
    return PLACEHOLDERS.get(name, NOTHING)


def _of_object(word: str) -> Source:
    kind = OBJECTS.get(word.removesuffix("s")) or OBJECTS.get(word.removesuffix("es"))
    return Source(live=(kind,)) if kind else NOTHING
