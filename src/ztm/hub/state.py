"""What a hub knows: one object that its handlers share, with the disk behind it.

Decisions are made by `ztm.core`; here they are only brought together with the store, memory first where
safety asks for it (evictions), disk first where a promise asks for it (everything acknowledged).
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ztm.core.evictions import Evictions
from ztm.core.files import FileTable
from ztm.core.registry import Owner, Registry
from ztm.errors import StorageError
from ztm.hub.authority import Signer
from ztm.hub.config import HubConfig
from ztm.hub.counts import Counts
from ztm.hub.link import Link
from ztm.hub.permit_book import PermitBook
from ztm.hub.traffic import TrafficMeter
from ztm.logs import LogRing
from ztm.model import Acl, Eviction, FileInfo, Identity, Issued
from ztm.net.base import Network
from ztm.store.hub import HubStore

log = logging.getLogger("ztm.hub")


class HubState:
    """Registry, evictions, files, ACLs and the CA of one hub."""

    def __init__(self, config: HubConfig, network: Network, store: HubStore, authority: Signer, logs: LogRing) -> None:
        self.config = config
        self.network = network
        self.store = store
        self.authority = authority
        self.logs = logs
        self.id = store.hub_id()
        self.since_ms = int(network.wall() * 1000)
        owners = {endpoint: Owner(user, key) for endpoint, (user, key) in store.owners().items()}
        self.registry: Registry[Any] = Registry(self.id, max_agents=config.max_agents, owners=owners)
        self.evictions = Evictions(store.evictions())
        self.permits = PermitBook(store)
        self.files = FileTable(store.files())
        self.acls: dict[str, Acl] = dict(store.acls())
        self.traffic = TrafficMeter()
        self.counts = Counts()
        self.relayed = 0
        """App streams open now."""
        self.ports = dict.fromkeys(config.names)
        """Addresses of this hub: the configured names, then those by which agents came."""
        self.is_stopping = False
        """No app stream is begun any more."""
        self.links: set[Link] = set()
        """The connections of users now, with or without a session."""
        self._unsaved: dict[str, Eviction | None] = {}
        """Evictions (None: their removal) that act in memory and that the disk has not taken yet."""
        self._unsaved_files: dict[str, FileInfo] = {}
        """Rows that are listed and that the disk has not taken yet."""

    def now_ms(self) -> int:
        """Epoch milliseconds by the hub's clock."""
        return int(self.network.wall() * 1000)

    def now_s(self) -> int:
        """Epoch seconds by the hub's clock."""
        return int(self.network.wall())

    def date(self) -> datetime:
        """The hub's clock as a date."""
        return datetime.fromtimestamp(self.network.wall(), UTC)

    def keys_of(self, user: str) -> tuple[str, ...]:
        """Every key that the user is known to hold."""
        live = [link.identity.key for link in self.links if link.user == user]
        try:
            kept = self.store.keys_of(user)
        except StorageError as error:  # an eviction must act all the same
            log.error("the keys of user %s that are no longer in use are not known: %s", user, error)
            kept = ()
        return tuple(dict.fromkeys((*kept, *self.registry.keys_of(user), *live)))

    def evict(self, user: str, expiration: int | None) -> bool:
        """Shut a user out at once, then write it down; False if that was so already.

        Raises:
            ForbiddenError: the user cannot be evicted.
            UsageError: the expiration is not in the future.
            StorageError: it acts, and the disk did not take it; it is tried again until it does.
        """
        if not self.evictions.evict(user, self.keys_of(user), self.now_s(), expiration):
            return False
        self.cut_refused()
        log.info("user %s is evicted", user)
        self._keep(user, self.evictions.of(user))
        return True

    def revoke(self, permit: Issued) -> list[str]:
        """Shut a permit's key out at once, then write it down; the ids of the endpoints that this cut off.

        Raises:
            StorageError: it acts, and the disk did not take it; it is tried again until it does.
        """
        self.permits.revoke(permit.key, self.now_s())
        cut = self.cut_refused()
        log.info("permit %s of user %s is revoked", permit.id, permit.user)
        self.permits.save()
        return cut

    def refusal(self, identity: Identity) -> str | None:
        """Why the holder of a valid certificate is shut out now, or None if it is not."""
        now = self.now_s()
        return self.evictions.refuses(identity, now) or self.permits.known.refuses(identity, now)

    def cut_refused(self) -> list[str]:
        """End the connections of all who are shut out or whose permit is over; the ids of their endpoints."""
        cut = []
        for link in list(self.links):
            refusal = self.refusal(link.identity)
            if refusal is not None:
                link.cut(refusal)
                cut.append(link.endpoint)
        return sorted({endpoint for endpoint in cut if endpoint})

    def readmit(self, user: str) -> None:
        """Undo an eviction.

        Raises:
            StorageError: it is undone, and the disk did not take it; it is tried again until it does.
        """
        if self.evictions.remove(user):
            log.info("user %s is no longer evicted", user)
            self._keep(user, None)

    def _keep(self, user: str, eviction: Eviction | None) -> None:
        self._unsaved[user] = eviction
        self._save_evictions()

    def keep_files(self, changed: Mapping[str, FileInfo]) -> None:
        """Write down rows of the file table, and those that the disk refused before.

        Raises:
            StorageError: they are listed, and the disk did not take them; it is tried again until it does.
        """
        self._unsaved_files.update(changed)
        if self._unsaved_files:
            self.store.save_files(self._unsaved_files)
            self._unsaved_files.clear()

    def save_all(self) -> None:
        """Write down what acts in memory only.

        Raises:
            StorageError: the disk still does not take it.
        """
        self._save_evictions()
        self.permits.save()
        self.keep_files({})

    def _save_evictions(self) -> None:
        for user, eviction in list(self._unsaved.items()):
            try:
                if eviction is None:
                    self.store.delete_eviction(user)
                else:
                    self.store.save_eviction(eviction)
            except StorageError as error:
                acts = "evicted" if eviction else "readmitted"
                raise StorageError(
                    f"user {user} is {acts} now, but it is not on disk and would not outlive a restart: {error}; "
                    "make room, the hub goes on trying"
                ) from error
            del self._unsaved[user]
