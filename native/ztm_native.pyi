"""The native data plane: sockets, TLS, HTTP/2 and splices outside Python, on threads that never wait for it.

Python learns what happens from `Core.events`, which are to be taken whenever `Core.fileno()` is readable, and puts
orders by the calls below, none of which waits. What was queued leaves with `Core.flush`. `src/ztm/net/native` makes
the network seam (`ztm.net.base`) of it.
"""

from collections.abc import Sequence
from typing import final

ACCEPTED: int
"""Event of a `Listener`: a connection (with TLS: after its handshake). The detail is its `Stream`."""
DIALLED: int
"""Event of a dial: the detail is the `Stream`, or a `Failure`."""
REQUEST: int
"""Event of a `Session`: the peer opened a stream. The detail is its `Stream`; see `Stream.request`."""
CLOSED: int
"""Event of a `Session`: it is over. The detail is the reason, for people. Of a `Relay`: it is over; why, or empty."""
READY: int
"""Event of a `Stream`: what was watched for has come. The detail is an int, the bits of `Stream.watch`."""
DATAGRAM: int
"""Event of a `Datagrams`: the detail is `(bytes, host, port)`."""
UNACCEPTED: int
"""Event of a `Listener`: it cannot accept connections, and tries again; told once until it can. The detail says why."""

READABLE: int
"""`Stream.take` has bytes, the end, or a cut."""
ROOM: int
"""What Python has sent was taken but for a bounded rest, or the stream is over."""
ANSWERED: int
"""The head of the answer has come, or never will."""
OVER: int
"""Both directions are over, in whichever way."""

Fields = Sequence[tuple[str, str]]

@final
class Failure:
    """Why a dial or a handshake failed."""

    @property
    def kind(self) -> str:
        """`deadline`, `certificate`, or `unreachable`."""
    @property
    def errno(self) -> int:
        """The system's error number, or 0."""
    @property
    def text(self) -> str:
        """For people."""

@final
class Counter:
    """Bytes carried so far, readable at any time."""

    def __new__(cls) -> Counter: ...
    @property
    def bytes(self) -> int: ...

@final
class TlsContext:
    """Credentials of one side, made once and used for many connections.

    Raises:
        ValueError: the CA, certificate or key is malformed, they do not match, or a group is unknown.
    """

    def __new__(cls, ca: str, certificate: str, key: str, *, server: bool, groups: str = "") -> TlsContext:
        """`groups` are names of key exchanges as OpenSSL writes them, by colons; empty for the default."""

@final
class Stream:
    """A TCP connection, a TLS session or an HTTP/2 stream. Dropping one that carries nothing on cuts it."""

    @property
    def token(self) -> int:
        """Names it in events; never used again in a process."""
    @property
    def is_exchange(self) -> bool: ...
    @property
    def is_own(self) -> bool:
        """TLS showed by ALPN that the peer is of this implementation, or the session said so."""
    @property
    def is_over(self) -> bool: ...
    @property
    def is_finished(self) -> bool:
        """The peer has ended its side."""
    @property
    def is_leaving(self) -> bool:
        """It was ended or cut in order, and bytes wait that the kernel has not taken yet."""
    @property
    def broken_by(self) -> str | None:
        """Why it was cut; None while it was not."""
    def take_certificate(self) -> bytes | None:
        """The verified peer's certificate (DER) of a TLS connection, to whom asks first; None without TLS."""
    @property
    def remote(self) -> tuple[str, int] | None: ...
    @property
    def local(self) -> tuple[str, int] | None: ...
    def watch(self, bits: int) -> int:
        """Ask for one READY event with some of `bits`; returns those that are so already, and then asks for none."""
    def take(self) -> bytes | None:
        """The next bytes with their credit given back; `b""` at the peer's end, None if nothing is there now.

        A stream that was cut gives None; see `broken_by`. Bytes that came before an end or a cut come first, but a
        cut drops what was not taken.
        """
    def unread(self, data: bytes) -> None:
        """Put `data` in front of what waits; its credit stays given."""
    def send(self, data: bytes) -> bool:
        """Queue `data`; False when more is queued than should be: then wait for ROOM before sending more."""
    def end(self) -> None: ...
    def abort(self, reason: str) -> None: ...
    # HTTP/2 only:
    def request(self) -> list[tuple[str, str]]:
        """The fields of the request's head."""
    def respond(self, fields: Fields) -> None:
        """Send the answer's head, pseudo-header included."""
    def response(self) -> list[tuple[str, str]] | None:
        """The fields of the answer's head; None while there is none."""

