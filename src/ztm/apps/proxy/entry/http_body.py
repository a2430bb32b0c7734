"""A plain request on its way to an origin: what the client sends, as the origin shall see it.

It reads from the client only as it is read itself, so that a slow origin holds the client back.
"""

import h11

from ztm.errors import BrokenStreamError, UsageError
from ztm.net.base import Meter, Stream


class MalformedBodyError(BrokenStreamError, UsageError):
    """The client's body is not well framed, or ended before it was whole."""

    status = 400


class Incoming:
    """One request of a client."""

    def __init__(self, client: Stream, connection: h11.Connection, request: h11.Request) -> None:
        self.client = client
        self.connection = connection
        self.request = request
        self.is_whole = False
        """Whether all of its body was read; what came behind it was put back then."""
        self._first = self._next()
        self.is_bodyless = self.is_whole and not self._first
        """Whether it could be sent again."""

    async def piece(self) -> bytes:
        """The next bytes of the body, ``b""`` at its end; cancelling it loses nothing.

        Raises:
            MalformedBodyError: it is not well framed.
            BrokenStreamError: the client is gone.
        """
        data, self._first = self._first, b""
        while not data and not self.is_whole:
            self.connection.receive_data(await self.client.read())
            data = self._next()
        return data

    def _next(self) -> bytes:
        """What is there of the body."""
        pieces = []
        try:
            while type(event := self.connection.next_event()) is h11.Data:
                pieces.append(bytes(event.data))
        except h11.RemoteProtocolError as error:
            raise MalformedBodyError(f"malformed request body: {error}") from error
        if type(event) is h11.EndOfMessage:
            self.is_whole = True
            self.client.unread(self.connection.trailing_data[0])
        return b"".join(pieces)


class Upload:
    """One request as it is sent to one origin; a `Source` of early bytes."""

    def __init__(self, incoming: Incoming, head: h11.Request, connection: h11.Connection, meter: Meter) -> None:
        self.connection = connection
        """Speaks to the origin."""
        self._meter = meter
        self._incoming = incoming
        self._head = connection.send(head) or b""
        self._is_ended = False

    @property
    def is_over(self) -> bool:
        """Whether the client is gone."""
        return self._incoming.client.is_over

    async def read(self) -> bytes:
        """The next bytes for the origin, ``b""`` at the end; cancelling it loses nothing.

        Raises:
            MalformedBodyError: the body is not well framed.
            BrokenStreamError: the client is gone.
        """
        if self._head and not self._incoming.is_whole:
            out = self._take_head()  # without waiting for more: the origin may have to say that it wants it
        else:
            out = await self._rest()
        self._meter.sent += len(out)
        return out

    async def _rest(self) -> bytes:
        out = b""
        while not out and not self._is_ended:
            data = await self._incoming.piece()
            out = self._take_head()
            self._is_ended = not data
            out += self.connection.send(h11.Data(data=data) if data else h11.EndOfMessage()) or b""
        return out

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head
