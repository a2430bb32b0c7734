"""What a hub remembers of the permits that it signed: in memory to judge by, on disk to outlast it.

It does not sign, and cuts nobody off; whoever asks it to revoke does.
"""

import logging

from ztm.core.permits import Permits
from ztm.errors import NotFoundError, StorageError
from ztm.model import Issued, Origin, Revocation
from ztm.store.hub import HubStore

log = logging.getLogger("ztm.hub")


class PermitBook:
    """The permits of one hub, and the keys that are revoked."""

    def __init__(self, store: HubStore) -> None:
        self._store = store
        self.known = Permits(store.permits(), store.revocations())
        """To be asked; it is changed by the methods here only."""
        self._unsaved: dict[tuple[str, str], Issued] = {}
        """Renewals that count already and that the disk has not taken yet."""
        self._unsaved_revocations: dict[str, Revocation] = {}

    def note(self, issued: Issued) -> None:
        """Write down what was signed, before it is handed out.

        A renewal is noted in memory at least, and written later: who has a place in the mesh keeps it.

        Raises:
            StorageError: the disk does not take an invitation; it is not to be handed out.
        """
        whose = issued.user, issued.key
        if issued.origin is not Origin.RENEWAL:
            self._store.save_permit(self.known.merged(issued))
            self.known.note(issued)
            self._unsaved.pop(whose, None)
            return
        self._unsaved[whose] = self.known.note(issued)
        try:
            self._save_permits()
        except StorageError as error:
            log.warning("the renewal of user %s is not on disk: %s", issued.user, error)

    def all(self) -> list[Issued]:
        """Every permit that is listed, those included that `ztm root` made beside this process.

        Raises:
            StorageError: the disk cannot be read.
        """
        self.known.learn(self._store.permits())
        return self.known.all()

    def find(self, permit: str) -> Issued:
        """The permit with this id.

        Raises:
            NotFoundError: there is none.
            StorageError: the disk cannot be read.
        """
        found = next((one for one in self.all() if one.id == permit), None)
        if found is None:
            raise NotFoundError(f"there is no permit {permit[:64]!r}")
        return found

    def revoke(self, key: str, now_s: int) -> None:
        """Have a key refused from now on; `save` writes it down."""
        made = self.known.revoke(key, now_s)
        if made is not None:
            self._unsaved_revocations[key] = made

    def save(self) -> None:
        """Write down what counts in memory only.

        Raises:
            StorageError: the disk still does not take it; it counts all the same, and is tried again.
        """
        for key, made in list(self._unsaved_revocations.items()):
            try:
                self._store.save_revocation(made)
            except StorageError as error:
                raise StorageError(
                    f"the permit is revoked now, but that is not on disk and would not outlive a restart: {error}; "
                    "make room, the hub goes on trying"
                ) from error
            del self._unsaved_revocations[key]
        self._save_permits()

    def _save_permits(self) -> None:
        for whose, issued in list(self._unsaved.items()):
            self._store.save_permit(issued)
            del self._unsaved[whose]

    def forget(self, now_s: int) -> None:
        """Drop what is long expired, from memory and disk.

        Raises:
            StorageError: the disk did not take it; a restart then finds it again, and drops it.
        """
        permits, keys = self.known.forget(now_s)
        for whose in permits:
            self._unsaved.pop(whose, None)
        if permits:
            self._store.delete_permits(permits)
        if keys:
            self._store.delete_revocations(keys)
