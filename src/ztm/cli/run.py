"""`ztm run hub`, `ztm run agent` and `ztm root`: the commands that need no running agent.

They check what was typed and hand over a frozen configuration; hub and agent are imported only here,
and only when asked for.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import Context
from ztm.errors import NotFoundError

if TYPE_CHECKING:
    from ztm.model import Address

DATA = "~/.ztm"
HUB_LISTEN = "0.0.0.0:8888"
AGENT_LISTEN = "127.0.0.1:7777"


def run_hub(context: Context, arguments: Arguments) -> int:  # noqa: ARG001
    """Run a hub until it is told to stop, and return its exit status.

    Raises:
        UsageError: an option is malformed, or no name is given.
    """
    from ztm.model import Address

    permit = arguments.value("--permit")
    listen = Address.parse(arguments.value("--listen") or HUB_LISTEN, "0.0.0.0")
    names = _names(arguments)
    max_agents = arguments.number("--max-agents", 100, 2)
    max_sessions = arguments.number("--max-sessions", 1000, 10)
    # Only after the checks, so that a mistyped option is answered at once.
    from ztm.hub.config import HubConfig
    from ztm.hub.main import run

    return run(
        HubConfig(
            data=_data(arguments),
            listen=listen,
            names=names,
            permit=Path(permit).expanduser() if permit else None,
            max_agents=max_agents,
            max_sessions=max_sessions,
        )
    )


def run_agent(context: Context, arguments: Arguments) -> int:  # noqa: ARG001
    """Run an agent until it is told to stop, and return its exit status.

    Raises:
        UsageError: an option is malformed, or one that joining needs is missing.
        NotFoundError: the permit file does not exist.
    """
    from ztm.model import Address

    mesh, endpoint, permit = (arguments.value(option) for option in ("--join", "--join-as", "--permit"))
    _check_join(arguments, mesh, endpoint, permit)
    listen = Address.parse(arguments.value("--listen") or AGENT_LISTEN, "127.0.0.1")
    from ztm.agent.config import AgentConfig
    from ztm.agent.main import run

    return run(
        AgentConfig(
            data=_data(arguments),
            listen=listen,
            join=mesh,
            join_as=endpoint,
            permit=Path(permit).expanduser() if permit else None,
        )
    )


def _check_join(arguments: Arguments, mesh: str | None, endpoint: str | None, permit: str | None) -> None:
    from ztm.model import check_name

    if mesh is None:
        if endpoint or permit:
            raise arguments.error("options --join-as and --permit need --join")
        return
    check_name("mesh", mesh)
    if not endpoint:
        raise arguments.error("option --join-as is required when using --join")
    check_name("endpoint", endpoint)
    if not permit:
        raise arguments.error("option --permit is required when using --join")
    if not Path(permit).expanduser().is_file():
        raise NotFoundError(f"cannot read permit file from: {permit}")


def root(context: Context, arguments: Arguments) -> None:
    """Issue one more root permit from a hub's data directory, and print it or write it with mode 0600.

    Raises:
        UsageError: no name is given, or one is malformed.
        StorageError: the permit cannot be written.
    """
    from ztm.cli.files import check_writable, write_private

    names, target = _names(arguments), arguments.value("--permit")
    if target:
        check_writable(target)
    from ztm.hub.root import issue

    permit = issue(_data(arguments), names)
    if target:
        write_private(Path(target), permit.rstrip("\n") + "\n")
    else:
        context.out(permit.rstrip("\n"))


def _data(arguments: Arguments) -> Path:
    return Path(arguments.value("--data") or DATA).expanduser()


def _names(arguments: Arguments) -> "tuple[Address, ...]":
    from ztm.model import Address

    names = tuple(Address.parse(name, "") for name in arguments.values("--names"))
    if not names:
        raise arguments.error("at least one hub address (host:port) is required (with option --names)")
    for name in names:
        if not name.host:
            raise arguments.error(f"the hub address '{name.port}' has no host (write host:port)")
    return names


_DATA = Option("--data", "<dir>", f"Where everything is stored (default {DATA})", "-d")
_NAMES = Option("--names", "<host:port ...>", "Addresses at which agents reach the hub; written into permits", "-n")

COMMANDS = (
    Command(
        usage="root",
        title="Issue one more permit for the user root",
        run=root,
        local=True,
        options=(
            _DATA,
            _NAMES,
            Option("--permit", "<file>", "Where to write the permit (default: standard output)", "-p"),
        ),
        notes="Run it where the hub's data directory is. A root permit holds a private key: keep it safe.",
    ),
    Command(
        usage="run hub",
        title="Run a hub in the foreground",
        run=run_hub,
        local=True,
        options=(
            _DATA,
            Option("--listen", "<[ip:]port>", f"Where to listen (default {HUB_LISTEN})", "-l"),
            _NAMES,
            Option("--permit", "<file>", "Where to write the root permit when the hub is new", "-p"),
            Option("--max-agents", "<n>", "How many endpoints may connect (default 100)"),
            Option("--max-sessions", "<n>", "How many forwarding sessions there may be (default 1000)"),
        ),
    ),
    Command(
        usage="run agent",
        title="Run an agent in the foreground",
        run=run_agent,
        local=True,
        options=(
            _DATA,
            Option("--listen", "<[ip:]port>", f"Where its local API listens (default {AGENT_LISTEN})", "-l"),
            Option("--join", "<mesh>", "Join a mesh first; needs --join-as and --permit"),
            Option("--join-as", "<endpoint>", "Name of this endpoint in that mesh"),
            Option("--permit", "<file>", "Permit to join by", "-p"),
        ),
    ),
)
