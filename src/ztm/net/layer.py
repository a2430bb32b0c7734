"""A stream on top of another one, which it takes over: what both ends see is the same flow, seen in passing or changed.

Back-pressure goes through: credit is given below when it is given here, and a writer here waits for what is below.
"""

from collections.abc import Callable

from ztm.model import Address, Identity
from ztm.net.flow import FlowStream


class Layer(FlowStream):
    """What layers have in common. `begin` takes over the stream below, and all that it holds."""

    __slots__ = ("_below",)

    def __init__(self, below: FlowStream) -> None:
        super().__init__()
        self._below = below

    def begin(self) -> None:
        """Take over the stream below."""
        self._below.taken = self._below_taken
        self._below.attach(self)

    @property
    def identity(self) -> Identity | None:
        """See `net.base.Stream`."""
        return self._below.identity

    @property
    def remote(self) -> Address | None:
        """See `net.base.Stream`."""
        return self._below.remote

    @property
    def local(self) -> Address | None:
        """See `net.base.Stream`."""
        return self._below.local

    # ------------------------------------------------------------------ from below, see `flow.Outlet`

    def push(self, data: bytes) -> None:
        """Bytes came."""
        self.arrived(data)

    def finish(self) -> None:
        """The peer ended its side."""
        self.finished()

    def broke(self, reason: str) -> None:
        """The stream below was cut."""
        self.broken(reason)

    def _below_taken(self, size: int) -> None:
        """What `_transmit` could not pass on at once was taken; once all was, nothing of ours can be left either."""
        taken = self._owed if self._below.owed <= 0 else min(size, self._owed)
        if taken > 0:
            self.was_taken(taken)

    # ------------------------------------------------------------------ for FlowStream

    def _transmit(self, data: bytes) -> int:
        done = self._below.send(data)
        return len(data) if self._below.owed <= 0 else done

    def _credit(self, size: int) -> None:
        self._below.credit(size)

    def _end(self) -> None:
        self._below.end()

    def _abort(self, reason: str) -> None:
        self._below.abort(reason)


class Tapped(Layer):
    """The stream below, unchanged; `seen` is shown all that the peer sends, and must not wait or fail."""

    __slots__ = ("_seen",)

    def __init__(self, below: FlowStream, seen: Callable[[bytes], None]) -> None:
        super().__init__(below)
        self._seen = seen
        self.begin()

    def push(self, data: bytes) -> None:
        """Bytes came."""
        self._seen(data)
        self.arrived(data)
