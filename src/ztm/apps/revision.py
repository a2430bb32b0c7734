"""Which state of a configuration a change was made from, so that no two changes undo each other unseen.

A configuration is read and written back whole, as v1 has it. Who says from which `revision` a change was made is
refused where that is not the present one any more; who says nothing replaces what is there. Commands: `apps.rewrite`.
"""

import secrets

from msgspec import UNSET, UnsetType

from ztm.errors import ConflictError


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
