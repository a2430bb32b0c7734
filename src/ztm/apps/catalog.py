"""The names of the apps that come with every agent, and their tables of commands; it imports no app until asked.

A command line reads it at every start, so nothing slow may be imported here.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

PROVIDER = "ztm"
"""Of the built-in apps (spec app-framework 1)."""

TITLES: Mapping[str, str] = {
    "terminal": "A shell, or one program, on an endpoint",
    "port": "Listening ports that lead to a target behind another endpoint",
    "tunnel": "TCP and UDP tunnels between endpoints",
    "script": "Python scripts on endpoints",
    "proxy": "A proxy for HTTP and SOCKS, with exits on other endpoints",
    "users": "Users of the mesh, and groups of them",
}
"""What each built-in app is, by name. Its rooms are ``ztm.apps.NAME``, with ``APP`` in `api`, ``COMMANDS`` in `cli`."""


def app_commands(name: str) -> tuple[Any, str]:
    """The table of commands of a built-in app, and the notes that end its help."""
    module = import_module(f"ztm.apps.{name}.cli")
    return module.COMMANDS, module.NOTES
