"""`ztm script ...`: running a script on one endpoint or on many, and allowing it.

What is run, and whether it may be, is decided elsewhere. Source: spec apps-network 4.1.
"""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztm.apps.command import AppCommand, AppCommands, Console
from ztm.apps.formats import NO_HEADERS, OUTPUT, SORT, Description, Listing, sorted_by
from ztm.apps.grammar import REST, Arguments, Command, Option
from ztm.errors import NotFoundError, TooLargeError, UsageError

if TYPE_CHECKING:
    from ztm.apps.base import AppContext
    from ztm.apps.script.many import Result, Runner

FIRST_WORDS = ("run", "config", "help", "-h", "--help")
NOTES = """'ztm script FILE ...' is short for 'ztm script run FILE ...'; FILE is read on this machine, and '-' is
standard input. Scripts are run by endpoints that allow it only: 'ztm script config --allow on'.
On another endpoint of yours: ztm ep NAME script ..."""
ONE = ("--output", "--no-headers", "--sort")
"""Options that say how a table of many results looks."""


def whole(words: Sequence[str]) -> Sequence[str]:
    """The words with the ``run`` that v1 has not; a file of that name is written ``./run``."""
    return ("run", *words) if words and words[0] not in FIRST_WORDS else words


class _ConsoleClient:
    """The caller's console as a script's client."""

    def __init__(self, console: Console, *, reads: bool) -> None:
        self._console = console
        self._reads = reads
        self.out, self.err, self.on_interrupt = console.write, console.complain, console.on_interrupt

    async def read(self) -> bytes:
        """The next bytes typed or piped in; none where they were the script itself."""
        return await self._console.read() if self._reads else b""


async def run(context: AppCommand, arguments: Arguments, mesh: "AppContext", runner: "Runner") -> int:
    """Run a script on the chosen endpoint, or on many; its exit status, or whether it succeeded on all.

    Raises:
        UsageError: the options contradict each other.
        NotFoundError: there is no such file, or no such endpoint.
        ZtmError: the endpoint refused, or was lost.
    """
    from ztm.apps.script.model import Order

    order = Order.of_file(arguments.word("file"), arguments.rest, _limit(arguments))
    is_many = arguments.flag("--all") or arguments.flag("--on")
    if not is_many and (given := [option for option in ONE if arguments.flag(option)]):
        raise arguments.error(f"option {given[0]} is for the results of many endpoints (--on, --all)")
    script = await _script(context.console, arguments.word("file"))
    if is_many:
        return await _run_on_many(context, arguments, mesh, runner, order, script)
    client = _ConsoleClient(context.console, reads=arguments.word("file") != "-")
    return await runner.run(context.endpoint.id, order, script, client)


async def _run_on_many(
    context: AppCommand, arguments: Arguments, mesh: "AppContext", runner: "Runner", order: Any, script: bytes
) -> int:
    from ztm.apps.script.many import chosen, run_on_all

    every, selectors = arguments.flag("--all"), arguments.values("--on")
    endpoints = chosen(await mesh.endpoints(), mesh.user, selectors, every=every)
    results = await run_on_all(runner, endpoints, order, script)
    await context.show(sorted_by(_listing(results), arguments), arguments)
    return 0 if all(result.is_good for result in results) else 1


def _listing(results: "Sequence[Result]") -> Listing:
    return Listing(
        [_object(result) for result in results],
        ("ENDPOINT", "STATUS", "SECONDS", "OUTPUT"),
        lambda one: (one["endpoint"]["name"], _status(one), f"{one['seconds']:.1f}", one["error"] or one["last"]),
        name=lambda one: str(one["endpoint"]["name"]),
    )


def _status(one: Mapping[str, Any]) -> object:
    return "failed" if one["status"] is None else one["status"]


def _object(result: "Result") -> dict[str, Any]:
    return {
        "endpoint": {"id": result.endpoint.id, "name": result.endpoint.name},
        "status": result.status,
        "error": result.error,
        "seconds": round(result.seconds, 3),
        "stdout": result.output.stdout.decode("utf-8", "replace"),
        "stderr": result.output.stderr.decode("utf-8", "replace"),
        "last": result.output.last_line,
        "cut": result.output.is_cut,
    }


