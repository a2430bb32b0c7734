"""The handlers of the streams that a session's peer opens: a task each, whatever speaks HTTP/2 below.

It decides nothing about the peer; a handler that fails, or whose stream was cut, harms no other.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ztm.errors import BrokenStreamError
from ztm.net.base import Answer, Exchange

log = logging.getLogger("ztm.net")

LINGER = 30.0
"""Seconds in which the peer may end its side of a stream after we have answered all there is to say."""
LATE = "the peer did not end its side"
"""What a stream is cut for after that."""

E = TypeVar("E", bound=Exchange)


class Answering(Generic[E]):
    """What is under way in one session. `linger` is given each stream that was answered and is not over."""

    __slots__ = ("_answer", "_linger", "_loop", "_tasks")

    def __init__(self, answer: Answer, loop: asyncio.AbstractEventLoop, linger: Callable[[E], None]) -> None:
        self._answer = answer
        self._loop = loop
        self._linger = linger
        self._tasks: dict[E, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[E]:
        return iter(list(self._tasks))

    def start(self, exchange: E) -> None:
        """Give an accepted stream a task."""
        self._tasks[exchange] = self._loop.create_task(self._run(exchange))

    def stop(self, exchange: E) -> None:
        """The peer has cut `exchange`: stop the handler that works for nobody now."""
        task = self._tasks.get(exchange)
        if task is not None and task is not asyncio.current_task(self._loop):
            task.cancel()

    async def _run(self, exchange: E) -> None:
        try:
            await self._answer(exchange)
            exchange.end()
            if not exchange.is_over:
                self._linger(exchange)
        except asyncio.CancelledError:
            exchange.abort("cancelled")
            raise
        except BrokenStreamError:
            exchange.abort("the other side of it was cut")
        except Exception:
            log.exception("a stream's handler failed")
            exchange.abort("the handler failed")
        finally:
            self._tasks.pop(exchange, None)
