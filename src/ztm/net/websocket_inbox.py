"""What came by a WebSocket and waits for its application: bounded, and with how it ended behind the last message.

It knows no frames; whoever fills it stops reading while it is full.
"""

import asyncio
from collections import deque

from ztm.net.websocket_frames import Closed

HELD = 64 << 10
"""Bytes of whole messages that may wait for the application; beyond it the peer is not read."""
OVERHEAD = 128
"""Bytes that a waiting message costs besides its own, so that a flood of empty ones is bounded too."""


class Inbox:
    """The messages of one WebSocket, in order."""

    def __init__(self) -> None:
        self._messages: deque[str | bytes] = deque()
        self._held = 0
        self._is_shut = False
        self._end: Closed | None = None
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self._end is not None

    async def put(self, message: str | bytes) -> None:
        """Add a message; returns once there is room for another."""
        if self._is_shut:
            return
        self._messages.append(message)
        self._held += len(message) + OVERHEAD
        self._filled.set()
        while self._held > HELD:
            self._emptied.clear()
            await self._emptied.wait()

    async def take(self) -> str | bytes | Closed:
        """The next message, or the end."""
        while not self._messages:
            if self._end is not None:
                return self._end
            self._filled.clear()
            await self._filled.wait()
        message = self._messages.popleft()
        self._held -= len(message) + OVERHEAD
        self._emptied.set()
        return message

    def end(self, end: Closed) -> None:
        """Nothing more comes."""
        self._end = self._end or end
        self._filled.set()

    def shut(self) -> None:
        """The application wants nothing more."""
        self._is_shut = True
        self._messages.clear()
        self._held = 0
        self._emptied.set()
