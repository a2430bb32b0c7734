"""Two native streams joined in the core: Python only waits for the end."""

import asyncio
from collections.abc import Generator
from typing import Any

from ztm_native import Counter

from ztm.errors import BrokenStreamError
from ztm.net.base import Meter
from ztm.net.native.stream import NativeStream


async def splice(a: NativeStream, b: NativeStream, meter: Meter | None) -> None:
    """Join two streams until both directions have ended; see `net.base.Network.splice`."""
    there = back = None
    if meter is not None:
        there, back = Counter(), Counter()
        meter.follow(there, back)
    a.feed(b)
    b.feed(a)
    a.plane.core.splice(a.handle, b.handle, there, back)
    a.plane.schedule()
    try:
        await a.ended()
        await b.ended()
    except asyncio.CancelledError:
        a.abort("cancelled")
        b.abort("cancelled")
        raise
    for stream, other in ((a, b), (b, a)):
        reason = stream.broken_by
        if reason is not None:
            other.abort(reason)
            raise BrokenStreamError(reason)


class NativePipe:
    """One direction of a splice; see `net.base.Network.pipe`."""

    __slots__ = ("_source",)

    def __init__(self, source: NativeStream, sink: NativeStream, meter: Meter | None) -> None:
        self._source = source
        counter = None
        if meter is not None:
            counter = Counter()
            meter.follow(counter)
        sink.feed(source)
        source.plane.core.pipe(source.handle, sink.handle, counter)
        source.plane.schedule()

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for the end of file to have been passed on, or raise what cut it."""
        return self._source.piped().__await__()
