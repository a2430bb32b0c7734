"""The hubs of one mesh: which are known, where to dial next, and links to those that other endpoints are at.

The attached hub's link is the keeper's (`keeper.py`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from ztm.agent.hublink import HubLink
from ztm.core.hubs import HubChooser
from ztm.core.routing import route
from ztm.errors import UnreachableError, ZtmError
from ztm.model import Address, Endpoint, HubInfo
from ztm.net.base import Network
from ztm.store.agent import AgentStore, MeshRow
from ztm.wire import codec, paths

Open = Callable[[Address], Awaitable[HubLink]]
"""Opens a link to the hub at an address."""


class Hubs:
    """What an agent knows of the hubs of one mesh."""

    def __init__(
        self, row: MeshRow, store: AgentStore, network: Network, log: "logging.LoggerAdapter[logging.Logger]"
    ) -> None:
        self._mesh = row.name
        self._bootstraps = row.bootstraps
        self._store = store
        self._network = network
        self._log = log
        self.chooser = HubChooser(row.bootstraps)
        """Where to dial next."""
        self.known: dict[str, HubInfo] = dict(store.hubs(row.name))
        """By id."""
        self._links: dict[str, HubLink] = {}
        """Links to hubs other than the attached one, by hub id."""
        self._tasks: set[asyncio.Task[None]] = set()

    def learn(self, hubs: Mapping[str, HubInfo]) -> None:
        """Remember hubs, also after a restart."""
        self.known.update(hubs)
        addresses = dict.fromkeys(self._bootstraps)
        for hub in self.known.values():
            addresses.update(dict.fromkeys(hub.ports))
        self.chooser.replace(addresses)
        try:
            self._store.save_hubs(self._mesh, hubs, datetime.fromtimestamp(self._network.wall(), UTC))
        except ZtmError as error:
            self._log.warning("hubs are not remembered: %s", error)

    async def survey(self, link: HubLink) -> None:
        """Ask a hub for all hubs of the mesh, and learn them. Source: spec mesh-protocol 9.1."""
        try:
            for zone in codec.decode_zones(await link.ask("GET", paths.ZONES)):
                body = await link.ask("GET", paths.fill(paths.ZONE_HUBS, zone=zone))
                self.learn(codec.decode_zone_hubs(body, zone))
        except ZtmError as error:
            self._log.info("the hub did not tell its zones: %s", error)

    async def link_to(self, endpoint: Endpoint, attached: HubLink, dial: Open) -> HubLink:
        """A link to a hub where the endpoint is, as the `attached` hub lists it; kept until `close`.

        Raises:
            UnreachableError: there is none to be had now.

        Source: spec mesh-protocol 9.5.
        """
        way = route(endpoint, attached.status.id, self.known)
        if way.is_attached:
            return attached
        kept = self._links.get(way.hub)
        if kept is not None and kept.is_open:
            return kept
        for address in way.addresses:
            with contextlib.suppress(ZtmError):
                link = self._links[way.hub] = await dial(address)
                task = asyncio.ensure_future(_hold(link))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return link
        raise UnreachableError(f"hub {way.hub}, where endpoint {endpoint.id} is, cannot be reached")

    async def close(self) -> None:
        """Leave all hubs but the attached one."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _hold(link: HubLink) -> None:
    """Keep a link until it ends, or this is cancelled."""
    try:
        await link.run()
    finally:
        link.close("the agent leaves")
