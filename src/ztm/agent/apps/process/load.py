"""How much of the agent's memory the bodies and messages of one app take while they are under way.

What would be too much is refused at once, and nobody waits: who waits for room that the app never gives back would do
so for ever. It knows no other app and bounds no streams, which carry their bytes without keeping them.
"""

from types import TracebackType
from typing import Self

from ztm.errors import LimitError
from ztm.net.scope import ASGIApp, Message, Receive, Scope, Send

PIECE = 128
"""Bytes that a piece of a body costs besides its own, so that countless small ones are bounded too."""


class Load:
    """Shared by all that one app has under way."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0
        """Bytes now."""

    def part(self) -> "Part":
        """Room for one thing, none of which is taken yet; as a context manager it is given back."""
        return Part(self)

    def change(self, by: int) -> None:
        """Take or give back so many bytes.

        Raises:
            LimitError: they would be too many; none is taken.
        """
        if by > 0 and self.held + by > self._most:
            raise LimitError(
                f"the app would have more than {self._most >> 20} MiB under way to and from the agent: let it send and "
                "read to the end first what it began"
            )
        self.held += by


class Part:
    """The room of one body, answer or message."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.size = 0
        """Bytes that it takes."""

    def become(self, size: int) -> None:
        """Take so many bytes from now on.

        Raises:
            LimitError: they would be too many.
        """
        self._load.change(size - self.size)
        self.size = size

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Give all of it back."""
        self.become(0)


def loaded(app: ASGIApp, load: Load) -> ASGIApp:
    """`app` with what it receives and sends counted in `load`: a body until its request is done with, an answer until
    it is on its way.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        with load.part() as taken, load.part() as given:

            async def received() -> Message:
                message = await receive()
                body = message.get("body", b"")
                if body:
                    taken.become(taken.size + len(body) + PIECE)
                return message

            async def sent(message: Message) -> None:
                given.become(len(message.get("body", b"")))
                await send(message)
                given.become(0)

            refused = ""
            try:
                await app(scope, received, sent)
            except LimitError as error:
                refused = str(error)
        if refused:  # anew: the first one's frames keep what was refused, for as long as somebody is told of it
            raise LimitError(refused)

    return serve
