"""Which state of a configuration a change was made from, so that no two changes undo each other unseen.

A configuration is read and written back whole, as v1 has it. Who says from which `revision` a change was made is
refused where that is not the present one any more; who says nothing replaces what is there.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET, UnsetType

from ztm.apps.command import AppCommand
from ztm.errors import ConflictError

FIELD = "revision"
TRIES = 16
"""Times that a change is made anew where others are faster; each of them has then made one."""


class Revision:
    """The name of the present state of one configuration; it tells nothing about what is in it."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(4)
        self._number = 0

    def __str__(self) -> str:
        return f"{self._life}-{self._number}"

    def check(self, given: str | UnsetType) -> None:
        """Return if a change was made from the present state, or does not say.

        Raises:
            ConflictError: it was made from another one.
        """
        if given is not UNSET and given != str(self):
            raise ConflictError("the configuration was changed by somebody else meanwhile: look at it again")

    def advance(self) -> None:
        """The state is another one from now on."""
        self._number += 1


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
