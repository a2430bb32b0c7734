"""Dialling through a proxy: HTTP CONNECT, or SOCKS 5 with names resolved by the proxy.

The proxy only sees where the bytes go; TLS runs inside, end to end. Its password is shown nowhere.
"""

import asyncio
import base64
import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from ztm.errors import DeadlineError, UnreachableError, UsageError, ZtmError
from ztm.model import Address

SCHEMES = {"http": "http", "socks": "socks5", "socks5": "socks5", "socks5h": "socks5"}
"""What may stand before ``://``, and the protocol that it means; v1 knows ``http`` and ``socks``."""
PORTS = {"http": 8080, "socks5": 1080}
MAX_HEAD = 16 << 10
"""Bytes of a proxy's answer to CONNECT."""
_MAX_FIELD = 255
"""Bytes of a name, user or password in SOCKS 5 (RFC 1928 section 5, RFC 1929 section 2)."""
_REPLIES = {
    1: "it failed",
    2: "its rules do not allow it",
    3: "the network is unreachable from it",
    4: "the host is unreachable from it",
    5: "connection refused",
    6: "the time ran out",
    7: "it does not know CONNECT",
    8: "it does not know this kind of address",
}
"""What the second byte of an answer means (RFC 1928 section 6)."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and how it is spoken to."""

    kind: str
    """``http`` or ``socks5``."""
    address: Address
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``http://[user:password@]host[:port]`` or ``socks://...`` (``socks5://``, ``socks5h://``).

        Raises:
            UsageError: it is neither; the message holds no password.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise UsageError("not a proxy: write http://host:port or socks://host:port") from None
        kind = SCHEMES.get(parts.scheme)
        if kind is None:
            raise UsageError(f"invalid scheme {parts.scheme[:20]!r} of the proxy (one of {', '.join(SCHEMES)})")
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise UsageError(f"not a proxy: write {parts.scheme}://host:port")
        user, password = _credentials(parts)
        return cls(kind, Address(parts.hostname, port or PORTS[kind]), user, password)

    def __str__(self) -> str:
        """Without user and password."""
        return f"{'socks' if self.kind == 'socks5' else self.kind}://{self.address}"

    async def connect(self, target: Address, *, timeout: float = 10.0) -> socket.socket:
        """A connected, non-blocking socket whose other end is `target`; cancelling it closes what was opened.

        Raises:
            UnreachableError: the proxy is not there, or does not lead to `target`.
            DeadlineError: it has not within `timeout` seconds.
        """
        loop = asyncio.get_running_loop()
        sock: socket.socket | None = None
        try:
            async with asyncio.timeout(timeout):
                sock = await _dial(self.address)
                ask = _http if self.kind == "http" else _socks
                await ask(self, _Wire(loop, sock), target)
                return_, sock = sock, None
                return return_
        except TimeoutError as error:
            raise DeadlineError(f"no answer from the proxy {self} within {timeout:g} s") from error
        except OSError as error:
            reason = "the name does not resolve" if isinstance(error, socket.gaierror) else error.strerror or str(error)
            raise UnreachableError(f"cannot connect to the proxy {self}: {reason}") from error
        except _RefusedError as error:
            raise UnreachableError(f"the proxy {self} does not lead to {target}: {error}") from None
        finally:
            if sock is not None:
                sock.close()


class _RefusedError(ZtmError):
    """The proxy answered, and not with a way."""


def _credentials(parts: SplitResult) -> tuple[str, str]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if any(len(text.encode()) > _MAX_FIELD or "\r" in text or "\n" in text for text in (user, password)):
        raise UsageError(f"the proxy's user or password is malformed, or longer than {_MAX_FIELD} bytes")
    if ":" in user:
        raise UsageError("the proxy's user name holds a colon")
    if password and not user:
        raise UsageError("the proxy's address has a password and no user name")
    return user, password


async def _dial(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    last: OSError = OSError("the name does not resolve")
    for family, kind, protocol, _, where in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, where)
        except OSError as error:
            last = error
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


class _Wire:
    """Reads from a socket exactly what belongs to the proxy: what follows is the hub's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self._loop.sock_recv(self._sock, size - len(data))
            if not more:
                raise _RefusedError("it closed the connection")
            data += more
        return data


async def _http(proxy: Proxy, wire: _Wire, target: Address) -> None:
    """Source: RFC 9110 section 9.3.6; Basic of RFC 7617."""
    head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user:
        basic = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        head.append(f"Proxy-Authorization: Basic {basic}")
    await wire.send("\r\n".join((*head, "", "")).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        # Byte by byte, once a dial: whatever follows the head belongs to the hub.
        answer += await wire.take(1)
        if len(answer) > MAX_HEAD:
            raise _RefusedError("its answer has no end")
    line = answer.split(b"\r\n", 1)[0].decode("latin-1")
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1.") or not (rest[:3].isascii() and rest[:3].isdigit()):
        raise _RefusedError("it does not speak HTTP")
    status = int(rest[:3])
    if status == 407:
        raise _RefusedError(_wants_login(proxy))
    if not 200 <= status <= 299:
        raise _RefusedError(f"it answered {rest[:60]!r}")


async def _socks(proxy: Proxy, wire: _Wire, target: Address) -> None:
    """Source: RFC 1928; user and password of RFC 1929."""
    methods = b"\x00\x02" if proxy.user else b"\x00"
    await wire.send(bytes((5, len(methods))) + methods)
    version, method = await wire.take(2)
    if version != 5:
        raise _RefusedError("it does not speak SOCKS 5")
    if method == 2 and proxy.user:
        await _login(proxy, wire)
    elif method != 0:
        raise _RefusedError(_wants_login(proxy))
    await wire.send(b"\x05\x01\x00" + _socks_host(target.host) + target.port.to_bytes(2, "big"))
    _, reply, _, form = await wire.take(4)
    if reply != 0:
        raise _RefusedError(_REPLIES.get(reply, f"it answered {reply}"))
    size = {1: 4, 4: 16}.get(form)
    if size is None:
        size = (await wire.take(1))[0]
    await wire.take(size + 2)


async def _login(proxy: Proxy, wire: _Wire) -> None:
    user, password = proxy.user.encode(), proxy.password.encode()
    await wire.send(bytes((1, len(user))) + user + bytes((len(password),)) + password)
    if (await wire.take(2))[1] != 0:
        raise _RefusedError(_wants_login(proxy))


def _socks_host(host: str) -> bytes:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        if len(name) > _MAX_FIELD:
            raise _RefusedError("the host name is too long for SOCKS") from None
        return bytes((3, len(name))) + name
    return bytes((1 if ip.version == 4 else 4,)) + ip.packed


def _wants_login(proxy: Proxy) -> str:
    if proxy.user:
        return "it does not take this user and password"
    return "it wants a user and password (http://user:password@host:port, best in the environment: ZTM_PROXY)"
