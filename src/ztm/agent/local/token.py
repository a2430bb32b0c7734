"""The token of one run of the agent, put where its own OS user finds it and nobody else.

It says nothing about what the token opens; see `guard`.
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ztm.model import Address
from ztm.store.files import secure_directory, write_private

TOKEN_FILE = "api.token"  # noqa: S105 (its name, not a secret)


@dataclass(frozen=True, slots=True)
class Credentials:
    """This run's token, and the name by which its owner finds it."""

    instance: str
    token: str = field(repr=False)
    pointer: Path

    @classmethod
    def issue(cls, data: Path, pointers: Path, address: Address) -> "Credentials":
        """Make a token, and write it where the same OS user finds it: in the data directory, with a pointer
        to that in `pointers`.

        Raises:
            StorageError: one of the two cannot be written.
        """
        instance = secrets.token_hex(8)
        made = cls(instance, secrets.token_urlsafe(32), pointers / f"{instance}.json")
        write_private(data / TOKEN_FILE, made.token)
        secure_directory(pointers)
        made._drop_stale(data)
        where = {"instance": instance, "address": str(address), "data": str(data.resolve())}
        write_private(made.pointer, json.dumps(where))
        return made

    def _drop_stale(self, data: Path) -> None:
        """Remove the pointers of earlier runs on the same data directory, which a kill left behind."""
        for pointer in self.pointer.parent.glob("*.json"):
            try:
                if json.loads(pointer.read_text())["data"] == str(data.resolve()):
                    pointer.unlink(missing_ok=True)
            except (OSError, ValueError, KeyError, TypeError):
                continue

    def withdraw(self) -> None:
        """Remove the pointer; the token dies with the process."""
        self.pointer.unlink(missing_ok=True)
