"""`ztm log audit`: who used which app of an endpoint, as its audit log has it.

Records are shown as they were written; which of them is decided by the agent that keeps them.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ztm.apps import text
from ztm.apps.formats import NO_HEADERS, Format, Object, chosen_format, data_text
from ztm.apps.grammar import Arguments, Option
from ztm.cli import output
from ztm.cli.changes import Changes
from ztm.cli.context import Context, attempting
from ztm.cli.failures import AgentUnreachableError
from ztm.cli.watch import PASSING
from ztm.errors import ZtmError
from ztm.wire.paths import encode

APP = Option("--app", "<app name>", "Audit log: only of this app, as [provider/]name")
USER = Option("--user", "<username>", "Audit log: only of this user")
DENIED = Option("--denied", "", "Audit log: only what was refused")
SINCE = Option("--since", "<time>", "Audit log: only sessions that ended since, as 90s, 15m, 1h, 7d or RFC 3339")
LIMIT = Option("--limit", "<number>", "Audit log: the newest records, so many at most (default 100, up to 1000)")
HEADLESS = Option(NO_HEADERS.name, "", "Audit log: leave out the heading row")
OPTIONS = (APP, USER, DENIED, SINCE, LIMIT, HEADLESS)
HEADINGS = ("TIME", "SIDE", "USER", "APP", "ACTION", "SUBJECT", "TARGET", "ALLOWED", "BYTES", "DURATION", "REASON")
MOST = 1000
"""Records of one answer."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"([0-9]{1,9})([smhd])")

Records = list[dict[str, Any]]


def show(context: Context, arguments: Arguments, *, follow: bool) -> int | None:
    """Print records of the audit log of an endpoint, the newest last, and go on if `follow` says so.

    Raises:
        UsageError: an option's value is malformed.
        ForbiddenError: the endpoint is another user's.
        NotFoundError: there is no such endpoint, or it keeps no audit log.
    """
    form = chosen_format(arguments)
    query = _query(arguments)
    target = context.find_endpoint(arguments.word("object name"))
    is_own = target.id == context.mesh_object["agent"]["id"]
    path = "/audit" if is_own else f"/endpoints/{target.id}/audit"

    def find(limit: str) -> Records:
        fields = "&".join(f"{name}={encode(value)}" for name, value in {**query, "limit": limit}.items())
        with attempting(f"cannot read the audit log of endpoint '{target.name}'"):
            return context.ask("GET", f"{path}?{fields}") or []

    limit = query.pop("limit", "100")
    is_table = form not in (Format.JSON, Format.YAML)
    printer = _Printer(form, not arguments.flag(HEADLESS.name), _names(context) if is_table else {})
    if follow:
        with Changes(context, ("audit",) if is_own else (), context.mesh) as changes:
            return _follow(changes, printer, find(str(MOST)), int(limit), lambda: find(str(MOST)))
    printer.show(find(limit))
    return None


def _names(context: Context) -> dict[str, str]:
    """Endpoints by id; records are shown also while the hub does not tell them."""
    try:
        return context.endpoint_names()
    except AgentUnreachableError:
        raise
    except ZtmError:
        return {}


def _query(arguments: Arguments) -> dict[str, str]:
    limit = arguments.value(LIMIT.name) or "100"
    if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= MOST):
        raise arguments.error(f"invalid number '{limit}' for option {LIMIT.name} (1 to {MOST})")
    given = {"app": arguments.value(APP.name), "user": arguments.value(USER.name), "since": _since(arguments)}
    asked = {name: value for name, value in given.items() if value}
    return {**asked, **({"allowed": "false"} if arguments.flag(DENIED.name) else {}), "limit": limit}


def _since(arguments: Arguments) -> str:
    """The time of ``--since``; how long ago is counted from now by this machine's clock."""
    given = arguments.value(SINCE.name) or ""
    ago = _AGO.fullmatch(given)
    if ago:
        return f"{max(time.time() - int(ago[1]) * UNITS[ago[2]], 0):.3f}"
    if given and not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", given):
        raise arguments.error(
            f"invalid time '{given}' for option {SINCE.name} (90s, 15m, 1h, 7d, 2026-11-23T15:36:20Z)"
        )
    return given


def _follow(changes: Changes, printer: "_Printer", found: Records, limit: int, find: Callable[[], Records]) -> int:
    printer.show(found[-limit:])
    seen, last_failure = found, ""
    while changes.wait():
        try:
            found = find()
        except AgentUnreachableError:
            raise
        except PASSING as error:
            if str(error) != last_failure:
                output.complain(f"not up to date: {error}")
            last_failure = str(error)
        else:
            last_failure = ""
            new = fresh(seen, found)
            if len(new) == MOST:
                output.complain(f"more than {MOST} sessions ended at once; not all of them are shown")
            printer.show(new)
            seen = found
    return 0


def fresh(before: Records, after: Records) -> Records:
    """What is behind the last record of `before` in `after`; all of it where that is not there any more."""
    if not before:
        return after
    for count in range(len(after), 0, -1):
        if after[count - 1] == before[-1]:
            return after[count:]
    return after


class _Printer:
    """Prints records in one form, and headings above the first of them only."""

    def __init__(self, form: Format, headed: bool, names: Mapping[str, str]) -> None:
        self._form = form
        self._headed = headed
        self._names = names

    def show(self, records: Records) -> None:
        """Print these, which follow those printed before."""
        if self._form is Format.JSON:
            for record in records:
                output.write(json.dumps(record, ensure_ascii=False))
        elif self._form is Format.YAML:
            if records:
                output.write(data_text(records, self._form))
        elif records or self._headed:
            rows = [_row(one, self._names) for one in records]
            output.write(text.table(HEADINGS, rows, headed=self._headed))
            self._headed = False
        sys.stdout.flush()


def _row(one: Object, names: Mapping[str, str]) -> tuple[object, ...]:
    count = (one.get("sent") or 0) + (one.get("received") or 0)
    allowed = "yes" if one.get("allowed") else "no"
    app = str(one.get("app", "")).removeprefix("ztm/")
    duration = text.seconds(1000 * (one.get("duration") or 0))
    target = str(one.get("target") or "")
    said = (one.get("action"), one.get("subject"), names.get(target) or target)
    reason = text.with_names(str(one.get("reason") or ""), names)
    return one.get("time"), one.get("side"), one.get("user"), app, *said, allowed, count, duration, reason
