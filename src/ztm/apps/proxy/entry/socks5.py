"""The messages of SOCKS5, pure: bytes of a client in, what it said out; and the bytes of our answers.

It does no I/O and looks no further than the one message it is asked for.

Source: RFC 1928; RFC 1929 for user names and passwords.
"""

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

VERSION = 5
LOGIN_VERSION = 1
NO_LOGIN, PASSWORD, NO_METHOD = 0, 2, 0xFF
CONNECT, BIND, ASSOCIATE = 1, 2, 3
IPV4, NAME, IPV6 = 1, 3, 4


class Reply(IntEnum):
    """The second byte of an answer to a request (RFC 1928 section 6)."""

    DONE = 0
    FAILED = 1
    FORBIDDEN = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    LATE = 6
    """``TTL expired``: what clients know as a time-out."""
    NO_COMMAND = 7
    NO_ADDRESS = 8


class MalformedError(Exception):
    """What came is no such message; `answer` is what the client is told, before the connection ends."""

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


class Greeting(NamedTuple):
    """The methods by which a client would prove who it is."""

    methods: bytes


class Login(NamedTuple):
    """A user name and a password, as bytes of whichever encoding."""

    user: str
    password: str


class Request(NamedTuple):
    """What a client wants, and of whom; the host is not checked."""

    command: int
    host: str
    port: int


def greeting(data: bytes) -> tuple[Greeting, int] | None:
    """The greeting that `data` begins with, and its size; None while it is not whole.

    Raises:
        MalformedError: it is none.
    """
    if data and data[0] != VERSION:
        raise MalformedError("a greeting of another version")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    size = 2 + data[1]
    return Greeting(data[2:size]), size


def login(data: bytes) -> tuple[Login, int] | None:
    """The same for a user name and password.

    Raises:
        MalformedError: it is none.
    """
    if data and data[0] != LOGIN_VERSION:
        raise MalformedError("a login of another version", login_answer(is_right=False))
    if len(data) < 2:
        return None
    middle = 2 + data[1]
    if len(data) <= middle or len(data) < (size := middle + 1 + data[middle]):
        return None
    user, password = data[2:middle], data[middle + 1 : size]
    return Login(user.decode("utf-8", "surrogateescape"), password.decode("utf-8", "surrogateescape")), size


def request(data: bytes) -> tuple[Request, int] | None:
    """The same for a request.

    Raises:
        MalformedError: it is none, or its kind of address is unknown.
    """
    if data and data[0] != VERSION:
        raise MalformedError("a request of another version", answer(Reply.FAILED))
    if len(data) < 4:
        return None
    try:
        found = address(data, 3)
    except ValueError as error:
        raise MalformedError(str(error), answer(Reply.NO_ADDRESS)) from None
    return None if found is None else (Request(data[1], found[0], found[1]), found[2])


def address(data: bytes, at: int) -> tuple[str, int, int] | None:
    """Host, port and end of the address that begins at `at` with its kind; None while it is not whole.

    Raises:
        ValueError: its kind is unknown.
    """
    kind, at = data[at], at + 1
    if kind == NAME:
        if len(data) <= at:
            return None
        at, size = at + 1, data[at]
    elif kind in (IPV4, IPV6):
        size = 4 if kind == IPV4 else 16
    else:
        raise ValueError(f"an unknown kind of address, {kind}")
    end = at + size
    if len(data) < end + 2:
        return None
    raw = data[at:end]
    host = (
        raw.decode("utf-8", "surrogateescape")
        if kind == NAME
        else str(IPv4Address(raw) if kind == IPV4 else IPv6Address(raw))
    )
    return host, int.from_bytes(data[end : end + 2], "big"), end + 2


def address_bytes(host: str, port: int) -> bytes:
    """`host` and `port` as `address` reads them."""
    try:
        ip = ip_address(host)
    except ValueError:
        name = host.encode("utf-8", "surrogateescape")
        return bytes((NAME, len(name))) + name + port.to_bytes(2, "big")
    return bytes((IPV4 if ip.version == 4 else IPV6,)) + ip.packed + port.to_bytes(2, "big")


def method_answer(method: int) -> bytes:
    """The answer to a greeting: the method chosen, or `NO_METHOD`."""
    return bytes((VERSION, method))


def login_answer(*, is_right: bool) -> bytes:
    """The answer to a user name and password."""
    return bytes((LOGIN_VERSION, 0 if is_right else 1))


def answer(reply: Reply, host: str = "0.0.0.0", port: int = 0) -> bytes:
    """The answer to a request; `host` and `port` are where we listen for the client, or no address where we do not."""
    return bytes((VERSION, reply, 0)) + address_bytes(host, port)
