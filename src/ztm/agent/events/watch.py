"""Endpoints that come and go, told as events while somebody listens.

Nothing is asked of a hub while nobody does; then its list is asked for once for all readers, at an interval.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from ztm.agent.events.bus import Bus, Event
from ztm.agent.state import Health, State
from ztm.errors import ZtmError
from ztm.model import Endpoint

log = logging.getLogger("ztm.agent")

EVERY = 3.0
"""Seconds between two looks at a hub's list: a tenth of the time after which a hub calls an endpoint offline."""
PAGE = 1000
"""Endpoints asked for at once."""
MOST = 20_000
"""Endpoints of one mesh that are compared, so that a hub cannot fill this agent's memory."""

Seen = Mapping[str, Endpoint]
"""Endpoints by id."""


class Watched(Protocol):
    """What the watch needs of a mesh."""

    name: str

    @property
    def health(self) -> Health:
        """How it is doing."""

    async def endpoints(self, **query: str | int) -> list[Endpoint]:
        """Endpoints as the hub lists them."""


def changes(before: Seen, after: Seen) -> Iterator[tuple[Endpoint, bool]]:
    """The endpoints that went up (True) or down (False); one that vanished from the list is down."""
    for id_, endpoint in after.items():
        was_online = id_ in before and before[id_].online
        if endpoint.online != was_online:
            yield endpoint, endpoint.online
    for id_, endpoint in before.items():
        if id_ not in after and endpoint.online:
            yield endpoint, False


class EndpointWatch:
    """Looks at each mesh's list while an event about endpoints is wanted. `close` ends it."""

    def __init__(self, bus: Bus, meshes: "MeshList", every: float = EVERY) -> None:
        self._bus = bus
        self._meshes = meshes
        self._every = every
        self._task: asyncio.Task[None] | None = None
        bus.on_readers(self._readers_changed)

    def _readers_changed(self) -> None:
        is_wanted = self._bus.is_wanted("endpoint")
        if is_wanted and self._task is None:
            self._task = asyncio.ensure_future(self._run())
        elif not is_wanted and self._task is not None:
            self._task.cancel()
            self._task = None

    async def close(self) -> None:
        """Stop looking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        seen: dict[str, Seen] = {}
        while True:
            meshes = {mesh.name: mesh for mesh in self._meshes()}
            for name in seen.keys() - meshes.keys():
                del seen[name]
            await asyncio.gather(*(self._look(mesh, seen) for mesh in meshes.values()))
            await asyncio.sleep(self._every)

    async def _look(self, mesh: Watched, seen: dict[str, Seen]) -> None:
        """Compare one mesh's list with the last one; without an answer nothing is said about any endpoint."""
        if mesh.health.state is not State.CONNECTED or not self._bus.is_wanted("endpoint", (mesh.name,)):
            return
        try:
            after = await _listed(mesh)
        except ZtmError as error:
            log.debug("the endpoints of mesh %s are not known now: %s", mesh.name, error)
            return
        except Exception:
            log.exception("looking at the endpoints of mesh %s failed", mesh.name)
            return
        before = seen.get(mesh.name)
        seen[mesh.name] = after
        for endpoint, online in changes(before, after) if before is not None else ():
            self._bus.publish(
                Event(
                    type="endpoint",
                    mesh=mesh.name,
                    id=endpoint.id,
                    name=endpoint.name,
                    user=endpoint.user,
                    online=online,
                )
            )


class MeshList(Protocol):
    """Gives the joined meshes."""

    def __call__(self) -> Iterable[Watched]:
        """All of them, now."""


async def _listed(mesh: Watched) -> Seen:
    found: dict[str, Endpoint] = {}
    while len(found) < MOST:
        page = await mesh.endpoints(limit=PAGE, offset=len(found))
        known = len(found)
        found.update((endpoint.id, endpoint) for endpoint in page)
        if len(page) < PAGE or len(found) == known:
            break
    return found
