"""From the words typed after `ztm start` to the service that they ask for.

It checks all of them, and the one thing that it makes is the hub's CA with its first root permit, which must come from
the person who starts the hub and not from a process that logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ztm.apps.grammar import Arguments, Option
from ztm.cli.services.unit import LOW_PORTS, SYSTEM_DATA, Unit, saved_words
from ztm.errors import UsageError

if TYPE_CHECKING:
    from ztm.agent.config import AgentConfig
    from ztm.hub.config import HubConfig
    from ztm.model import Address

LEFT_OUT = ("--user", "--permit", "--join", "--join-as", "--mesh", "--endpoint", "--timeout")
"""Options of one start, not of the service: a permit is written, and a mesh is joined, only once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checked service."""

    unit: Unit
    listen: "Address"
    hub: "HubConfig | None" = None
    agent: "AgentConfig | None" = None


def is_given(options: Sequence[Option], arguments: Arguments) -> bool:
    """Whether any option of the service itself was typed."""
    return any(arguments.flag(option.name) for option in options if option.name not in LEFT_OUT)


def wanted(kind: str, options: Sequence[Option], arguments: Arguments, *, is_system: bool) -> Wanted:
    """The service that `arguments` ask for.

    Raises:
        UsageError: an option is malformed, or cannot be one of a service.
        NotFoundError: a file that an option names does not exist.
    """
    from ztm.cli.run import agent_config, hub_config

    data = _data(arguments, is_system=is_system)
    words = tuple(saved_words(options, arguments, data=data, left_out=LEFT_OUT))
    if kind == "hub":
        hub = replace(hub_config(arguments), data=data)
        return Wanted(_unit(kind, words, data, hub, (), is_system=is_system), hub.listen, hub=hub)
    agent = replace(agent_config(arguments), data=data)
    if agent.proxy is not None and arguments.flag("--proxy") and agent.proxy.password:
        raise UsageError(
            "the proxy's password would be in the unit for all to read: start without --proxy, and set ZTM_PROXY by "
            f"'systemctl {'' if is_system else '--user '}edit ztm-agent'"
        )
    sockets = (agent.socket.parent,) if agent.socket is not None else ()
    return Wanted(_unit(kind, words, data, agent, sockets, is_system=is_system), agent.listen, agent=agent)


def _unit(
    kind: str,
    words: tuple[str, ...],
    data: Path,
    config: "HubConfig | AgentConfig",
    writable: tuple[Path, ...],
    *,
    is_system: bool,
) -> Unit:
    from ztm.cli.services.accounts import places, program, user_for

    ports = [config.listen.port] + ([config.metrics.port] if config.metrics is not None else [])
    return Unit(
        kind=kind,
        program=program(),
        options=words,
        data=data,
        user=user_for(data) if is_system else "",
        reads=places(),
        writable=writable,
        has_low_port=any(port < LOW_PORTS for port in ports),
        drain=config.drain,
    )


def _data(arguments: Arguments, *, is_system: bool) -> Path:
    from ztm.cli.values import data_directory

    if arguments.flag("--data") or not is_system:
        return data_directory(arguments).absolute()
    return SYSTEM_DATA
