"""The body of one HTTP/1.1 request, read from the stream only as the application asks for it.

It judges framing and size, and nothing of the content; what came behind the body is put back.
"""

from collections import deque

import h11

from ztm.errors import TooLargeError, UsageError
from ztm.net.base import Stream
from ztm.net.scope import Message


class RequestBody:
    """One body; `receive` is what the application is given."""

    def __init__(self, connection: h11.Connection, stream: Stream, limit: int) -> None:
        self._connection = connection
        self._stream = stream
        self._limit = limit
        self._taken = 0
        self._pending: deque[bytes] = deque()
        self._is_told = False
        self._is_complete = False

    def is_too_large(self, request: h11.Request) -> bool:
        """Whether the request announces more than the bound."""
        declared = next((value for name, value in request.headers if name == b"content-length"), b"0")
        return bool(self._limit) and int(declared) > self._limit

    async def receive(self) -> Message:
        """The ASGI `receive`.

        Raises:
            TooLargeError: the body exceeds the bound.
            UsageError: it is not well framed.
            BrokenStreamError: the stream was cut.
        """
        if self._is_told:
            await self._gone()
            return {"type": "http.disconnect"}
        self._parse()
        if not self._pending and not self._is_complete and not await self._more():
            return {"type": "http.disconnect"}
        data = self._pending.popleft() if self._pending else b""
        self._taken += len(data)
        if self._limit and self._taken > self._limit:
            raise TooLargeError(f"the body is larger than {self._limit} bytes")
        self._is_told = self._is_complete and not self._pending
        return {"type": "http.request", "body": data, "more_body": not self._is_told}

    def is_complete(self) -> bool:
        """Whether all of it has been received, read or not."""
        try:
            self._parse()
        except UsageError:
            return False
        return self._is_complete

    def give_back(self) -> bool:
        """Put back what came behind the body; whether the body was complete, so that a request may follow."""
        rest = self._connection.trailing_data[0]
        if rest:
            self._stream.unread(rest)
        return self._is_complete

    async def _more(self) -> bool:
        """Read until there is something to tell; False when the peer has ended its side instead."""
        waiting = self._connection.they_are_waiting_for_100_continue
        if waiting and self._connection.our_state is h11.SEND_RESPONSE:
            go_on = h11.InformationalResponse(status_code=100, reason=b"Continue", headers=[])
            self._stream.write_now(self._connection.send(go_on))
        while not self._pending and not self._is_complete:
            data = await self._stream.read()
            if not data:
                return False
            self._connection.receive_data(data)
            self._parse()
        return True

    def _parse(self) -> None:
        """Move what has been received into `_pending`."""
        try:
            while not self._is_complete:
                event = self._connection.next_event()
                if isinstance(event, h11.Data):
                    self._pending.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._is_complete = True
                else:
                    return
        except h11.RemoteProtocolError as error:
            raise UsageError(f"malformed request body: {error}") from error

    async def _gone(self) -> None:
        """Wait until the caller is gone."""
        if not self._connection.trailing_data[0]:
            data = await self._stream.read()
            if not data:
                return
            self._connection.receive_data(data)  # kept as the beginning of the next request
        await self._stream.ended()
