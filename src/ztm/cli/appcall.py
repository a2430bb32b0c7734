"""Running a command of an app: by the agent, with this process as its terminal.

Nothing of what the app says is lost: the call is over when the agent has told the exit status, or has closed the
stream. An agent of v1 speaks bare bytes, and then the status is always 0.

Source: spec cli.md section 12.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ztm.cli.context import Context
from ztm.cli.resolve import mesh_path
from ztm.errors import NotFoundError, UsageError, ZtmError
from ztm.wire.console import HEADER, VERSION
from ztm.wire.paths import encode

PROVIDER = "ztm"
"""Of the built-in apps."""
TOLD = ("TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""Variables that the app is told."""


class UnknownAppError(NotFoundError):
    """The word names no app of this endpoint."""


def run(context: Context, typed: str, words: Sequence[str]) -> int:
    """Run ``ztm TYPED words...`` and return the exit status that the app gave.

    Raises:
        UnknownAppError: no app is called so.
        UsageError: the word is no name of an app.
        ZtmError: the agent refused, or was lost.
    """
    from ztm.cli.terminal import Terminal

    target = context.endpoint  # the mesh and the endpoint first: their errors are the clearer ones
    provider, name = find_app(context, typed)
    query = {
        "argv": json.dumps([f"ztm {typed}", *words]),
        "cwd": str(Path.cwd()),
        "ep_id": target.id,
        "ep_name": target.name,
        "env": json.dumps({key: os.environ[key] for key in TOLD if key in os.environ}),
        "tty": "1" if os.isatty(0) else "0",
    }
    asked = "&".join(f"{key}={encode(value)}" for key, value in query.items())
    path = f"{mesh_path(context.mesh)}/apps/{encode(provider)}/{encode(name)}/cli?{asked}"
    connection, headers, first = context.client.connect(path, {HEADER: VERSION})
    terminal = Terminal(connection, first, context.time_left)
    with connection:
        return terminal.framed() if headers.get(HEADER) == VERSION else terminal.plain()


def find_app(context: Context, typed: str) -> tuple[str, str]:
    """The provider, and the name with its tag, of the app that ``[provider/]name[@tag]`` means here.

    Raises:
        UsageError: it is no such name.
        UnknownAppError: there is no such app.
        ZtmError: several are called so, or the agent refused.
    """
    provider, slash, rest = typed.rpartition("/")
    name, at, tag = rest.partition("@")
    if not name or "/" in provider or (slash and not provider) or (at and not tag):
        raise UsageError(f"invalid app name '{typed}' (write [provider/]name[@tag])")
    found = _chosen(_local_apps(context), provider, name, tag)
    found = found or _chosen(context.ask("GET", "/apps"), provider, name, tag)
    if not found:
        raise UnknownAppError(f"app not found: {typed} (see 'ztm get app')")
    if len(found) > 1:
        choices = ", ".join(f"{one}/{name}" for one, _ in found)
        raise ZtmError(f"ambiguous app name '{typed}': write one of {choices}")
    return found[0]


def _local_apps(context: Context) -> object:
    return context.ask("GET", f"/endpoints/{context.mesh_object['agent']['id']}/apps")


def _chosen(apps: object, provider: str, name: str, tag: str) -> list[tuple[str, str]]:
    listed = apps if isinstance(apps, list) else []
    whole = f"{name}@{tag}" if tag else name
    return [
        (str(app["provider"]), whole)
        for app in listed
        if app["name"] == name and (app.get("tag") or "") == tag and provider in ("", app["provider"])
    ]
