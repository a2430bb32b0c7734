"""A coroutine that goes on beside its caller without a task: for steps that cost less than a task would.

It begins at once, in the step of the loop that its caller is in, and is stopped at once. It may await futures, as
streams do; what needs a task of its own, such as `asyncio.timeout`, it cannot use.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Aside:
    """Runs `work` until it waits, and on from there whenever what it waits for has come; `stop` it in the end.

    Raises:
        Exception: what `work` raised before it had to wait; what it raises later goes to the loop's exception handler.
    """

    __slots__ = ("_is_over", "_work")

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._is_over = False
        self._step()

    def _step(self, _came: object = None) -> None:
        if self._is_over:
            return
        try:
            waits_for: asyncio.Future[Any] | None = self._work.send(None)
        except StopIteration:
            self._is_over = True
            return
        except BaseException:
            self._is_over = True
            raise
        if waits_for is None:  # it let others go first
            asyncio.get_running_loop().call_soon(self._step)
        else:
            waits_for._asyncio_future_blocking = False  # what a task does, to tell `await` from `yield`
            waits_for.add_done_callback(self._step)

    def stop(self) -> None:
        """Have `work` end where it waits, as if nobody held it any more. Idempotent."""
        if not self._is_over:
            self._is_over = True
            self._work.close()
