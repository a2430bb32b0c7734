"""How a hub takes leave: nothing new, and every agent sent elsewhere as soon as nothing of its hangs on this hub.

It cuts no stream; what still runs at the deadline is cut by whoever set that.
"""

import asyncio
from collections.abc import Iterator

from ztm.hub.state import HubState
from ztm.net.base import Session

LOOK_AGAIN = 0.05
"""Seconds between two looks at what is left."""


async def drain(state: HubState) -> None:
    """Refuse new app streams, and return when those under way have ended. May be cancelled.

    An agent whose control session carries nothing loses that at once, so that it dials the next hub now; its sessions
    for app streams stay. The others go on until their streams have ended.
    """
    state.is_stopping = True
    _dismiss(state)
    while state.relayed:
        await asyncio.sleep(LOOK_AGAIN)
        _dismiss(state)


def _dismiss(state: HubState) -> None:
    for session in _controls(state):
        if session.is_open and not session.streams:
            session.close("the hub is stopping")


def _controls(state: HubState) -> Iterator[Session]:
    for link in list(state.links):
        if link.endpoint:
            yield from list(state.registry.controls(link.endpoint))
