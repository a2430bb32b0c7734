"""When to look again: what every command that goes on (`--watch`, `--follow`) waits for.

The agent's events wake it; where they do not tell enough, or there are none, it looks again after a time.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ztm.cli.context import Context
from ztm.errors import BrokenStreamError, DeadlineError, LimitError, MethodError, NotFoundError

if TYPE_CHECKING:
    from ztm.cli.events import Events

POLL = 2.0
"""Seconds between two looks where no event tells of changes."""
REFRESH = 10.0
"""Seconds between two looks where events do: pings and labels change without one."""
GATHER = 0.1
"""Seconds for which further events are awaited after one, so that many cost one look."""


class Changes:
    """Reasons to look again, until the time of ``--timeout`` is over; a context manager.

    `types` are the agent's events that are reasons, and `mesh` the one they are about, or empty for all.

    Raises:
        ZtmError: the agent cannot be asked for events.
    """

    def __init__(self, context: Context, types: Sequence[str], mesh: str = "") -> None:
        self._context = context
        self._types = tuple(types)
        self._mesh = mesh
        self._events = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events is not None:
            self._events.close()

    def wait(self) -> bool:
        """Wait until something may have changed; False as soon as the time is over."""
        pause = POLL if self._events is None else REFRESH
        left = self._left()
        if left is None or pause < left:
            self._pause(pause)
            return True
        self._pause(max(left, 0.0))
        return not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the time of ``--timeout`` is over."""
        left = self._left()
        return left is not None and left <= 0

    def _left(self) -> float | None:
        deadline = self._context.deadline
        return None if deadline is None else deadline - self._context.now()

    def _pause(self, seconds: float) -> None:
        if self._events is None:
            self._context.sleep(seconds)
            self._events = self._open()
            return
        is_told = False
        try:
            is_told = self._events.next(seconds) is not None
            end = self._context.now() + GATHER
            while is_told and self._context.now() < end and self._events.next(end - self._context.now()) is not None:
                pass
        except BrokenStreamError:
            self._events.close()
            self._events = None
            if not is_told:
                self._context.sleep(min(seconds, POLL))

    def _open(self) -> "Events | None":
        from ztm.cli.events import Events

        if not self._types:
            return None
        try:
            return Events(self._context.client, self._types, self._mesh)
        except (NotFoundError, MethodError):
            self._types = ()  # an agent of v1, which will have none later either
        except (LimitError, DeadlineError, BrokenStreamError):
            pass  # a later try may succeed
        return None
