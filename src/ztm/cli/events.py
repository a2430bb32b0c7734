"""The agent's live events, as commands that go on for a while read them.

They are read in the background, so that a command can wait for the next one for a time of its own choosing. What an
event means is not judged here.

Source: server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import contextlib
import http.client
import json
import queue
import socket
from collections.abc import Iterator, Sequence
from threading import Thread
from types import TracebackType
from typing import Any, Self

from ztm.cli.client import AgentClient
from ztm.cli.talk import Opened
from ztm.errors import BrokenStreamError
from ztm.wire.paths import encode

WAITING = 256
"""Events that may wait for the command; further ones wait in the agent, which bounds them too."""
MAX_LINE = 64 << 10
"""Bytes of one line; an event is far smaller."""


class Events:
    """Events of some types, of one mesh or of all; a context manager.

    Raises:
        NotFoundError: the agent has no events (v1's have none).
        LimitError: it has too many readers already.
        ZtmError: as `AgentClient.request`.
    """

    def __init__(self, client: AgentClient, types: Sequence[str], mesh: str = "") -> None:
        named = f"&mesh={encode(mesh)}" if mesh else ""
        self._opened = client.open(f"/api/events?types={','.join(types)}{named}")
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._is_closed = False
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next event; None when none came within `timeout` seconds.

        Raises:
            BrokenStreamError: the agent has ended them.
        """
        try:
            event = self._queue.get(timeout=max(timeout, 0.0))
        except queue.Empty:
            return None
        if event is None:
            self._queue.put(None)
            raise BrokenStreamError("the agent has ended its events")
        return event

    def close(self) -> None:
        """Want no more. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._opened.socket.shutdown(socket.SHUT_RDWR)
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.01)
        self._opened.close()

    def _read(self) -> None:
        for event in _events(self._opened):
            if self._is_closed:
                return
            self._queue.put(event)
        self._queue.put(None)


def _events(opened: Opened) -> Iterator[dict[str, Any]]:
    """Every event until the stream ends; its data is JSON in one line."""
    while True:
        try:
            line = opened.response.readline(MAX_LINE)
        except (OSError, ValueError, http.client.HTTPException):
            return
        if not line:
            return
        if line.startswith(b"data:"):
            try:
                event = json.loads(line[5:])
            except ValueError:
                return
            if isinstance(event, dict):
                yield event
