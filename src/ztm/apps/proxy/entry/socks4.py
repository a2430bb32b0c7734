"""The messages of SOCKS4 and SOCKS4a, pure: bytes of a client in, what it wants out; and the bytes of our answers.

It does no I/O. A user name is read over: SOCKS4 has no password, so it proves nothing.

Source: https://www.openssh.com/txt/socks4.protocol and socks4a.protocol.
"""

from ipaddress import IPv4Address

from ztm.apps.proxy.entry.socks5 import CONNECT, MalformedError, Request

VERSION = 4
DONE, REJECTED = 0x5A, 0x5B
_MAX_TEXT = 255
"""Bytes of a user name or a host name; the protocol has no bound, so this is one."""
_HEAD = 8


def request(data: bytes) -> tuple[Request, int] | None:
    """The request that `data` begins with, and its size; None while it is not whole.

    Raises:
        MalformedError: it is none.
    """
    if data and data[0] != VERSION:
        raise MalformedError("a request of another version", answer(REJECTED))
    if len(data) < _HEAD:
        return None
    command, port, ip = data[1], int.from_bytes(data[2:4], "big"), data[4:_HEAD]
    end = _end_of_text(data, _HEAD, "user")
    if end is None:
        return None
    if ip[:3] != bytes(3) or not ip[3]:
        return Request(command, str(IPv4Address(ip)), port), end
    name_end = _end_of_text(data, end, "host")
    if name_end is None:
        return None
    return Request(command, data[end : name_end - 1].decode("utf-8", "surrogateescape"), port), name_end


def _end_of_text(data: bytes, start: int, what: str) -> int | None:
    """Where the text from `start` has ended, its closing zero byte included; None while it has not.

    Raises:
        MalformedError: it is too long.
    """
    end = data.find(0, start)
    if (end if end >= 0 else len(data)) - start > _MAX_TEXT:
        raise MalformedError(f"a {what} name of more than {_MAX_TEXT} bytes", answer(REJECTED))
    return end + 1 if end >= 0 else None


def answer(code: int) -> bytes:
    """The answer to a request; the address in it means nothing to one that connects."""
    return bytes((0, code)) + bytes(6)


__all__ = ["CONNECT", "DONE", "REJECTED", "answer", "request"]
