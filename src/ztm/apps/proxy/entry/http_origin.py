"""The streams to origins that one client connection keeps for its next plain requests.

A stream serves the one host and port that it was opened for, and never again after anything went wrong on it.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import h11

from ztm.apps.proxy.entry.client import Client
from ztm.apps.proxy.entry.destination import Destination
from ztm.apps.proxy.way import Passage
from ztm.errors import BrokenStreamError
from ztm.net.base import Stream


@dataclass(slots=True)
class Origin:
    """A stream to an origin, and who speaks HTTP on it."""

    passage: Passage
    connection: h11.Connection
    generation: int
    is_used: bool = False
    """Whether an answer has come by it before."""

    @property
    def stream(self) -> Stream:
        """The stream itself."""
        return self.passage.stream


class Origins:
    """Those of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: OrderedDict[Destination, Origin] = OrderedDict()
        """The one used last is at the end."""

    async def take(self, destination: Destination) -> Origin | None:
        """The stream kept for `destination`, if it is still good; it is not kept any more then."""
        origin = self._kept.pop(destination, None)
        if origin is None:
            return None
        if origin.generation == self._client.generation() and await _is_silent(origin.stream):
            return origin
        origin.stream.abort("no longer used")
        return None

    def keep(self, destination: Destination, origin: Origin) -> None:
        """Keep a stream on which an answer has ended, if another may follow; else let go of it."""
        connection = origin.connection
        is_reusable = connection.our_state is h11.DONE and connection.their_state is h11.DONE
        if not is_reusable or connection.trailing_data[0] or origin.generation != self._client.generation():
            self.let_go(origin)
            return
        connection.start_next_cycle()
        origin.is_used = True
        if destination in self._kept:
            self.let_go(self._kept.pop(destination))
        self._kept[destination] = origin
        if len(self._kept) > self._client.limits.origins:
            self.let_go(self._kept.popitem(last=False)[1])

    def let_go(self, origin: Origin) -> None:
        """End a stream; it is cut if the other side does not end it as well."""
        stream = origin.stream
        stream.end()
        if not stream.is_over:
            linger = self._client.limits.linger_seconds
            asyncio.get_running_loop().call_later(linger, stream.abort, "the client is done with it")

    def close(self) -> None:
        """Let go of all."""
        while self._kept:
            self.let_go(self._kept.popitem()[1])


async def _is_silent(stream: Stream) -> bool:
    """Whether nothing came on a stream on which nothing is expected, not even its end."""
    try:
        async with asyncio.timeout(0):
            await stream.read()
    except TimeoutError:
        return True
    except BrokenStreamError:
        return False
    return False
