"""`ztm config`: shows and changes the command line's own settings."""

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli import settings
from ztm.cli.context import Context


def config(context: Context, arguments: Arguments) -> None:
    """Print the settings in force, or store new ones; nothing is printed then.

    Raises:
        UsageError: a value is malformed.
        StorageError: the file cannot be written.
    """
    from ztm.model import Address, check_name

    agent, mesh, unset = arguments.value("--agent"), arguments.value("--mesh"), arguments.values("--unset")
    changes = dict.fromkeys(unset, "")
    for key in unset:
        if key not in settings.DEFAULTS:
            raise arguments.error(f"no such setting: {key} (agent or mesh)")
    if agent:
        Address.parse(agent, "localhost")
        changes["agent"] = agent
    if mesh:
        changes["mesh"] = check_name("mesh", mesh)
    if changes:
        settings.save(changes)
    else:
        context.out(f"Current agent: {_shown('agent')}\nDefault mesh: {_shown('mesh')}")


def _shown(key: str) -> str:
    setting = settings.effective(key)
    source = f" (from {setting.source})" if setting.source in settings.VARIABLES.values() else ""
    return f"{setting.value or '(none)'}{source}"


COMMANDS = (
    Command(
        usage="config",
        title="Show or change the settings of this command line",
        run=config,
        local=True,
        options=(
            Option("--agent", "<host:port>", "The agent to talk to (default localhost:7777)"),
            Option("--mesh", "<name>", "The mesh to use where several are joined"),
            Option("--unset", "<setting ...>", "Settings to forget: agent, mesh"),
        ),
        notes="Settings are kept in ~/.ztm.conf; ZTM_AGENT and ZTM_MESH win over it.",
    ),
)
