"""What is under way in one running app: requests, WebSockets, streams and commands, which all end with it.

Whoever is cut off learns of it as far as its protocol can say so. It starts and stops no app.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ztm.errors import BrokenStreamError, UnreachableError
from ztm.net.scope import ASGIApp, Message, Receive, Scope, Send, is_websocket

GOING_AWAY = 1001
"""What a WebSocket is closed with whose server goes (RFC 6455 section 7.4.1)."""

T = TypeVar("T")


class StoppedError(UnreachableError):
    """The app was stopped while it was used."""


class _Use:
    """One use in the task of whoever it works for, which goes on after it."""

    __slots__ = ("_before", "_is_cut", "_left", "task")

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self.task = task
        self._left: asyncio.Future[None] | None = None
        self._before = task.cancelling() if task is not None else 0
        self._is_cut = False
        """The task was cancelled for the app's sake, and not for its own."""

    def cut(self) -> asyncio.Future[None]:
        """Have it end; done when it has."""
        if self._left is None:
            self._left = asyncio.get_running_loop().create_future()
        if self.task is not None and not self._is_cut:
            self._is_cut = True
            self.task.cancel()
        return self._left

    def leave(self) -> bool:
        """It has ended; whether it was cut and nobody else cancelled its task, which may go on. Once only."""
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
        is_cut, self._is_cut = self._is_cut, False
        return is_cut and self.task is not None and self.task.uncancel() <= self._before


class Uses:
    """The uses of one app, from a start of it to its stop."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inline: set[_Use] = set()
        self._over = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks) + len(self._inline)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which `end` cuts off.

        Raises:
            StoppedError: the app was stopped meanwhile, or before.
        """
        if self._over.is_set():
            work.close()
            raise self._stopped()
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await task
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if not self._over.is_set() or (own is not None and own.cancelling()):
                raise
            raise self._stopped() from None

    async def run_inline(self, work: Coroutine[Any, Any, T]) -> T:
        """The same in the caller's own task, which must be in no other use: cheaper, for streams of peers.

        Raises:
            StoppedError: as `run`.
        """
        if self._over.is_set():
            work.close()
            raise self._stopped()
        use = _Use(asyncio.current_task())
        self._inline.add(use)
        try:
            return await work
        except asyncio.CancelledError:
            if use.leave():
                raise self._stopped() from None
            raise
        finally:
            self._inline.discard(use)
            use.leave()

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Have `app` answer one request or WebSocket; a WebSocket that is open at the end is told so.

        Raises:
            StoppedError: the app was stopped meanwhile; whoever serves the request answers, or cuts it.
        """
        told = _Told(send)
        try:
            await self.run(_awaited(app, scope, receive, told.send))
        except StoppedError:
            if not (is_websocket(scope) and told.is_open):
                raise
            await told.close(str(self._stopped()))

    def _stopped(self) -> StoppedError:
        return StoppedError(f"app {self._app} was stopped")

    async def end(self, spared: asyncio.Task[Any] | None = None) -> None:
        """Cut off all that is under way but `spared`, and refuse what comes later; returns when it has ended."""
        self._over.set()
        ending: list[asyncio.Future[Any]] = [task for task in self._tasks if task is not spared]
        for task in ending:
            task.cancel()
        ending += [use.cut() for use in self._inline if use.task is not spared]
        await asyncio.gather(*ending, return_exceptions=True)


async def _awaited(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


class _Told:
    """What an application has told a WebSocket's peer so far."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_open = False

    async def send(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "websocket.accept":
            self.is_open = True
        elif message["type"] == "websocket.close":
            self.is_open = False

    async def close(self, reason: str) -> None:
        try:
            await self._send({"type": "websocket.close", "code": GOING_AWAY, "reason": reason})
        except BrokenStreamError:
            return  # it has left by itself
