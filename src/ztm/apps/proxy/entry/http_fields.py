"""What a proxy changes in the head of a request or an answer before it goes on, pure.

It parses no messages (h11 does) and changes nothing but what belongs to one hop alone.

Source: RFC 9110 section 7.6.1; RFC 9112 section 3.2.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterable
from typing import NamedTuple

import h11

from ztm.apps.proxy.entry.destination import Destination
from ztm.errors import UsageError

Fields = list[tuple[bytes, bytes]]

_OF_HOP = frozenset((b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))
_OF_PROXY = b"proxy-"
"""Proxy-Authorization, Proxy-Connection and their like."""
_NEVER_OF_HOP = frozenset((b"host", b"content-length", b"authorization", b"cookie"))
"""What Connection may not name: taken away, these would make another message of it."""
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Safe methods (RFC 9110 section 9.2.1): one more time does no harm."""
HTTP_PORT = 80


class NoSuchSchemeError(UsageError):
    """The target's scheme is not one that this proxy can speak for a client."""

    status = 501


class Target(NamedTuple):
    """What the absolute form of a request-target says."""

    destination: Destination
    authority: bytes
    """What the origin is told as Host."""
    path: bytes
    """The origin form."""


def target_of(request: h11.Request) -> Target:
    """Read the target of a request to a proxy.

    Raises:
        UsageError: it is not in absolute form, or malformed.
        NoSuchSchemeError: it is not of ``http``.
    """
    scheme, found, rest = request.target.partition(b"://")
    if not found or not scheme.isalnum():
        raise UsageError("this is a proxy: it takes requests for http://..., and CONNECT; not for itself")
    if scheme.lower() != b"http":
        raise NoSuchSchemeError(f"the proxy does not speak {scheme.decode()[:20]} for you: ask by CONNECT")
    end = min((at for at in map(rest.find, (b"/", b"?", b"#")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:].partition(b"#")[0]
    if not path.startswith(b"/"):
        path = b"*" if not path and request.method == b"OPTIONS" else b"/" + path  # RFC 9112 section 3.2.4
    return Target(Destination.parse(authority.decode("ascii"), HTTP_PORT), authority, path)


def request_fields(request: h11.Request, authority: bytes) -> Fields:
    """The fields with which a request goes on to the origin.

    Raises:
        UsageError: it says in two ways where its body ends.
    """
    names = [name for name, _ in request.headers]
    is_chunked = b"transfer-encoding" in names
    if is_chunked and b"content-length" in names:  # RFC 9112 section 6.1: an attempt to smuggle
        raise UsageError("a request with both content-length and transfer-encoding")
    kept = [(b"Host", authority), *_end_to_end(request.headers)]
    if is_chunked:
        kept.append((b"Transfer-Encoding", b"chunked"))
    if asks_for_websocket(request):
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    return kept


def answer_fields(answer: h11.Response | h11.InformationalResponse) -> Fields:
    """The fields with which an answer goes on to the client; how its body ends is for the sender to say again."""
    kept = _end_to_end(answer.headers)
    if answer.status_code == 101:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    elif any(name == b"transfer-encoding" for name, _ in answer.headers):
        kept = [field for field in kept if field[0].lower() != b"content-length"]
    return kept


def asks_for_websocket(request: h11.Request) -> bool:
    """Whether this is the handshake of a WebSocket (RFC 6455 section 4.1); other upgrades are not passed on."""
    words = {word.lower() for word in _words(request.headers, b"upgrade")}
    return request.method == b"GET" and words == {b"websocket"} and b"upgrade" in _words(request.headers, b"connection")


def may_repeat(request: h11.Request) -> bool:
    """Whether a request without a body may be sent again when it is not known whether it arrived."""
    return request.method in _REPEATABLE


def login_of(request: h11.Request) -> tuple[str, str] | None:
    """The user name and password that a request shows to the proxy; None without. Source: RFC 7617."""
    for name, value in request.headers:
        if name != b"proxy-authorization":
            continue
        kind, _, word = value.partition(b" ")
        try:
            user, colon, password = b64decode(word.strip(), validate=True).partition(b":")
        except binascii.Error:
            return None
        if kind.lower() != b"basic" or not colon:
            return None
        return user.decode("utf-8", "surrogateescape"), password.decode("utf-8", "surrogateescape")
    return None


def _end_to_end(headers: h11._headers.Headers) -> Fields:
    named = set(_words(headers, b"connection")) - _NEVER_OF_HOP
    drop = _OF_HOP | named | {b"host"}
    return [
        (raw, value)
        for (name, value), (raw, _) in zip(headers, headers.raw_items(), strict=True)
        if name not in drop and not name.startswith(_OF_PROXY)
    ]


def _words(headers: Iterable[tuple[bytes, bytes]], field: bytes) -> list[bytes]:
    """The words of a list that `field` holds, in lower case."""
    lists = (value for name, value in headers if name == field)
    return [word.strip().lower() for value in lists for word in value.split(b",") if word.strip()]
