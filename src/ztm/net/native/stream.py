"""A stream whose bytes wait outside Python, until they are read here or joined with another stream over there.

Python asks for an event only where somebody waits: a reader for bytes, a writer for room, an owner for the end.
"""

from functools import partial

from ztm_native import OVER, READABLE, READY, ROOM
from ztm_native import Stream as Handle

from ztm.errors import BrokenStreamError
from ztm.net.flow import FlowStream, Outlet, wake
from ztm.net.native.plane import Plane

HIGH = 256 << 10
"""Bytes handed to an outlet and not credited by it, after which it is handed no more."""
LOW = 64 << 10
TURN = 1 << 20
"""Bytes handed to an outlet in one turn of the loop, so that others get theirs."""


class NativeStream(FlowStream):
    """The half that connections and exchanges have in common."""

    __slots__ = ("_feeder", "_is_held_back", "_lent", "_wanted", "handle", "plane")

    def __init__(self, plane: Plane, handle: Handle) -> None:
        super().__init__()
        self.plane = plane
        self.handle = handle
        self._wanted = 0
        """Bits of the events that were asked for and have not come."""
        self._lent = 0
        """Bytes that the outlet has taken and not given credit for; the core has given it as they were taken there."""
        self._is_held_back = False
        """The outlet has more than it should, and is handed the next bytes once it has less."""
        self._feeder: NativeStream | None = None
        """The stream that the core pipes into this one: a cut of that one is a cut of this."""

    # ------------------------------------------------------------------ facts

    @property
    def is_over(self) -> bool:
        """Whether both directions have ended or the stream was cut."""
        return self._ended or self.handle.is_over

    @property
    def is_finished(self) -> bool:
        """Whether the peer has ended its side."""
        return self._finished or self.handle.is_finished

    @property
    def broken_by(self) -> str | None:
        """Why the stream was cut; None while it was not."""
        return self._reason if self._reason is not None else self.handle.broken_by

    @property
    def is_leaving(self) -> bool:
        """Whether it was ended in order, and bytes wait that the kernel has not taken yet."""
        return self.handle.is_leaving

    @property
    def is_free(self) -> bool:
        """Whether its bytes wait in the core, as nobody in Python takes them as they come."""
        return self._outlet is None

    # ------------------------------------------------------------------ events

    def want(self, bits: int) -> None:
        """Hear once of each of `bits`, soon if it is so already. Until then the stream is kept."""
        self._wanted |= bits
        self.plane.waiting[self.handle.token] = self
        came = 0
        while left := bits & ~came:
            now = self.handle.watch(left)
            if not now:
                break
            came |= now
        if came:
            self.plane.loop.call_soon(self.happened, READY, came)

    def _is_so(self, bit: int) -> bool:
        """Whether that has come already; where not, an event will tell, as after `want`."""
        if self.handle.watch(bit):
            return True
        self._wanted |= bit
        self.plane.waiting[self.handle.token] = self
        return False

    def happened(self, _kind: int, bits: int) -> None:
        """Some of what was wanted has come."""
        bits &= self._wanted
        self._wanted &= ~bits
        if not self._wanted:
            self.plane.waiting.pop(self.handle.token, None)
        if bits & ROOM and self._owed:
            self.was_taken(self._owed)
        if bits & READABLE:
            if self._outlet is not None:
                self._draw()
            else:
                wake(self._reader)
        if bits & OVER:
            self._is_done()

    def hold(self) -> None:
        """Keep the stream, and hear of its end, until both directions are over."""
        if not self._wanted & OVER and not self._ended:
            self.want(OVER)

    def give_up(self) -> None:
        """See `plane.Waiting`."""
        self.handle.abort("its event loop is no more")

    def _is_done(self, *, is_second_look: bool = False) -> None:
        """Both directions are over; what the peer sent before an end in order may still wait to be read."""
        if self._ended:
            return
        reason = self.handle.broken_by
        if reason is not None:
            self._was_cut(reason)
        elif not self.is_finished:
            if is_second_look:
                self._was_cut("")
            else:  # another thread is about to say why it cuts the stream
                self.plane.loop.call_soon(partial(self._is_done, is_second_look=True))
        elif self._outlet is None or self._finished:
            self._settle()
            self._let_go()

    def _was_cut(self, reason: str) -> None:
        """The stream was cut, and not by a call of its user."""
        self.broken(reason)

    def _check_over(self) -> None:
        if not self._ended and self.handle.is_over:
            self._is_done()

    def _settle(self) -> None:
        super()._settle()
        self._feeder = None
        self._wanted = 0
        self.plane.waiting.pop(self.handle.token, None)

    # ------------------------------------------------------------------ for FlowStream

    def _transmit(self, data: bytes) -> int:
        self.plane.schedule()
        if type(data) is not bytes:
            data = bytes(data)  # parsers hand on views and arrays, which may change; the core takes what cannot
        if self.handle.send(data):
            return len(data)
        self.want(ROOM)
        return 0

    def _credit(self, size: int) -> None:
        self._lent -= size
        if self._is_held_back and self._lent <= LOW:
            self._is_held_back = False
            self.want(READABLE)

    def _end(self) -> None:
        self.handle.end()
        self.plane.schedule()
        self.hold()

    def _abort(self, reason: str) -> None:
        self.handle.abort(reason or "cut by this side")
        self.plane.schedule()

    # ------------------------------------------------------------------ for users: push

    def attach(self, outlet: Outlet) -> None:
        """Hand all that waits, and all that comes from now on, to `outlet`."""
        self._outlet = outlet
        if self._finished:
            outlet.finish()
        if self._reason is not None:
            outlet.broke(self._reason)
            return
        if not self._finished:
            self._draw()
        self.hold()

    def _draw(self) -> None:
        """Hand on what waits, as far as the outlet has room."""
        drawn = 0
        while self._outlet is not None:
            if self._lent >= HIGH:
                self._is_held_back = True
                return
            data = self.handle.take() if drawn < TURN else None
            if data is None:
                reason = self.handle.broken_by
                if reason is not None:
                    self._was_cut(reason)
                elif not self._finished:
                    self.want(READABLE)
                return
            if not data:
                self.finished()
                return
            drawn += len(data)
            self._lent += len(data)
            self.plane.schedule()  # taking them gave credit
            self.arrived(data)

    # ------------------------------------------------------------------ for users: await

    async def read(self) -> bytes:
        """The next bytes, or ``b""`` at the peer's end; see `net.base.Stream`."""
        while True:
            data = self.handle.take()
            if data:
                self.plane.schedule()  # taking them gave credit
                return data
            if data is not None or self._finished:
                self._finished = True  # also when it is cut later: the peer's side is whole
                return b""
            self._check_whole()
            if self._is_so(READABLE):
                continue
            self._reader = self.plane.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def unread(self, data: bytes) -> None:
        """Put `data` back in front; its credit stays given."""
        if data:
            self.handle.unread(bytes(data))

    async def write(self, data: bytes) -> None:
        """Send `data` and wait for room; see `net.base.Stream`."""
        self._check_whole()
        self.send(data)
        while self._owed > 0 and not self._ended:
            self._room = self.plane.loop.create_future()
            try:
                await self._room  # `_transmit` has asked for the event
            finally:
                self._room = None
        self._check_whole()

    def abort(self, reason: str = "") -> None:
        """Cut both directions at once."""
        if not self.is_over:
            super().abort(reason)

    async def ended(self) -> None:
        """Wait until both directions are over."""
        if not self.is_over:
            self.hold()
            await super().ended()

    # ------------------------------------------------------------------ joined in the core

    def feed(self, source: "NativeStream") -> None:
        """The core pipes `source` into this one from now on."""
        self._feeder = source

    def _check_whole(self) -> None:
        reason = self.broken_by
        if reason is not None:
            raise BrokenStreamError(reason)
