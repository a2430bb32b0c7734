"""`ztm start` and `ztm stop`: hub and agent as services of this machine, or of one user.

They end only when the service manager has said how it went, and say so in one line.

Source: spec cli.md section 7.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ztm.apps.grammar import Arguments, Command, Grammar, Option
from ztm.cli.context import Context
from ztm.cli.options import AGENT_OPTIONS, HUB_OPTIONS
from ztm.errors import ConflictError, NotFoundError, ZtmError

if TYPE_CHECKING:
    from ztm.cli.services.manager import Manager
    from ztm.cli.services.wanted import Wanted

USER = Option("--user", "", "A service of your own user, not of the machine (the default unless you are root)")
DISABLE = Option("--disable", "", "Do not start it at the next boot either")
OPTIONS = {"hub": (*HUB_OPTIONS, USER), "agent": (*AGENT_OPTIONS, USER)}


def start_hub(context: Context, arguments: Arguments) -> None:
    """Install the hub as a service where that is needed, and start it anew.

    Raises:
        UsageError: an option is malformed, or no name is given for a new service.
        ZtmError: it does not come up; the message says why.
    """
    _start("hub", context, arguments)


def start_agent(context: Context, arguments: Arguments) -> None:
    """The same for the agent; with ``--join`` it then joins a mesh, and waits until it is connected.

    Raises:
        UsageError: an option is malformed.
        ZtmError: it does not come up, or cannot join; the message says why.
    """
    _start("agent", context, arguments)


def stop_hub(context: Context, arguments: Arguments) -> None:
    """Stop the hub's service, which has time to end its streams.

    Raises:
        NotFoundError: there is none.
        ZtmError: it does not stop.
    """
    _stop("hub", context, arguments)


def stop_agent(context: Context, arguments: Arguments) -> None:
    """The same for the agent.

    Raises:
        NotFoundError: there is none.
        ZtmError: it does not stop.
    """
    _stop("agent", context, arguments)


# ---------------------------------------------------------------------- starting


def _start(kind: str, context: Context, arguments: Arguments) -> None:
    from ztm.cli.services.wanted import wanted

    manager = _manager(kind, arguments)
    service = wanted(kind, OPTIONS[kind], _said(kind, manager, arguments), is_system=manager.is_system)
    if manager.is_system:
        _prepare(service)
    note = _root_permit(service, arguments)
    if manager.is_system:
        _hand_over(service)
    manager.install(service.unit)
    status = manager.start(kind) or _await_port(service, context)
    context.out(f"{service.unit.name} runs ({status or 'it listens'}), and starts at boot{_login(manager)}")
    if note:
        context.out(note)
    _join(service, context, arguments)


def _manager(kind: str, arguments: Arguments) -> "Manager":
    from ztm.cli.services.manager import is_root, manager_here

    manager = manager_here(is_system=is_root() and not arguments.flag(USER.name))
    manager.check()
    if not manager.is_system and not is_root() and not manager.is_installed(kind):
        system = manager_here(is_system=True)
        if system.is_system and system.is_installed(kind):
            raise ConflictError(f"the {kind} is a service of the whole machine: type 'sudo ztm' instead of 'ztm'")
    return manager


def _said(kind: str, manager: "Manager", arguments: Arguments) -> Arguments:
    """What was typed; or where nothing was, what the service was installed with (v1's rule)."""
    from ztm.cli.services.wanted import LEFT_OUT, is_given

    if is_given(OPTIONS[kind], arguments):
        return arguments
    saved = manager.saved(kind)
    if saved is None:
        if manager.is_installed(kind):
            raise ConflictError(f"the service ztm-{kind} is of another version of ztm: start it with its options once")
        return arguments
    _, found = Grammar("ztm", COMMANDS).parse(["start", kind, *saved])
    typed = {name: values for name, values in arguments.options.items() if name in LEFT_OUT}
    return Arguments(found.words, {**found.options, **typed}, arguments.hint)


def _prepare(service: "Wanted") -> None:
    """Make sure that the user whom the service runs as is there, and reaches the program and the data."""
    from ztm.cli.services.accounts import account, check_program
    from ztm.cli.services.files import open_way

    account(service.unit.user)
    check_program(service.unit.user)
    open_way(service.unit.data)


def _hand_over(service: "Wanted") -> None:
    from ztm.cli.services.accounts import account
    from ztm.cli.services.files import hand_over

    user, group = account(service.unit.user)
    hand_over(service.unit.data, user, group)


def _root_permit(service: "Wanted", arguments: Arguments) -> str:
    """Make the hub's first root permit where ``--permit`` says, as the caller's own file; what to tell about it."""
    permit, hub = arguments.value("--permit"), service.hub
    if hub is None or not permit:
        return ""
    from ztm.cli.files import check_writable

    check_writable(permit)
    from ztm.hub.root import issue_once

    if issue_once(hub.data, hub.names, Path(permit).expanduser(), ca=hub.ca, signature=hub.signature):
        return (
            f"The root permit is in {permit}: whoever has it administers the mesh. Join with:\n"
            f"  ztm join my-mesh --as my-first-ep --permit {permit}"
        )
    if Path(permit).expanduser().exists():
        return ""
    return f"A root permit was issued before, so {permit} is not written; 'ztm root' makes another"


def _await_port(service: "Wanted", context: Context) -> str:
    """Wait until it listens, where the manager cannot tell (launchd).

    Raises:
        ZtmError: it does not, in the time that a start may take.
    """
    import socket

    from ztm.cli.services.systemd import START

    end = context.now() + START
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(service.listen.host, service.listen.host)
    while context.now() < end:
        try:
            socket.create_connection((host, service.listen.port), timeout=1.0).close()
        except OSError:
            context.sleep(0.2)
        else:
            return f"listening on {service.listen}"
    raise ZtmError(f"{service.unit.name} was started, and does not listen on {service.listen}; see its log")


def _login(manager: "Manager") -> str:
    """What a user's service needs to start at boot already, if that could not be had."""
    from ztm.cli.services.linger import linger

    if manager.is_system or linger():
        return ""
    return " once you log in ('sudo loginctl enable-linger $USER' makes it the boot)"


def _join(service: "Wanted", context: Context, arguments: Arguments) -> None:
    agent = service.agent
    if agent is None or agent.join is None:
        return
    from ztm.cli.client import AgentClient
    from ztm.cli.membership import join

    context.client = AgentClient(service.listen, time_left=context.time_left)
    options = {"--as": (str(agent.join_as),), "--permit": arguments.values("--permit")}
    join(context, Arguments({"mesh name": agent.join}, options, arguments.hint))
    context.out(f"joined mesh {agent.join} as {agent.join_as}")


# ---------------------------------------------------------------------- stopping


def _stop(kind: str, context: Context, arguments: Arguments) -> None:
    manager = _manager(kind, arguments)
    if not manager.is_installed(kind):
        raise NotFoundError(f"ztm-{kind} is not a service here; one started by 'ztm run {kind}' is stopped by Ctrl-C")
    for_good = arguments.flag(DISABLE.name)
    was_running = manager.stop(kind, for_good=for_good)
    done = f"ztm-{kind} is stopped" if was_running else f"ztm-{kind} was not running"
    context.out(f"{done}, and does not start at boot any more" if for_good else done)


COMMANDS = (
    Command(
        usage="start hub",
        title="Start the hub as a service, now and at every boot",
        run=start_hub,
        local=True,
        options=OPTIONS["hub"],
        notes=(
            "Without options an installed service is started again as it was; with any, it is set up anew with these "
            "alone. The first --permit is written as with 'ztm run hub'."
        ),
    ),
    Command(
        usage="start agent",
        title="Start the agent as a service, now and at every boot",
        run=start_agent,
        local=True,
        options=OPTIONS["agent"],
        notes="Without options an installed service is started again as it was; with any, it is set up anew.",
    ),
    Command(
        usage="stop hub",
        title="Stop the hub's service",
        run=stop_hub,
        local=True,
        options=(DISABLE, USER),
    ),
    Command(
        usage="stop agent",
        title="Stop the agent's service",
        run=stop_agent,
        local=True,
        options=(DISABLE, USER),
    ),
)
