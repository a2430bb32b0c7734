"""The network as everyone above sees it: the narrow seam that every implementation fills.

`aio` is the portable implementation, `ztm.testing` has one on virtual time, and a native one can be put
here without touching anything above. The rules that all of them keep are in `tests/contract`.

Back-pressure is by consumption everywhere: credit goes back to a sender when the next hop has taken the
bytes, not when they arrive. Nothing here decides who may talk to whom.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ztm.model import Address, Identity

Headers = Sequence[tuple[str, str]]
"""Header fields in order, names in lower case, pseudo-headers included (RFC 9113 section 8.3)."""

MAX_HELD = 2 << 20
"""Bytes that one process may hold for one stalled stream, each way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """One side's credentials of a mesh. All texts are PEM; there is no way to leave the CA out."""

    ca: str
    certificate: str
    key: str = field(repr=False)
    admit: Callable[[Identity], str | None] = lambda _identity: None
    """Called with each verified peer; a text refuses it and is the reason. Must not block."""
    groups: str = ""
    """Key exchanges that are offered and taken, and no other, by colons (``ML-KEM-768``); empty for the usual ones.

    A network that cannot keep to them refuses this configuration with a `CertificateError`."""


class Count(Protocol):
    """A number of bytes that grows by itself while somebody else carries them."""

    @property
    def bytes(self) -> int:
        """Bytes so far."""


class Meter:
    """Bytes carried so far, readable at any time: what was written here, and what it follows.

    Write (``meter.sent += n``) only while nothing is followed in that direction, as a followed count may grow
    between the reading and the writing.
    """

    __slots__ = ("_following_received", "_following_sent", "_received", "_sent")

    def __init__(self) -> None:
        self._sent = 0
        self._received = 0
        self._following_sent: Count | None = None
        self._following_received: Count | None = None

    @property
    def sent(self) -> int:
        """Bytes from the first stream to the second."""
        live = self._following_sent
        return self._sent if live is None else self._sent + live.bytes

    @sent.setter
    def sent(self, size: int) -> None:
        live = self._following_sent
        self._sent = size if live is None else size - live.bytes

    @property
    def received(self) -> int:
        """Bytes from the second stream to the first."""
        live = self._following_received
        return self._received if live is None else self._received + live.bytes

    @received.setter
    def received(self, size: int) -> None:
        live = self._following_received
        self._received = size if live is None else size - live.bytes

    def follow(self, sent: Count | None = None, received: Count | None = None) -> None:
        """Add `sent` and `received`, and all by which they grow; what was followed before stands still from now on."""
        if sent is not None:
            self._sent, self._following_sent = self.sent, sent
        if received is not None:
            self._received, self._following_received = self.received, received


class Stream(Protocol):
    """One two-way byte flow with half-close: a TCP connection, a TLS session or an HTTP/2 stream."""

    @property
    def identity(self) -> Identity | None:
        """The verified peer certificate of the session this stream is on; None without TLS."""

    @property
    def remote(self) -> Address | None:
        """Where the peer's TCP connection comes from, or goes to."""

    @property
    def local(self) -> Address | None:
        """The own end of that TCP connection."""

    @property
    def is_own(self) -> bool:
        """Whether TLS showed that the peer is of this implementation (ALPN, spec mesh-protocol 8.4)."""

    @property
    def is_over(self) -> bool:
        """Whether both directions have ended, in whichever way."""

    async def read(self) -> bytes:
        """The next bytes, or ``b""`` once the peer has ended its side. Taking them gives credit back.

        Raises:
            BrokenStreamError: the stream was cut.
        """

    def unread(self, data: bytes) -> None:
        """Put `data` back before everything not yet read; for parsers that read one byte too many."""

    async def write(self, data: bytes) -> None:
        """Send `data`; returns once there is room for more. Cancelling it does not unsend.

        Raises:
            BrokenStreamError: the stream was cut.
        """

    def write_now(self, data: bytes) -> None:
        """Queue `data` without waiting; for small heads that must leave together with what follows."""

    def end(self) -> None:
        """End the own side after what was written; the other direction goes on. Idempotent."""

    def abort(self, reason: str = "") -> None:
        """Cut both directions at once (TCP RST, HTTP/2 RST_STREAM). Idempotent."""

    async def ended(self) -> None:
        """Wait until both directions are over, in whichever way."""


