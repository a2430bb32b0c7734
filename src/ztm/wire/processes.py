"""What an agent and the process of an app by others say to each other: paths, header fields, the first message.

Both speak HTTP/2 over two socket pairs. On the first the agent asks (`USER` to `ACCEPTED`), on the second the app
does (`ENDPOINTS` to `LISTEN`). Here is only the form; nothing is decided, read or written.
"""

from collections.abc import Iterable
from urllib.parse import quote, unquote

import msgspec

from ztm.errors import UsageError
from ztm.model import Peer

READY = "/ready"
"""Answered once the app has started; the body is a `Ready`."""
ALIVE = "/alive"
"""Answered by the event loop itself: the heartbeat."""
USER = "/user"
"""Below it: requests of the local user."""
PEER = "/peer"
"""Below it: requests of other endpoints, with the verified peer in header fields."""
SELF = "/self"
"""Below it: requests of other apps of the same endpoint."""
CLI = "/cli"
"""CONNECT: a command, in console frames; `CALL` says which."""
ACCEPTED = "/accepted"
"""CONNECT ``/accepted/{id}``: a connection that was accepted on a port the app listens on."""

ENDPOINTS = "/endpoints"
USERS = "/users"
MESH = "/mesh"
"""``/mesh/{endpoint}/...``: the same app there, by any method; CONNECT for a stream."""
ASK = "/ask"
"""``/ask/{provider}/{name}/...``: another app here."""
FILES = "/files"
"""``/files/local/...``, ``/files/users/{owner}/...``, ``/files/shared/...``; GET ``/files`` lists."""
LISTEN = "/listen"
"""CONNECT ``/listen?id=&host=&port=``: the port is open as long as the stream is."""

PREFIX = "ztm-app-"
"""Header fields that only agent and process set; what others send is dropped."""
ROOT = "ztm-app-root"
"""Path below which the app is mounted at whoever asks, percent-encoded."""
SOCKET = "ztm-app-websocket"
"""The request is a WebSocket, whose messages follow as frames; its subprotocols, separated by commas."""
CALL = "ztm-app-call"
"""A `CallRecord` in JSON, percent-encoded."""
ADDRESS = "ztm-app-address"
"""The address that was bound, or that a connection came from."""
FAILED = "ztm-app-failed"
"""In answers of the agent: the agent itself could not do it, the status is no other app's."""
RULE = "ztm-app-rule"
"""By which rule the app let a peer in or not; in its answers."""
_USER, _ENDPOINT, _IP, _PORT = (f"{PREFIX}peer-{part}" for part in ("user", "endpoint", "ip", "port"))

MAX_BODY = 8 << 20
"""Bytes of a body, each way, of what an app asks its agent."""
MAX_START = 256 << 10
"""Bytes of a `Start`."""
MAX_CALL = 32 << 10
"""Bytes of a `CallRecord`, so that it fits a head."""


class Start(msgspec.Struct, kw_only=True):
    """All that the process is told, on its standard input, before it does anything."""

    provider: str
    name: str
    mesh: str
    endpoint_id: str
    endpoint_name: str
    owner: str
    entry: str
    folder: str
    """The package: read-only."""
    data: str
    """The one directory that it may write to."""
    asked: int
    """File descriptor of the socket on which the agent asks."""
    asking: int
    """And of the one on which the app does."""
    agent: int
    """Process id of the agent."""
    permissions: list[str]
    memory_mb: int
    files: int
    kept: list[str]
    """Directories that must not be readable once the process has confined itself; it looks."""
    is_confined: bool
    """Whether it has to confine itself, or to end."""


class FileRecord(msgspec.Struct, frozen=True):
    """One of the app's files."""

    path: str
    """As the app names it: ``/local/...``, ``/users/{owner}/...`` or ``/shared/{user}/...``."""
    size: int = -1
    """In bytes; -1 where it is not known without reading (``/local``)."""
    time: float = 0.0
    """When it was written, in epoch seconds; 0 where that is not kept (``/local``)."""


class Ready(msgspec.Struct, kw_only=True):
    """How a start went."""

    error: str = ""
    """Why it failed; empty if it did not."""
    is_confined: bool = False
    routes: list[str] = []
    """``GET /api/x`` for the user, ``peer GET /x (owner)`` for peers, for people."""
    commands: list[str] = []


class CallRecord(msgspec.Struct, kw_only=True):
    """A command as it was typed; see `ztm.apps.command.Call`."""

    program: str
    words: list[str]
    directory: str
    endpoint_id: str
    endpoint_name: str
    environment: dict[str, str]
    columns: int = 0
    """Of the caller's terminal; 0 without one."""
    rows: int = 0
    is_typed: bool = True


def peer_headers(peer: Peer) -> list[tuple[str, str]]:
    """The header fields that tell who calls."""
    told = ((_USER, peer.user), (_ENDPOINT, peer.endpoint), (_IP, peer.ip), (_PORT, str(peer.port)))
    return [(name, quote(value, safe="")) for name, value in told]


def peer_of(headers: Iterable[tuple[bytes, bytes]]) -> Peer:
    """Who calls, as those header fields tell.

    Raises:
        UsageError: one is missing or malformed.
    """
    told = {name.decode("latin-1"): unquote(value.decode("latin-1")) for name, value in headers}
    try:
        return Peer(told[_USER], told[_ENDPOINT], told[_IP], int(told[_PORT]))
    except (KeyError, ValueError) as error:
        raise UsageError(f"a peer's request without the peer: {error}") from error


def encode_call(call: CallRecord) -> str:
    """A header field's value.

    Raises:
        UsageError: it is too long.
    """
    text = quote(msgspec.json.encode(call), safe="")
    if len(text) > MAX_CALL:
        raise UsageError(f"the command line is too long for an app: {len(text)} bytes of at most {MAX_CALL}")
    return text


def decode_call(text: str) -> CallRecord:
    """The command of a header field.

    Raises:
        UsageError: it is none.
    """
    try:
        return msgspec.json.decode(unquote(text), type=CallRecord)
    except msgspec.DecodeError as error:
        raise UsageError(f"not a command: {error}") from error
