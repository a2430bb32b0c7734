"""A stream without a network: two ends in one process, for parties that expect a stream between them.

What one end has written and the other has not taken is held, up to `WINDOW`; beyond it whoever writes waits.
"""

from ztm.model import Address, Identity
from ztm.net.flow import FlowStream

WINDOW = 64 << 10
"""Bytes on their way in each direction; as much as a socket takes without a word."""


class Joint(FlowStream):
    """One end; see `joint`."""

    __slots__ = ("_on_the_way", "_partner")

    def __init__(self) -> None:
        super().__init__()
        self._partner = self
        self._on_the_way = 0
        """Bytes that this end has written and the other has not taken."""

    def join(self, partner: "Joint") -> None:
        """Make `partner` the other end."""
        self._partner, partner._partner = partner, self

    @property
    def identity(self) -> Identity | None:
        """See `net.base.Stream`."""
        return None

    @property
    def remote(self) -> Address | None:
        """See `net.base.Stream`."""
        return None

    @property
    def local(self) -> Address | None:
        """See `net.base.Stream`."""
        return None

    def _transmit(self, data: bytes) -> int:
        if self._partner.is_over:
            return len(data)
        self._on_the_way += len(data)
        self._partner.arrived(data)  # where it may be taken at once
        return len(data) - max(0, self._too_much() - self._owed)

    def _too_much(self) -> int:
        return max(0, self._on_the_way - WINDOW)

    def _credit(self, size: int) -> None:
        self._partner._taken_there(size)

    def _taken_there(self, size: int) -> None:
        self._on_the_way -= size
        freed = self._owed - self._too_much()
        if freed > 0:
            self.was_taken(freed)

    def _end(self) -> None:
        self._partner.finished()

    def _abort(self, reason: str) -> None:
        self._partner.broken(reason or "the other end cut it")


def joint() -> tuple[Joint, Joint]:
    """Both ends of a new stream."""
    near, far = Joint(), Joint()
    near.join(far)
    return near, far
