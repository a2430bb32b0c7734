"""Virtual time: an event loop on which waiting costs nothing and always takes as long as it says.

Nothing sleeps: when no task can go on, the clock moves to the next timer. Threads that the loop started are waited
for in real time, with the clock standing still. Real sockets are served too, but nobody waits for them.
"""

import asyncio
import concurrent.futures
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

THREAD = 30.0
"""Real seconds that a thread started by the loop may take (a disk write, say), before it counts as stuck."""
SHOWN = 20
"""Waiting tasks that a `DeadlockError` names."""


class DeadlockError(AssertionError):
    """Every task waits, and no timer is set that could wake one; on a real clock this would hang for ever."""


class _VirtualSelector(selectors.BaseSelector):
    """Moves `now` where another selector would sleep."""

    def __init__(self, waiting: Callable[[], str]) -> None:
        self.now = 0.0
        self.threads = 0
        """Jobs that run in threads for the loop."""
        self._real = selectors.DefaultSelector()
        self._waiting = waiting

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; where nothing is, pass virtual time until the next timer."""
        wait = THREAD if self.threads and (timeout is None or timeout > 0) else 0.0
        ready = self._real.select(wait)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if wait or timeout is None:
            raise DeadlockError(f"nothing will ever happen again ({self._waiting()})")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` is virtual and starts at 0. See `run_virtual`."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector(self._waiting)
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual.now

    def run_in_executor(  # type: ignore[override]
        self, executor: concurrent.futures.Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """See `asyncio`; virtual time stands still until the thread is done."""
        future = super().run_in_executor(executor, func, *args)
        self._virtual.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        """See `asyncio`; it waits in a thread of its own."""
        self._virtual.threads += 1
        try:
            await super().shutdown_default_executor(*args, **options)
        finally:
            self._virtual.threads -= 1

    def _thread_done(self, _future: asyncio.Future[Any]) -> None:
        self._virtual.threads -= 1

    def _waiting(self) -> str:
        tasks = [task for task in asyncio.all_tasks(self) if not task.done()]
        named = sorted(_where(task) for task in tasks)
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        return f"{len(tasks)} tasks wait: {', '.join(named[:SHOWN])}{more}" if tasks else "no task is left"


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost line that a task waits at."""
    inner: Any = task.get_coro()
    frame = None
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None) or frame
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    if frame is None:
        return task.get_name()
    file = frame.f_code.co_filename.rpartition("/")[2]
    return f"{task.get_name()} at {file}:{frame.f_lineno} in {frame.f_code.co_name}"


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time and return what it returns; as `asyncio.run`, without the waiting.

    Raises:
        DeadlockError: nothing was left that could ever happen.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def settle(rounds: int = 50) -> None:
    """Let everything happen that can happen now, without passing time."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`, if it is there within so many virtual seconds.

    Raises:
        TimeoutError: it is not.
    """
    async with asyncio.timeout(seconds):
        return await work
