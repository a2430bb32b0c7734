"""`ztm terminal ...`: opening sessions on an endpoint, and what its owner sets for them.

Whether a session or a setting is possible is decided by the endpoint.

Source: spec apps-network.md section 3.1, cli.md section 12.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ztm.apps.command import AppCommand, AppCommands
from ztm.apps.formats import OUTPUT, Description
from ztm.apps.grammar import Arguments, Command, Option
from ztm.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from ztm.apps.terminal.entry import Entry

EVERYONE = "*"
NOTES = """'ztm terminal open EP' is a login shell on that endpoint. What follows EP is a command line for its shell, as
with ssh, and 'ztm terminal open EP -- PROGRAM ...' runs one program with exactly these words. Its exit status is ours.

Only the owner of an endpoint has sessions there, and whoever the owner allows: ztm terminal config --add-user NAME
On another endpoint of yours: ztm ep NAME terminal config ..."""

_OPEN_NOTES = """What follows <endpoint> is a command line for the shell there, as with ssh. Behind '--' it is a program
with its words, run as they are. Begin with '--' ('open -- EP LINE') where the line might hold options of ztm.

A command has no terminal unless --tty is given: its standard error stays apart, and its input ends with yours."""
_OURS = {"--map-user", "--unmap-user", "--idle-timeout", "--max-sessions", "--record"}
"""Settings that v1 does not know."""

Run = Callable[[AppCommand, Arguments], Awaitable[int | None]]


def _opening(entry: "Entry | None") -> Run:
    async def open_(context: AppCommand, arguments: Arguments) -> int:
        """Open a session and carry it to its end; its exit status."""
        from ztm.apps.terminal.face import ConsoleFace, ask_of

        assert entry is not None, "the table without an app is for help only"
        place = await context.find_endpoint(arguments.word("endpoint"))
        ask = ask_of(context.console, arguments)
        async with ConsoleFace(context.console, ask) as face:
            return await entry.attend(place.id, place.name, ask, face)

    return open_


async def config(context: AppCommand, arguments: Arguments) -> None:
    """Show what is set, or set what is given.

    Raises:
        NotFoundError: a user to be removed is not there.
        RefusedError: the endpoint runs v1 and does not know the setting.
    """
    path = f"/api/endpoints/{context.endpoint.id}/config"
    found: dict[str, Any] = dict(await context.api("GET", path))
    is_ours = "maxSessions" in found
    if not is_ours and any(arguments.flag(option) for option in _OURS):
        raise RefusedError(f"endpoint {context.endpoint.name} runs ZTM v1, which has a shell and users to set, no more")
    changed = _changes(found, arguments)
    if changed:
        if not is_ours:  # v1 takes the whole of it
            changed = {"shell": found.get("shell"), "users": found.get("users") or [], **changed}
        await context.api("POST", path, changed)
        found |= changed
        await _warn(context, arguments, found)
    else:
        await context.show(Description(found, "\n".join(_lines(context, found)), context.endpoint.name), arguments)


async def _warn(context: AppCommand, arguments: Arguments, found: dict[str, Any]) -> None:
    """Say what allowing somebody means."""
    if arguments.value("--add-user") and found.get("account") and not found.get("osUsers"):
        await context.out(
            f"Note: sessions of other users run as {found['account']} there, as the agent does (see --map-user)."
        )


def _changes(found: dict[str, Any], arguments: Arguments) -> dict[str, Any]:
    """The fields that the options change, whole."""
    changed: dict[str, Any] = {}
    if arguments.flag("--set-shell"):
        changed["shell"] = arguments.value("--set-shell") or ""
    users = list(found.get("users") or [])
    added, removed = arguments.value("--add-user"), arguments.value("--del-user")
    if added and added not in users:
        users.append(added)
    if removed:
        _remove(users, removed, "is not among the allowed users")
    if added or removed:
        changed["users"] = users
    changed |= _mapping(dict(found.get("osUsers") or {}), arguments)
    if arguments.flag("--idle-timeout"):
        changed["idleTimeout"] = arguments.number("--idle-timeout", 0, 0)
    if arguments.flag("--max-sessions"):
        changed["maxSessions"] = arguments.number("--max-sessions", 1, 1)
    if arguments.flag("--record"):
        word = arguments.require("--record")
        if word not in ("on", "off"):
            raise arguments.error(f"invalid value {word!r} for option --record (on or off)")
        changed["record"] = word == "on"
    return changed


def _mapping(accounts: dict[str, str], arguments: Arguments) -> dict[str, Any]:
    mapped, unmapped = arguments.value("--map-user"), arguments.value("--unmap-user")
    if mapped:
        user, equals, account = mapped.rpartition("=")
        if not (equals and user and account):
            raise arguments.error(f"invalid value {mapped!r} for option --map-user (write MESHUSER=OSUSER)")
        accounts[user] = account
    if unmapped:
        if unmapped not in accounts:
            raise NotFoundError(f"user '{unmapped}' is not mapped")
        del accounts[unmapped]
    return {"osUsers": accounts} if mapped or unmapped else {}


def _remove(users: list[str], user: str, otherwise: str) -> None:
    if user not in users:
        raise NotFoundError(f"user '{user}' {otherwise}")
    users.remove(user)


def _lines(context: AppCommand, found: dict[str, Any]) -> list[str]:
    accounts: dict[str, str] = found.get("osUsers") or {}
    users = [f"  {'(every user)' if user == EVERYONE else user}" for user in found.get("users") or ()]
    lines = [
        f"Endpoint: {context.endpoint}",
        f"Shell: {found.get('shell') or '(default)'}",
        "Allowed Users:",
        *(users or ["  (owner only)"]),
    ]
    if "maxSessions" not in found:
        return lines
    idle = found["idleTimeout"]
    return [
        *lines,
        *(["Run As:"] if accounts else [f"Run As: {found['account']}"]),
        *(f"  {user} = {account}" for user, account in accounts.items()),
        f"Idle Timeout: {f'{idle:g} s' if idle else '(none)'}",
        f"Sessions: {found['sessions']} of at most {found['maxSessions']}",
        f"Recorded: {'yes' if found['record'] else 'no'}",
    ]


def commands(entry: "Entry | None") -> AppCommands:
    """The table of commands; without an `entry` it is for help, completion and the manual."""
    return (
        Command(
            usage="open <endpoint> [command ...]",
            title="Open a shell on an endpoint, or run a command there",
            run=_opening(entry),
            options=(Option("--tty", "", "Run the command on a terminal, as a shell runs"),),
            notes=_OPEN_NOTES,
        ),
        Command(
            usage="config",
            title="Show or change who may open sessions on an endpoint of yours, and how they run",
            run=config,
            options=_CONFIG_OPTIONS,
        ),
    )


_CONFIG_OPTIONS = (
    Option("--set-shell", "[command]", "Start this instead of the account's login shell; that again without a value"),
    Option("--add-user", "<username>", "Allow a user of the mesh ('*': everyone)"),
    Option("--del-user", "<username>", "Allow a user no more; ends the user's sessions"),
    Option(
        "--map-user",
        "<meshuser=osuser>",
        "Run a user's sessions as that user of the operating system (root agents only)",
    ),
    Option("--unmap-user", "<meshuser>", "Forget what that user's sessions run as"),
    Option("--idle-timeout", "<seconds>", "End sessions in which nothing was typed or shown for so long (0: never)"),
    Option("--max-sessions", "<number>", "Sessions at once, of all users together"),
    Option("--record", "<on|off>", "Keep what sessions show, on that endpoint", choices=("on", "off")),
    OUTPUT,
)
COMMANDS = commands(None)
