"""What a client speaks, decided from its first bytes as soon as they can mean one thing only.

It reads nothing itself, and judges nothing behind the bytes that decide.
"""

from enum import Enum, auto


class Speech(Enum):
    """A protocol that a client may begin with."""

    HTTP = auto()
    """HTTP/1, well formed or not."""
    SOCKS4 = auto()
    SOCKS5 = auto()
    HTTP2 = auto()
    """Not served: HTTP/2 with prior knowledge."""
    TLS = auto()
    """Not served: TLS to the proxy itself."""
    UNKNOWN = auto()


HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""Source: RFC 9113 section 3.4."""
_TOLD_BY_FIRST = {0x04: Speech.SOCKS4, 0x05: Speech.SOCKS5, 0x16: Speech.TLS}
"""Version numbers of SOCKS, and the content type of a TLS handshake (RFC 8446 section 5.1)."""
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""What a method may consist of (RFC 9110 section 5.6.2)."""

TLS_ALERT = bytes((0x15, 3, 1, 0, 2, 2, 40))
"""The answer to a TLS hello: a fatal handshake_failure (RFC 8446 section 6), so that the client need not guess."""
HTTP2_GOODBYE = bytes.fromhex("000000040000000000000008070000000000000000000000000d")
"""The answer to HTTP/2: empty SETTINGS, then GOAWAY with HTTP_1_1_REQUIRED (RFC 9113 sections 6.5, 6.8 and 7)."""


def speech_of(first: bytes) -> Speech | None:
    """What a client whose first bytes are `first` speaks; None while more bytes are needed to tell."""
    if not first:
        return None
    told = _TOLD_BY_FIRST.get(first[0])
    if told is not None:
        return told
    if first.startswith(HTTP2_PREFACE):
        return Speech.HTTP2
    if HTTP2_PREFACE.startswith(first):
        return None
    if first[0] in _TOKEN or first[0] in b"\r\n":  # empty lines may come first (RFC 9112 section 2.2)
        return Speech.HTTP
    return Speech.UNKNOWN
