"""`ztm get` and `ztm describe`: one command each for all kinds of objects.

What is shown of a kind is in the file of that kind; here is only the choice.
"""

from collections.abc import Callable
from dataclasses import replace

from ztm.apps.formats import NO_HEADERS, OUTPUT, SORT, Description, Listing, chosen_format, sorted_by
from ztm.apps.grammar import Arguments, Command, Option, suggestion
from ztm.cli.context import Context
from ztm.cli.watch import WATCH, watch

KINDS = {
    **dict.fromkeys(("mesh", "meshes"), "mesh"),
    **dict.fromkeys(("hub", "hubs"), "hub"),
    **dict.fromkeys(("endpoint", "endpoints", "ep"), "endpoint"),
    **dict.fromkeys(("file", "files"), "file"),
    **dict.fromkeys(("app", "apps"), "app"),
    **dict.fromkeys(("user", "users"), "user"),
}
"""Every spelling of an object type, and the type (spec cli 10)."""
EVENTS = {"mesh": ("mesh",), "hub": ("mesh",), "endpoint": ("mesh", "endpoint"), "user": ("mesh", "endpoint")}
"""The agent's events after which objects of a type may look different; none tells of files and apps."""
NOTES = """Object types:

  mesh      meshes          A mesh that this agent has joined
  hub       hubs            A hub of the mesh
  endpoint  endpoints, ep   An endpoint of the mesh
  file      files           A file of the mesh
  app       apps            An app on an endpoint, or published in the mesh
  user      users           A user who has an endpoint, or is evicted"""
GET_NOTES = f"""{NOTES}

A name selects: a mesh or a user exactly, a hub by its id or a part of an address, an endpoint by a part of its name or
of a label, a file by a part of its path, an app as [provider/]name[@tag].

A label selects endpoints that have it; one that ends with '=' selects those with any label that begins so. All that
are given must match.

With --watch, a terminal shows the table as it is now; otherwise each row is printed again when it changes, and what
is gone is named on standard error. It ends at Ctrl-C with status 130, or with status 0 when the time of --timeout is
over."""
LABEL = Option("--label", "<label ...>", "Only endpoints with all of these labels", "-l")
HASH = Option("--hash", "", "Show also the hash of files")


def kind_of(arguments: Arguments, command: str) -> str:
    """The object type that was asked for.

    Raises:
        UsageError: `command` knows no such type.
    """
    word = arguments.word("object type")
    if word not in KINDS:
        near = suggestion(word, KINDS)
        kinds = ", ".join(dict.fromkeys(KINDS.values()))
        raise arguments.error(f"invalid object type '{word}' for command '{command}'{near} ({kinds})")
    return KINDS[word]


def get(context: Context, arguments: Arguments) -> int | None:
    """Print the objects of a type, or those that a name and labels select.

    Raises:
        UsageError: there is no such type or column, or an option does not go with the type.
    """
    kind, name = kind_of(arguments, "get"), arguments.word("object name")
    for option, only in ((LABEL, "endpoint"), (HASH, "file")):
        if arguments.flag(option.name) and kind != only:
            raise arguments.error(f"option {option.name} goes with type {only} only, not with {kind}")
    chosen_format(arguments)
    lister = _listers()[kind]

    def find() -> Listing:
        listing = lister(context, name)
        if arguments.flag(HASH.name):
            listing = _with_hash(listing)
        return sorted_by(_labelled(listing, arguments.values(LABEL.name)), arguments)

    if arguments.flag(WATCH.name):
        return watch(context, arguments, find, EVENTS.get(kind, ()), "" if kind == "mesh" else context.mesh)
    context.show(find(), arguments)
    return None


def _labelled(listing: Listing, wanted: tuple[str, ...]) -> Listing:
    """The endpoints that have all of the labels `wanted`."""

    def has(labels: list[str], selector: str) -> bool:
        return any(label.startswith(selector) if selector.endswith("=") else label == selector for label in labels)

    chosen = [
        one
        for one in listing.objects
        if all(has((one.get("agent") or {}).get("labels") or [], each) for each in wanted)
    ]
    return replace(listing, objects=chosen)


def _with_hash(listing: Listing) -> Listing:
    """`listing` of files with one more column, which is all that the wide form would add."""
    headings, row = (*listing.headings, "HASH"), listing.row
    return replace(
        listing, headings=headings, row=lambda one: (*row(one), one.get("hash")), wide=(), wide_row=lambda _one: ()
    )


def describe(context: Context, arguments: Arguments) -> None:
    """Print all that is known of one object.

    Raises:
        UsageError: there is no such type.
    """
    describer = _describers()[kind_of(arguments, "describe")]
    chosen_format(arguments)
    context.show(describer(context, arguments.word("object name")), arguments)


def _listers() -> dict[str, Callable[[Context, str], Listing]]:
    from ztm.cli import app, endpoint, file, hub, mesh, users

    return {
        "mesh": mesh.listing,
        "hub": hub.listing,
        "endpoint": endpoint.listing,
        "file": file.listing,
        "app": app.listing,
        "user": users.listing,
    }


def _describers() -> dict[str, Callable[[Context, str], Description]]:
    from ztm.cli import app, endpoint, file, hub, mesh, users

    return {
        "mesh": mesh.description,
        "hub": hub.description,
        "endpoint": endpoint.description,
        "file": file.description,
        "app": app.description,
        "user": users.description,
    }


COMMANDS = (
    Command(
        usage="get <object type> [object name]",
        title="List objects of one type",
        run=get,
        options=(OUTPUT, NO_HEADERS, LABEL, SORT, WATCH, HASH),
        notes=GET_NOTES,
        choices={"object type": tuple(KINDS)},
    ),
    Command(
        usage="describe <object type> <object name>",
        title="Show all about one object",
        run=describe,
        options=(OUTPUT,),
        notes=NOTES,
        choices={"object type": tuple(KINDS)},
    ),
)
