"""What an app may ask of its agent, by the permissions of its manifest; each refusal is logged and audited.

An app that is refused again and again waits for the answer, so that it cannot fill log and disk.
"""

import asyncio

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.manifest import Manifest
from ztm.core.limits import Bucket
from ztm.errors import ForbiddenError
from ztm.model import Peer

RATE, BURST = 5.0, 50.0
"""Refusals a second that are answered at once, and how many beyond."""
PAUSE = 0.2
"""Seconds between two refusals where there are more."""


class Permissions:
    """Those of one app."""

    def __init__(self, manifest: Manifest, context: AppContext) -> None:
        self._manifest = manifest
        self._context = context
        self._bucket = Bucket(RATE, BURST)
        self._turn = asyncio.Lock()
        self.refused = 0
        """Calls so far."""

    def allows(self, permission: str) -> bool:
        """Whether the app has it."""
        return self._manifest.allows(permission)

    async def check(self, permission: str, what: str) -> str:
        """Return the rule by which `what` is allowed.

        Raises:
            ForbiddenError: it is not.
        """
        if self._manifest.allows(permission):
            return f"permission {permission}"
        self.refused += 1
        if not self._bucket.take(self._context.network.now()):
            async with self._turn:
                await asyncio.sleep(PAUSE)
        reason = f"app {self._manifest.name} may not {what}: its manifest does not ask for {permission!r}"
        self._context.log.warning("refused: %s", reason)
        trail = Trail(side="entry", peer=self.own(), action="refused", subject=what, rule=f"no permission {permission}")
        with audited(self._context.audit, trail):
            raise ForbiddenError(reason)

    def own(self) -> Peer:
        """The app's user on this endpoint, for the audit log."""
        return Peer(self._context.user, self._context.place.id)
