"""Two native streams joined in the core: Python only waits for the end."""

import asyncio

from ztm_native import Counter

from ztm.errors import BrokenStreamError
from ztm.net.base import Meter
from ztm.net.native.stream import NativeStream


class NativePipe:
    """A splice of which one direction has begun; see `net.base.Piping`."""

    __slots__ = ("_sink", "_source")

    def __init__(self, source: NativeStream, sink: NativeStream, meter: Meter | None) -> None:
        self._source = source
        self._sink = sink
        counter = None
        if meter is not None:
            counter = Counter()
            meter.follow(counter)
        _pipe(source, sink, counter)

    async def joined(self, meter: Meter | None = None) -> None:
        """Pipe the other way as well, until both have ended; see `net.base.Piping`."""
        counter = None
        if meter is not None:
            counter = Counter()
            meter.follow(received=counter)
        a, b = self._source, self._sink
        _pipe(b, a, counter)
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


def _pipe(source: NativeStream, sink: NativeStream, counter: Counter | None) -> None:
    sink.feed(source)
    source.plane.core.pipe(source.handle, sink.handle, counter)
    source.plane.schedule()
