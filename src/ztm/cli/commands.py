"""The table of all commands of `ztm`, in the order of their help.

The help, the completion and the manual are made from it.
"""

from collections.abc import Sequence
from typing import Any

from ztm.apps.catalog import TITLES, app_commands
from ztm.apps.grammar import Grammar
from ztm.cli import (
    app,
    appdev,
    authority,
    completion,
    config,
    doctor,
    endpoint,
    file,
    forward,
    gui,
    log,
    membership,
    objects,
    permit,
    ping,
    run,
    service,
    stats,
    status,
    user,
    version,
)
from ztm.cli.context import Context
from ztm.cli.shared import SHARED

ORDER = (
    *("version", "completion", "config", "ca", "root", "identity", "label", "start", "stop", "run", "invite", "evict"),
    *("try", "join", "leave", "enable", "disable", "attach", "get", "describe", "download", "erase", "publish"),
    *("unpublish", "log", "stats", "ping", "status", "doctor", "forward", "gui", "user", "permit", "app"),
)
"""First words, in v1's order, and then ours (spec cli 1)."""
MODULES = (
    *(version, completion, config, authority, user, permit, endpoint, service, run, membership, objects, file, app),
    *(appdev, log, stats, ping, status, doctor, forward, gui),
)


def commands() -> Grammar[Context, int | None]:
    """All commands of `ztm` itself."""
    found = [command for module in MODULES for command in module.COMMANDS]
    return Grammar("ztm", tuple(sorted(found, key=lambda command: ORDER.index(command.words[0][0]))), SHARED)


def app_grammar(typed: str) -> Grammar[Any, Any]:
    """The commands of a built-in app as `typed`, with the options that `ztm` itself takes among their words."""
    table, _ = app_commands(typed.removeprefix("ztm/"))
    return Grammar(f"ztm {typed}", table, SHARED)


def app_list() -> str:
    """The built-in apps, for the end of the general help."""
    widest = max(map(len, TITLES))
    return "\n".join(["Apps:", "", *(f"  ztm {name:<{widest}} ...   {title}" for name, title in TITLES.items())])


def app_help(typed: str, words: Sequence[str]) -> str:
    """The help of a built-in app as `typed`, for the command that `words` begin with; empty for any other app."""
    if typed.removeprefix("ztm/") not in TITLES:
        return ""
    from ztm.apps.help import help_text

    _, notes = app_commands(typed.removeprefix("ztm/"))
    return help_text(app_grammar(typed), words, notes=notes)
