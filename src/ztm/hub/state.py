"""What a hub knows: one object that its handlers share, with the disk behind it.

Decisions are made by `ztm.core`; here they are only brought together with the store, memory first where
safety asks for it (evictions), disk first where a promise asks for it (everything acknowledged).
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ztm.core.evictions import Evictions
from ztm.core.files import FileTable
from ztm.core.registry import Owner, Registry
from ztm.errors import StorageError
from ztm.hub.config import HubConfig
from ztm.hub.traffic import TrafficMeter
from ztm.logs import LogRing
from ztm.model import Acl, Eviction
from ztm.net.base import Network
from ztm.pki import Authority
from ztm.store.hub import HubStore

log = logging.getLogger("ztm.hub")


class HubState:
    """Registry, evictions, files, ACLs and the CA of one hub."""

    def __init__(
        self, config: HubConfig, network: Network, store: HubStore, authority: Authority, logs: LogRing
    ) -> None:
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
        self.files = FileTable(store.files())
        self.acls: dict[str, Acl] = dict(store.acls())
        self.traffic = TrafficMeter()
        self.relayed = 0
        """App streams open now."""
        self.ports = dict.fromkeys(config.names)
        """Addresses of this hub: the configured names, then those by which agents came."""
        self.unsaved: dict[str, Eviction | None] = {}
        """Evictions (None: their removal) that act in memory and that the disk has not taken yet."""
        self.cut_evicted: Callable[[], None] = lambda: None
        """Cuts the connections of whoever is evicted now; set by whoever holds the connections."""

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
        return tuple(dict.fromkeys((*self.store.keys_of(user), *self.registry.keys_of(user))))

    def evict(self, user: str, expiration: int | None) -> bool:
        """Shut a user out at once, then write it down; False if that was so already.

        Raises:
            ForbiddenError: the user cannot be evicted.
            StorageError: it acts, and the disk did not take it; it is tried again until it does.
        """
        if not self.evictions.evict(user, self.keys_of(user), self.now_s(), expiration):
            return False
        self.cut_evicted()
        log.info("user %s is evicted", user)
        self._keep(user, self.evictions.of(user))
        return True

    def readmit(self, user: str) -> None:
        """Undo an eviction.

        Raises:
            StorageError: it is undone, and the disk did not take it; it is tried again until it does.
        """
        if self.evictions.remove(user):
            log.info("user %s is no longer evicted", user)
            self._keep(user, None)

    def _keep(self, user: str, eviction: Eviction | None) -> None:
        self.unsaved[user] = eviction
        self.save_evictions()

    def save_evictions(self) -> None:
        """Write down what acts in memory only.

        Raises:
            StorageError: the disk still does not take it.
        """
        for user, eviction in list(self.unsaved.items()):
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
            del self.unsaved[user]
