"""`ztm config`: shows and changes the command line's own settings, and says where each comes from.

Source: spec cli.md section 4.
"""

from ztm.apps.formats import NO_HEADERS, OUTPUT, Listing
from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli import settings
from ztm.cli.context import Context


def config(context: Context, arguments: Arguments) -> None:
    """Print the settings in force, or store new ones; nothing is printed then.

    Raises:
        UsageError: a value is malformed.
        StorageError: the file cannot be written.
    """
    changes = dict.fromkeys((_known(arguments, key) for key in arguments.values("--unset")), "")
    for key in settings.DEFAULTS:
        if value := arguments.value(f"--{key}"):
            changes[key] = settings.checked(key, value)
    if changes:
        settings.save(changes)
    else:
        context.out(f"Current agent: {_shown('agent')}\nDefault mesh: {_shown('mesh')}")


def _shown(key: str) -> str:
    setting = settings.effective(key)
    source = f" (from {setting.source})" if setting.origin == "env" else ""
    return f"{setting.value or '(none)'}{source}"


def show(context: Context, arguments: Arguments) -> None:
    """Print each setting with its value and its origin."""
    found = [(key, settings.effective(key)) for key in settings.DEFAULTS]
    objects = [
        {
            "name": key,
            "value": one.value,
            "origin": one.origin,
            "source": one.source,
            "variable": settings.VARIABLES[key],
        }
        for key, one in found
    ]
    context.show(
        Listing(
            objects,
            ("NAME", "VALUE", "ORIGIN"),
            lambda one: (one["name"], one["value"] or "(none)", _origin(one["origin"], one["source"])),
            wide=("VARIABLE",),
            wide_row=lambda one: (one["variable"],),
        ),
        arguments,
    )


def _origin(origin: str, source: str) -> str:
    return origin if origin == source else f"{origin} {source}"


def change(context: Context, arguments: Arguments) -> None:  # noqa: ARG001
    """Store one setting.

    Raises:
        UsageError: there is no such setting, or its value is malformed.
        StorageError: the file cannot be written.
    """
    key = _known(arguments, arguments.word("setting"))
    settings.save({key: settings.checked(key, arguments.word("value"))})


def forget(context: Context, arguments: Arguments) -> None:  # noqa: ARG001
    """Forget stored settings, so that their defaults are in force again.

    Raises:
        UsageError: there is no such setting.
        StorageError: the file cannot be written.
    """
    words = filter(None, (arguments.word("setting"), arguments.word("another setting")))
    settings.save(dict.fromkeys((_known(arguments, key) for key in words), ""))


def _known(arguments: Arguments, key: str) -> str:
    if key not in settings.DEFAULTS:
        raise arguments.error(f"no such setting: {key} ({' or '.join(settings.DEFAULTS)})")
    return key


KEYS = tuple(settings.DEFAULTS)
NOTES = """Settings:

  agent   host:port, a port alone, or unix:/path of a socket (default localhost:7777)
  mesh    The mesh that commands are about where several are joined

They are kept in ~/.ztm.conf, or in ~/.config/ztm/ztm.conf where that file exists (XDG_CONFIG_HOME names another
directory than ~/.config). ZTM_AGENT and ZTM_MESH win over the file."""

COMMANDS = (
    Command(
        usage="config",
        title="Show or change the settings of this command line",
        run=config,
        local=True,
        options=(
            Option("--agent", "<host:port>", "The agent to talk to (default localhost:7777)"),
            Option("--mesh", "<name>", "The mesh to use where several are joined"),
            Option("--unset", "<setting ...>", "Settings to forget: agent, mesh", choices=KEYS),
        ),
        notes=NOTES,
    ),
    Command(
        usage="config show",
        title="Show each setting and where it comes from",
        run=show,
        local=True,
        options=(OUTPUT, NO_HEADERS),
    ),
    Command(
        usage="config set <setting> <value>",
        title="Store one setting",
        run=change,
        local=True,
        choices={"setting": KEYS},
    ),
    Command(
        usage="config unset <setting> [another setting]",
        title="Forget stored settings",
        run=forget,
        local=True,
        choices={"setting": KEYS, "another setting": KEYS},
    ),
)
