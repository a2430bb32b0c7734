"""What this endpoint allows of scripts: kept on disk, and changed one at a time.

A change is on disk before it counts. It knows nothing of HTTP.
"""

import msgspec

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.script.exit import Exit
from ztm.apps.script.forms import SettingsBody, read_settings, stored
from ztm.apps.script.model import Settings
from ztm.model import Peer

CONFIG = "config.json"


class Scripts:
    """The settings of this endpoint."""

    def __init__(self, context: AppContext, exit_: Exit) -> None:
        self._context = context
        self._exit = exit_

    async def start(self) -> None:
        """Take up what is stored.

        Raises:
            StorageError: it cannot be read; nothing is run then.
        """
        await self._exit.start(read_settings(self._context.files.read_local(CONFIG)))

    @property
    def settings(self) -> Settings:
        """What is allowed now."""
        return self._exit.settings

    def change(self, peer: Peer, body: SettingsBody) -> Settings:
        """Allow something else from now on, as `peer` wants it.

        Raises:
            UsageError: it cannot be allowed.
            NotFoundError: a user to be removed is not listed.
            StorageError: it could not be saved; nothing changed.
        """
        trail = Trail(side="exit", peer=peer, action="configure", subject="scripts", target=self._context.place.id)
        with audited(self._context.audit, trail):
            wanted = body.applied(self._exit.settings)
            self._context.files.write_local(CONFIG, msgspec.json.encode(stored(wanted)))
            self._exit.change(wanted)
            trail.reason = (
                f"scripts are {'on' if wanted.is_allowed else 'off'}, for {', '.join(('the owner', *wanted.users))}"
            )
            self._context.log.info("%s", trail.reason)
            return wanted
