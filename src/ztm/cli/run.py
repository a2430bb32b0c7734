"""`ztm run hub` and `ztm run agent`: both in the foreground.

They check what was typed and hand over a frozen configuration; hub and agent are imported only here,
and only when asked for.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ztm.apps.grammar import Arguments, Command
from ztm.cli import values
from ztm.cli.context import Context
from ztm.cli.options import (
    AGENT_LISTEN,
    AGENT_OPTIONS,
    DATA_OPTION,
    HUB_LISTEN,
    HUB_OPTIONS,
    NAMES_OPTION,
    P2P_PORT,
)
from ztm.cli.values import data_directory, hub_names
from ztm.errors import NotFoundError

if TYPE_CHECKING:
    from ztm.agent.config import AgentConfig
    from ztm.hub.config import HubConfig

__all__ = [
    "AGENT_OPTIONS",
    "COMMANDS",
    "DATA_OPTION",
    "HUB_OPTIONS",
    "NAMES_OPTION",
    "agent_config",
    "data_directory",
    "hub_config",
    "hub_names",
]


def run_hub(context: Context, arguments: Arguments) -> int:  # noqa: ARG001
    """Run a hub until it is told to stop, and return its exit status.

    Raises:
        UsageError: an option is malformed, or no name is given.
    """
    config = hub_config(arguments)
    from ztm.hub.main import run

    return run(config)


def hub_config(arguments: Arguments) -> "HubConfig":
    """What the options of a hub say, checked.

    Raises:
        UsageError: an option is malformed or not supported, or no name is given.
        NotFoundError: a file that an option names cannot be read.
    """
    from ztm.model import Address

    for option in ("--bootstrap", "--zone"):
        if arguments.flag(option):
            raise arguments.error(
                f"option {option} is not supported: it is for hub clusters of v1's Enterprise edition"
            )
    permit = arguments.value("--permit")
    listen = Address.parse(arguments.value("--listen") or HUB_LISTEN, "0.0.0.0")
    names = hub_names(arguments)
    max_agents = arguments.number("--max-agents", 100, 2)
    max_sessions = arguments.number("--max-sessions", 1000, 10)
    exchange, signature = values.key_exchange(arguments), values.signature(arguments)
    service = values.ca_service(arguments)
    drain, metrics, logs = values.drain(arguments), values.metrics(arguments), values.log_options(arguments)
    # Only after the checks, so that a mistyped option is answered at once.
    from ztm.hub.config import HubConfig

    return HubConfig(
        data=data_directory(arguments),
        listen=listen,
        names=names,
        permit=Path(permit).expanduser() if permit else None,
        ca=service,
        max_agents=max_agents,
        max_sessions=max_sessions,
        signature=signature,
        key_exchange=exchange,
        drain=drain,
        metrics=metrics,
        logs=logs,
    )


def run_agent(context: Context, arguments: Arguments) -> int:  # noqa: ARG001
    """Run an agent until it is told to stop, and return its exit status.

    Raises:
        UsageError: an option is malformed, or one that joining needs is missing.
        NotFoundError: the permit file does not exist.
    """
    config = agent_config(arguments)
    from ztm.agent.main import run

    return run(config)


def agent_config(arguments: Arguments) -> "AgentConfig":
    """What the options of an agent say, checked.

    Raises:
        UsageError: an option is malformed, or one that joining needs is missing.
        NotFoundError: the permit file does not exist.
    """
    mesh, endpoint, permit = (arguments.value(option) for option in ("--join", "--join-as", "--permit"))
    _check_join(arguments, mesh, endpoint, permit)
    listen, socket = values.listens(arguments, AGENT_LISTEN)
    origins = values.origins(arguments)
    exchange, signature = values.key_exchange(arguments), values.signature(arguments)
    proxy = values.proxy(arguments)
    p2p_port, stun = values.port(arguments, "--p2p-port", P2P_PORT), values.stun_servers(arguments)
    drain, metrics, logs = values.drain(arguments), values.metrics(arguments), values.log_options(arguments)
    from ztm.agent.config import AgentConfig

    return AgentConfig(
        data=data_directory(arguments),
        listen=listen,
        socket=socket,
        open_api=arguments.flag("--insecure-open-api"),
        unconfined_apps=arguments.flag("--unconfined-apps"),
        origins=origins,
        join=mesh,
        join_as=endpoint,
        permit=Path(permit).expanduser() if permit else None,
        proxy=proxy,
        p2p=arguments.flag("--enable-p2p"),
        p2p_port=p2p_port,
        stun_servers=stun,
        signature=signature,
        key_exchange=exchange,
        drain=drain,
        metrics=metrics,
        logs=logs,
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


COMMANDS = (
    Command(usage="run hub", title="Run a hub in the foreground", run=run_hub, local=True, options=HUB_OPTIONS),
    Command(
        usage="run agent", title="Run an agent in the foreground", run=run_agent, local=True, options=AGENT_OPTIONS
    ),
)
