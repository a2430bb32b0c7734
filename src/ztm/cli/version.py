"""`ztm version`: what this command line is. It asks nobody and imports next to nothing."""

import sys

from ztm import __version__
from ztm.apps.grammar import Arguments, Command, Option
from ztm.build import built
from ztm.cli.context import Context

EDITION = "Python"
"""Tells peers and people this implementation from others."""


def version_object() -> dict[str, dict[str, str]]:
    """The version as JSON; the runtime is told under the name that v1 peers show (spec cli 6)."""
    python, build = ".".join(map(str, sys.version_info[:3])), built()
    return {
        "ztm": {"edition": EDITION, "tag": f"v{__version__}", "commit": build.commit, "date": build.date},
        "pipy": {"tag": f"python {python}", "commit": "", "date": ""},
    }


def version(context: Context, arguments: Arguments) -> None:
    """Print the version of this command line, not of the agent."""
    shown = version_object()
    if arguments.flag("--json"):
        import json

        context.out(json.dumps(shown, separators=(",", ":")))
        return
    lines: list[str] = []
    for part, fields in (("ZTM", shown["ztm"]), ("Pipy", shown["pipy"])):
        widest = max(map(len, fields))
        lines += [f"{part}:", *(f"  {name.capitalize():<{widest}}: {text or 'n/a'}" for name, text in fields.items())]
    context.out("\n".join(lines))


COMMANDS = (
    Command(
        usage="version",
        title="Print version information",
        run=version,
        local=True,
        options=(Option("--json", "", "Print one line of JSON"),),
    ),
)
