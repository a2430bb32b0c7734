"""`ztm log`: the latest messages of an endpoint, a hub or an app, records of an audit log, and those that follow.

They are shown as they were written; nothing is filtered here.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ztm.apps.formats import OUTPUT, Description, Format, chosen_format
from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli import app, audit, output
from ztm.cli.changes import Changes
from ztm.cli.context import Context, attempting
from ztm.cli.failures import AgentUnreachableError
from ztm.cli.objects import kind_of
from ztm.cli.watch import PASSING
from ztm.errors import NotFoundError

FOLLOW = Option("--follow", "", "Go on with what is written, until Ctrl-C or for the time of --timeout", "-f")

AUDIT = "audit"

Message = Mapping[str, Any]


def log(context: Context, arguments: Arguments) -> int | None:
    """Print the last messages of an endpoint, a hub or an app, and go on if that is asked for.

    Raises:
        ForbiddenError: it is another user's, or a hub's and this endpoint's user is not root.
        NotFoundError: there is no such endpoint, hub or app.
    """
    if arguments.word("object type") == AUDIT:
        return audit.show(context, arguments, follow=arguments.flag(FOLLOW.name))
    for option in audit.OPTIONS:
        if arguments.flag(option.name):
            raise arguments.error(f"option {option.name} goes with 'log {AUDIT}' only")
    form = chosen_format(arguments)
    path, what, types = _source(context, arguments)

    def find() -> list[Message]:
        with attempting(f"cannot read the log of {what}"):
            return context.ask("GET", path) or []

    if arguments.flag(FOLLOW.name):
        return _follow(context, form, find, types)
    messages = find()
    if messages or form in (Format.JSON, Format.YAML):
        context.show(Description(messages, "\n".join(map(_line, messages))), arguments)
    return None


def _line(message: Message) -> str:
    return f"{message.get('time')} {message.get('message')}"


def _source(context: Context, arguments: Arguments) -> tuple[str, str, tuple[str, ...]]:
    """Where the messages are, whose they are, and the agent's events that tell of new ones."""
    from ztm.cli.resolve import find_hub_id

    kind, name = kind_of(arguments, "log"), arguments.word("object name")
    if kind in ("hub", "app") and not name:
        raise arguments.error(f"missing argument <object name>: which {kind}")
    if kind == "hub":
        return f"/hubs/{find_hub_id(context.client, context.mesh, name)}/log", f"hub '{name}'", ()
    if kind not in ("endpoint", "app"):
        word = arguments.word("object type")
        raise arguments.error(f"invalid object type '{word}' for command 'log' (endpoint, hub, app, audit)")
    target = context.endpoint if kind == "app" else context.find_endpoint(name)
    types = ("log",) if target.id == context.mesh_object["agent"]["id"] else ()
    if kind == "endpoint":
        return f"/endpoints/{target.id}/log", f"endpoint '{target.name}'", types
    found = app.find(context, name)
    if not found.get("isRunning") and not _has_log(context, found):
        raise NotFoundError(
            f"app '{app.full_name(found)}' has no log on endpoint '{target.name}': it was not started since its agent "
            f"was (see 'ztm start app {name}')"
        )
    return app.path_of(context, found) + "/log", f"app '{app.full_name(found)}' on endpoint '{target.name}'", types


def _has_log(context: Context, found: Mapping[str, Any]) -> bool:
    try:
        context.ask("GET", app.path_of(context, found) + "/log")
    except NotFoundError:
        return False
    return True


def _follow(context: Context, form: Format, find: Callable[[], list[Message]], types: tuple[str, ...]) -> int:
    """Print what there is and then what is new, until the time of ``--timeout`` is over."""
    seen: list[Message] | None = None
    last_failure = ""
    with Changes(context, types, context.mesh) as changes:
        while True:
            try:
                messages = find()
            except AgentUnreachableError:
                raise
            except PASSING as error:
                if seen is None:
                    raise
                if not changes.is_over and str(error) != last_failure:
                    output.complain(f"not up to date: {error}")
                last_failure = str(error)
            else:
                _print(fresh(seen or [], messages), form)
                seen, last_failure = messages, ""
            if not changes.wait():
                return 0


def fresh(before: list[Message], after: list[Message]) -> list[Message]:
    """What a log has at its end that it did not have before; old messages fall off its front."""
    for count in range(min(len(before), len(after)), 0, -1):
        if before[-count:] == after[:count]:
            return after[count:]
    return after


def _print(messages: list[Message], form: Format) -> None:
    for message in messages:
        is_data = form in (Format.JSON, Format.YAML)  # one object a line is both
        output.write(json.dumps(message, ensure_ascii=False) if is_data else _line(message))
    sys.stdout.flush()


NOTES = """Of an endpoint (ep), a hub or an app. A hub's log is for root, the others are for their own user.

'log audit [endpoint]' shows who used which app of the endpoint, one record for each session that is over, the newest
last: as a table, or with '-o json' one JSON object a line. Of an app by others, give --app as provider/name."""

COMMANDS = (
    Command(
        usage="log <object type> [object name]",
        title="Show the latest messages of an endpoint, a hub or an app, or an audit log",
        run=log,
        options=(FOLLOW, OUTPUT, *audit.OPTIONS),
        notes=NOTES,
        choices={"object type": ("ep", "endpoint", "endpoints", "hub", "hubs", "app", "apps", AUDIT)},
    ),
)
