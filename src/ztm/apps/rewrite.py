"""Changing a configuration by a command: read whole, changed, and written back, without undoing what others change.

Which state it is made from is said by the field that `apps.revision` gives; v1 has none, and then the last one counts.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from ztm.apps.command import AppCommand
from ztm.errors import ConflictError

FIELD = "revision"
TRIES = 16
"""Times that a change is made anew where others are faster; each of them has then made one."""


async def change_config(
    context: AppCommand, path: str, change: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], tries: int = TRIES
) -> Any:
    """Write to `path` what `change` makes of what is read there; made anew where it was changed meanwhile.

    Returns the answer, or None where there is none (v1).

    Raises:
        ConflictError: others were faster `tries` times.
        ZtmError: it was refused.
    """
    while True:
        found = await context.api("GET", path) or {}
        body = await change(found)
        if FIELD in found:
            body[FIELD] = found[FIELD]
        try:
            return await context.api("POST", path, body)
        except ConflictError:
            tries -= 1
            if not tries:
                raise
