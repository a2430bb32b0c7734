"""What a service manager can be asked for; and which one this machine has.

It knows nothing of hubs or agents but their kind.
"""

import os
import sys
from typing import Protocol

from ztm.cli.services.unit import Unit
from ztm.errors import ZtmError


class Manager(Protocol):
    """systemd or launchd, of the machine or of one user."""

    is_system: bool

    def check(self) -> None:
        """Return if it runs.

        Raises:
            ZtmError: it does not; the message says what to do instead.
        """

    def is_installed(self, kind: str) -> bool:
        """Whether there is a service of this kind, by whomever."""

    def saved(self, kind: str) -> tuple[str, ...] | None:
        """The options it was installed with; None if it is not, or was by another program."""

    def install(self, unit: Unit) -> bool:
        """Write the service down, unless that is what is there already; whether it was written.

        Raises:
            StorageError: it cannot be written.
        """

    def start(self, kind: str) -> str:
        """Start the installed service anew, also after the next boot; what it says of itself once it is up.

        Raises:
            ZtmError: it does not come up, and is stopped; the message says why.
        """

    def stop(self, kind: str, *, for_good: bool) -> bool:
        """Stop the service, and leave it so at the next boot if `for_good`; whether it was running.

        Raises:
            ZtmError: it does not stop.
        """


def manager_here(*, is_system: bool) -> Manager:
    """The service manager of this machine, or of the present user.

    Raises:
        ZtmError: there is none that is known here.
    """
    if sys.platform == "darwin":
        from ztm.cli.services.launchctl import Launchctl

        return Launchctl()
    if sys.platform == "linux":
        from ztm.cli.services.systemctl import Systemctl

        return Systemctl(is_system=is_system)
    raise ZtmError(f"services are not supported on {sys.platform}: use 'ztm run hub' or 'ztm run agent' instead")


def is_root() -> bool:
    """Whether services of the machine may be changed."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