class Exchange(Stream, Protocol):
    """An HTTP/2 stream seen as request and answer, with the body or CONNECT bytes as the stream itself."""

    @property
    def request(self) -> Headers:
        """The request's header fields, pseudo-headers first."""

    def respond(self, status: int, headers: Headers = (), *, end: bool = False) -> None:
        """Send the answer's head (accepting side). Bytes then flow by the stream's own methods."""

    async def response(self) -> tuple[int, Headers]:
        """The answer's head (opening side). Bytes may be written before it has come.

        Raises:
            BrokenStreamError: the stream ended without one.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """What one HTTP/2 session may cost its holder. Sizes are bytes, rates are per second.

    Going over a rate ends that session and no other. An excess stream is refused, and the session
    lives (v1 peers ignore MAX_CONCURRENT_STREAMS, spec mesh-protocol 4.1).
    """

    streams: int = 2048
    """Streams that the peer may have open at once."""
    held: int = 256 << 20
    """Received and not yet taken, over all streams; beyond it the session's own window is kept shut."""
    header_bytes: int = 64 << 10
    """Of one header block, all CONTINUATION frames together; v1 takes at least 20 kB."""
    resets: float = 500.0
    """RST_STREAM before an answer was given, with a burst of ten seconds' worth."""
    controls: float = 50.0
    """SETTINGS and PING frames each, with the same burst."""


class Session(Protocol):
    """One HTTP/2 connection over any stream, in either role."""

    @property
    def identity(self) -> Identity | None:
        """The verified peer of the underlying stream."""

    @property
    def remote(self) -> Address | None:
        """The peer's address on the underlying stream."""

    @property
    def is_open(self) -> bool:
        """Whether new streams may be tried."""

    @property
    def streams(self) -> int:
        """Streams now open, both ways."""

    @property
    def silence(self) -> float:
        """Seconds for which a PING has gone unanswered with nothing else heard; 0 while all is well."""

    @property
    def round_trip(self) -> float | None:
        """Seconds of the last answered PING, or None before the first."""

    def open(self, headers: Headers, *, end: bool = False) -> Exchange:
        """Start a stream at once; the head leaves together with what is written next.

        Raises:
            BrokenStreamError: the session is over.
        """

    def close(self, reason: str = "") -> None:
        """End the session and cut its streams. Idempotent."""

    async def closed(self) -> str:
        """Wait for the end; the reason, for people."""


class Listener(Protocol):
    """An open listening port."""

    @property
    def address(self) -> Address:
        """The address really bound, also when port 0 was asked for."""

    def renew(self, tls: TlsConfig) -> None:
        """Show another certificate of the same CA from the next handshake on.

        Raises:
            CertificateError: it is malformed.
        """

    async def close(self) -> None:
        """Stop accepting; accepted streams live on."""


class LocalListener(Protocol):
    """An open Unix socket."""

    async def close(self) -> None:
        """Stop accepting, and remove the socket's file; accepted streams live on."""


class Datagrams(Protocol):
    """An open UDP socket."""

    @property
    def address(self) -> Address:
        """The own address."""

    def send(self, data: bytes, to: Address | None = None) -> None:
        """Send one datagram (to the dialled address, or to `to`); may be lost, as UDP is."""

    def close(self) -> None:
        """Close the socket. Idempotent."""


class DatagramLimits(Protocol):
    """What one UDP session takes and waits for at most. Durations are seconds, sizes are bytes."""

    @property
    def idle_seconds(self) -> float:
        """After the last datagram either way, it is over."""

    @property
    def linger_seconds(self) -> float:
        """How long the other side of the stream may then take to end its side."""

    @property
    def queued_datagrams(self) -> int:
        """Datagrams from the socket while the stream takes nothing; what comes then is dropped."""

    @property
    def queued_bytes(self) -> int:
        """The same in bytes."""


class Relaying(Protocol):
    """One UDP session under way: datagrams of a socket on one side, frames on a stream on the other."""

    @property
    def taken(self) -> Count:
        """Bytes of datagrams from the socket; what is dropped is not counted."""

    @property
    def given(self) -> Count:
        """Bytes of datagrams to the socket."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is taken from the socket any more."""

    @property
    def silence(self) -> float:
        """Seconds since the socket's side was heard from last."""

    @property
    def ending(self) -> str:
        """What it was cut for, ``idle``, or an empty text if a side ended it, or while it goes on."""

    def abort(self, reason: str = "") -> None:
        """Cut the session and the stream. Idempotent."""

    async def ended(self) -> None:
        """Wait for the end; the stream has ended or was cut then. Cancelling it ends the session."""