async def _script(console: Console, file: str) -> bytes:
    import asyncio

    from ztm.apps.script.model import MAX_SCRIPT, check_size

    if file != "-":
        return await asyncio.to_thread(_read, Path(console.call.directory) / file, MAX_SCRIPT)
    script = b""
    while data := await console.read():
        script += data
        check_size(script, "the script on standard input")
    return script


def _read(path: Path, limit: int) -> bytes:
    """The whole of a regular file; one that would block its reader is refused unopened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is no regular file (give a script on standard input as '-')")
        with path.open("rb") as opened:
            script = opened.read(limit + 1)
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from error
    if len(script) > limit:
        raise TooLargeError(f"{path} is larger than the {limit} bytes that a script may have")
    return script


def _limit(arguments: Arguments) -> float | None:
    text = arguments.value("--limit")
    if text is None:
        return None
    try:
        return float(text.removesuffix("s"))
    except ValueError:
        raise arguments.error(f"invalid value {text!r} for option --limit (seconds)") from None


async def configure(context: AppCommand, arguments: Arguments) -> None:
    """Print what the chosen endpoint allows, or allow something else.

    Raises:
        UsageError: a value is malformed.
        ZtmError: the endpoint refused.
    """
    path = f"/api/endpoints/{context.endpoint.id}/config"
    body: dict[str, object] = {}
    if (allow := arguments.value("--allow")) is not None:
        if allow not in ("on", "off"):
            raise arguments.error(f"invalid value {allow!r} for option --allow (on, off)")
        body["allow"] = allow == "on"
    for option, key in (("--add-user", "addUsers"), ("--del-user", "delUsers")):
        if arguments.flag(option):
            body[key] = list(arguments.values(option))
    if (limit := _limit(arguments)) is not None:
        body["limit"] = limit
    if arguments.flag("--max-runs"):
        body["maxRuns"] = arguments.number("--max-runs", 0, 1)
    if body:
        await context.api("POST", path, body)
        return
    found = await context.api("GET", path)
    lines = [f"Endpoint: {context.endpoint}", f"Scripts: {'allowed' if found['allow'] else 'off'}"]
    lines += ["Allowed Users:", *(f"  {user}" for user in found["users"] or ("(owner only)",))]
    lines += [f"Time Limit: {found['limit']:g}s", f"At Once: {found['maxRuns']} ({found['running']} now)"]
    await context.show(Description(found, "\n".join(lines), context.endpoint.name), arguments)


_RUN_OPTIONS = (
    Option("--args", REST, "All that follows are the script's own arguments; '--' means the same"),
    Option("--limit", "<seconds>", "Stop the script after this time (default: the endpoint's own limit)"),
    Option("--on", "<endpoint|label=x ...>", "Run on these endpoints, or on yours with this label that are online"),
    Option("--all", "", "Run on all endpoints of yours that are online"),
    OUTPUT,
    NO_HEADERS,
    SORT,
)
_CONFIG_OPTIONS = (
    Option("--allow", "<on|off>", "Whether scripts are run there at all (default off)", choices=("on", "off")),
    Option("--add-user", "<name ...>", "Let these users run scripts too; '*' is every user of the mesh"),
    Option("--del-user", "<name ...>", "Let them no more"),
    Option("--limit", "<seconds>", "Stop every script after this time (default 3600)"),
    Option("--max-runs", "<number>", "Scripts that run at once (default 4)"),
    OUTPUT,
)


def table(mesh: "AppContext | None" = None, runner: "Runner | None" = None) -> AppCommands:
    """The commands, which run scripts by `runner`; without one, they are for help only."""

    async def run_by(context: AppCommand, arguments: Arguments) -> int:
        if mesh is None or runner is None:
            raise TypeError("this table of commands is for help only")
        return await run(context, arguments, mesh, runner)

    title = "Run a script on an endpoint, or on many"
    return (
        Command(usage="run <file>", title=title, run=run_by, options=_RUN_OPTIONS, notes=NOTES),
        Command(
            usage="config",
            title="Show or set what an endpoint runs, and for whom",
            run=configure,
            options=_CONFIG_OPTIONS,
        ),
    )


COMMANDS = table()
