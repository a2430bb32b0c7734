"""`ztm get` and `ztm describe`: one command each for all kinds of objects.

What is shown of a kind is in the file of that kind; here is only the choice and the format.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ztm.apps.command import NO_HEADERS, OUTPUT, wants_json
from ztm.apps.grammar import Arguments, Command
from ztm.cli.context import Context

KINDS = {"mesh": "mesh", "meshes": "mesh", "hub": "hub", "hubs": "hub"} | dict.fromkeys(
    ("endpoint", "endpoints", "ep"), "endpoint"
)
"""Every spelling of an object type, and the type (spec cli 10)."""
NOTES = """Object types:

  mesh      meshes          A mesh that this agent has joined
  hub       hubs            A hub of the mesh
  endpoint  endpoints, ep   An endpoint of the mesh"""


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects of one type, for scripts and for people."""

    objects: list[dict[str, Any]]
    headings: tuple[str, ...]
    row: Callable[[dict[str, Any]], tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Description:
    """One object, for scripts and for people."""

    object: dict[str, Any]
    text: str


def kind_of(arguments: Arguments, command: str) -> str:
    """The object type that was asked for.

    Raises:
        UsageError: `command` knows no such type.
    """
    word = arguments.word("object type")
    if word not in KINDS:
        raise arguments.error(f"invalid object type '{word}' for command '{command}' (mesh, hub or ep)")
    return KINDS[word]


def get(context: Context, arguments: Arguments) -> None:
    """Print the objects of a type, or those that a name selects."""
    kind, as_json = kind_of(arguments, "get"), wants_json(arguments)
    listing = _listers()[kind](context, arguments.word("object name"))
    if as_json:
        context.json(listing.objects)
    else:
        rows = [listing.row(one) for one in listing.objects]
        context.table(listing.headings, rows, headed=not arguments.flag(NO_HEADERS.name))


def describe(context: Context, arguments: Arguments) -> None:
    """Print all that is known of one object."""
    kind, as_json = kind_of(arguments, "describe"), wants_json(arguments)
    found = _describers()[kind](context, arguments.word("object name"))
    if as_json:
        context.json(found.object)
    else:
        context.out(found.text)


def _listers() -> dict[str, Callable[[Context, str], Listing]]:
    from ztm.cli import endpoint, hub, mesh

    return {"mesh": mesh.listing, "hub": hub.listing, "endpoint": endpoint.listing}


def _describers() -> dict[str, Callable[[Context, str], Description]]:
    from ztm.cli import endpoint, hub, mesh

    return {"mesh": mesh.description, "hub": hub.description, "endpoint": endpoint.description}


COMMANDS = (
    Command(
        usage="get <object type> [object name]",
        title="List objects of one type",
        run=get,
        options=(OUTPUT, NO_HEADERS),
        notes=NOTES,
    ),
    Command(
        usage="describe <object type> <object name>",
        title="Show all about one object",
        run=describe,
        options=(OUTPUT,),
        notes=NOTES,
    ),
)