Accept = Callable[[Stream], Awaitable[None]]
"""Owns an accepted stream; the stream is aborted if it raises, and ended when it returns."""
Answer = Callable[[Exchange], Awaitable[None]]
"""Owns an incoming HTTP/2 stream, under the same rule."""
Received = Callable[[bytes, Address], None]
"""Takes one datagram and its sender. Must not block."""


class Piping(Protocol):
    """A splice of which one direction has begun."""

    async def joined(self, meter: Meter | None = None) -> None:
        """Go on as `Network.splice`, with the other direction as well; counted in `meter.received`.

        Raises:
            BrokenStreamError: either stream was cut; the other then is cut as well.
        """


class Network(Protocol):
    """All that the mesh asks of the machine's network."""

    def now(self) -> float:
        """Seconds on a monotonic clock; virtual under simulation."""

    def wall(self) -> float:
        """Epoch seconds; virtual under simulation."""

    async def dial(self, address: Address, tls: TlsConfig | None = None, *, timeout: float = 10.0) -> Stream:
        """Open a TCP connection, with mutual TLS when `tls` is given.

        Raises:
            UnreachableError: nobody listens there, or the name does not resolve.
            DeadlineError: no answer within `timeout` seconds, TLS included.
            CertificateError: the peer showed no certificate of this CA, or `admit` refused it.
        """

    async def resolve(self, host: str, *, timeout: float = 5.0) -> list[str]:
        """The IP addresses that `host` leads to, each once, the first to try in front; an address is itself.

        Whoever decides by address resolves here, and then dials what it has decided on, never the name again.

        Raises:
            UnreachableError: the name does not resolve.
            DeadlineError: no answer within `timeout` seconds.
        """

    async def listen(
        self, address: Address, accept: Accept, tls: TlsConfig | None = None, *, handshakes: int = 256
    ) -> Listener:
        """Accept connections; each runs `accept` in a task of its own.

        TLS handshakes slower than ten seconds are cut, and at most `handshakes` run at once.

        Raises:
            ConflictError: the address is in use or is not ours.
        """

    async def listen_local(self, path: Path, accept: Accept, admit: Callable[[int], bool]) -> LocalListener:
        """Accept connections on a Unix socket of mode 0600; each runs `accept` in a task of its own.

        `admit` is called with the OS user id of each peer, as the kernel says it; False cuts the connection,
        and so does a kernel that does not say. A socket file that nobody answers at is replaced.

        Raises:
            ConflictError: somebody listens there, the path is something else, or there are no such sockets.
        """

    def session(
        self,
        stream: Stream,
        role: Literal["client", "server"],
        *,
        answer: Answer | None = None,
        limits: SessionLimits | None = None,
        own: bool = False,
    ) -> Session:
        """Speak HTTP/2 over `stream`. `own` says that the peer is of this implementation, so frames may
        be large and windows may grow. The session owns the stream from now on.
        """

    async def splice(self, a: Stream, b: Stream, meter: Meter | None = None) -> None:
        """Join two streams until both directions have ended, passing each end of file on.

        Cancelling it cuts both. Bytes that were read ahead and put back by `unread` go first.

        Raises:
            BrokenStreamError: either stream was cut; the other then is cut as well.
        """

    def pipe(self, source: Stream, sink: Stream, meter: Meter | None = None) -> Piping:
        """Begin a splice with one direction, before anything may go the other way; counted in `meter.sent`."""

    async def listen_datagrams(self, address: Address, received: Received) -> Datagrams:
        """Open a UDP port.

        Raises:
            ConflictError: the address is in use or is not ours.
        """

    async def dial_datagrams(self, address: Address, received: Received) -> Datagrams:
        """Open a UDP socket that talks to one address.

        Raises:
            UnreachableError: the name does not resolve.
        """

    def relay(
        self,
        socket: Datagrams,
        peer: Address | None,
        stream: Stream,
        limits: DatagramLimits,
        early: Sequence[bytes] = (),
    ) -> Relaying:
        """Carry datagrams of `peer` (None: of the dialled address) as frames on `stream`, and back.

        They come to it instead of to the socket's `received`, until it is over; `early` came before and goes first,
        uncounted. Whoever calls it awaits `Relaying.ended` at once. It ends when either side of the stream does, when
        nothing came either way for `limits.idle_seconds`, or when the stream is no stream of frames.
        """