@final
class Listener:
    @property
    def token(self) -> int: ...
    def renew(self, context: TlsContext) -> None: ...
    def close(self) -> None:
        """Accept no more; the addresses are free when it returns."""

@final
class Session:
    @property
    def token(self) -> int: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def reason(self) -> str | None:
        """Why it is over; None while it is not."""
    @property
    def streams(self) -> int: ...
    @property
    def held(self) -> int:
        """Received bytes that were not taken yet, over all streams."""
    @property
    def silence(self) -> float: ...
    @property
    def round_trip(self) -> float | None: ...
    def open(self, fields: Fields) -> Stream | None:
        """Start a stream; None when the session is over, or takes no more (then it is open still)."""
    def close(self, reason: str) -> None: ...

@final
class Datagrams:
    @property
    def token(self) -> int: ...
    @property
    def address(self) -> tuple[str, int]: ...
    def send(self, data: bytes, host: str | None = None, port: int = 0) -> None:
        """Send one datagram, or drop it."""
    def close(self) -> None: ...

@final
class Relay:
    """A UDP session under way; see `Core.relay`."""

    @property
    def token(self) -> int: ...
    @property
    def is_over(self) -> bool:
        """It takes no datagrams of the socket any more; their sender's next one is an event again."""
    @property
    def silence(self) -> float:
        """Seconds since the socket's side was heard from last."""
    @property
    def cut_for(self) -> str | None:
        """What the caller has to cut the stream for, once it is over; None if the stream ends by itself."""
    def stop(self) -> None:
        """Carry no more; the stream is left to the caller."""

@final
class Core:
    """The data plane of this process: its threads, sockets and the queue of events."""

    def __new__(cls, threads: int = 0) -> Core:
        """`threads` workers; 0 for as many as there are cores."""
    def fileno(self) -> int:
        """Readable while events wait."""
    def events(self) -> list[tuple[int, int, object]]:
        """All that has happened since the last call: `(token, kind, detail)` in order."""
    def flush(self) -> None:
        """Send what was queued by calls of this thread since the last flush."""
    def dial(self, host: str, port: int, context: TlsContext | None, timeout: float) -> int:
        """Connect to an IP address; the token of the DIALLED event. The timeout counts the TLS handshake in."""
    def adopt(self, fd: int, context: TlsContext | None, timeout: float) -> int:
        """The same with a socket that is connected already, which is owned from now on."""
    def listen(self, fds: list[int], context: TlsContext | None, handshakes: int, handshake_seconds: float) -> Listener:
        """Accept on sockets that listen, which are owned from now on."""
    def session(
        self,
        stream: Stream,
        *,
        server: bool,
        answers: bool,
        own: bool,
        streams: int,
        held: int,
        header_bytes: int,
        resets: float,
        controls: float,
    ) -> Session:
        """Speak HTTP/2 over `stream`; see `ztm.net.base.SessionLimits`. Without `answers` no stream is accepted."""
    def pipe(self, source: Stream, sink: Stream, counter: Counter | None) -> None:
        """Hand all that `source` receives to `sink`, in bytes, end and cut. For a splice pipe both ways, and watch both
        for OVER: a cut of either is a cut of the other then, for the same reason.
        """
    def datagrams(self, fd: int, connected: bool) -> Datagrams:
        """A UDP socket, which is owned from now on."""
    def relay(
        self,
        socket: Datagrams,
        host: str | None,
        port: int,
        stream: Stream,
        taken: Counter,
        given: Counter,
        *,
        early: Sequence[bytes],
        idle: float,
        linger: float,
        datagrams: int,
        bytes: int,
    ) -> Relay:
        """Carry datagrams of one sender (without `host`: of whom the socket is connected to) as frames on `stream`.

        It begins with `early`, which is not counted; `taken` counts bytes from the socket, `given` those to it. Those
        of the sender are no events until it is over: the stream was ended or cut by either side, or nothing came for
        `idle` seconds. Then the own side is ended, and the peer's is waited for, `linger` seconds at most.

        Raises:
            ValueError: `host` is no IP address, or the socket is not connected.
        """
    def close(self) -> None:
        """Stop the threads; what was sent on ended streams is handed to the kernel first."""
