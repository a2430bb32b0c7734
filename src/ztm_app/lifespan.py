"""An ASGI application's own start and end. Source: https://asgi.readthedocs.io, lifespan protocol 2.0."""

import asyncio
import contextlib
import logging
from typing import Any

from ztm.errors import ConflictError
from ztm.net.scope import ASGIApp, Message


class Lifespan:
    """Runs the lifespan of one application; one that knows of none is left alone."""

    def __init__(self, app: ASGIApp, log: logging.Logger) -> None:
        self._app = app
        self._log = log
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._told: asyncio.Future[Message | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}
        """What it keeps for its requests, as ``scope["state"]``."""

    async def start(self) -> None:
        """Have it start.

        Raises:
            ConflictError: it says that it cannot.
        """
        self._task = asyncio.get_running_loop().create_task(self._run())
        told = await self._ask("lifespan.startup")
        if told is not None and told["type"] == "lifespan.startup.failed":
            raise ConflictError(f"the application does not start: {told.get('message') or 'it does not say why'}")

    async def stop(self) -> None:
        """Have it end."""
        if self._task is None:
            return
        if not self._task.done():
            await self._ask("lifespan.shutdown")
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _ask(self, kind: str) -> Message | None:
        """What it answers to an event; None if it takes none."""
        self._told = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": kind})
        return await self._told

    async def _run(self) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        try:
            await self._app({"type": "lifespan", "asgi": asgi, "state": self.state}, self._events.get, self._send)
        except Exception as error:  # the protocol: an application without a lifespan raises
            self._log.debug("the application has no lifespan: %r", error)
        finally:
            self._tell(None)

    async def _send(self, message: Message) -> None:
        self._tell(message)

    def _tell(self, message: Message | None) -> None:
        if self._told is not None and not self._told.done():
            self._told.set_result(message)
