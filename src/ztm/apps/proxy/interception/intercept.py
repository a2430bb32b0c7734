"""One client's TLS opened: what it asks for is read, the origin verified, and the client shown a certificate of ours.

What is no TLS passes untouched, and so does a destination that speaks first. Nothing is decided here about who may go
where, but the name inside of TLS is put to the same question.

Source: spec apps-network 2.7 and 7 rule 5.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ztm.apps.proxy.hosts import Host
from ztm.apps.proxy.interception.hello import Hello, NoHelloError, read_hello
from ztm.apps.proxy.interception.mint import Mint
from ztm.apps.proxy.interception.origins import Origins
from ztm.errors import BrokenStreamError, CertificateError, DeadlineError, UsageError, ZtmError
from ztm.net.base import Stream
from ztm.net.flow import FlowStream
from ztm.net.secured import secured

HELLO_SECONDS = 5.0
"""From the first byte of a ClientHello to its last; what is slower passes untouched."""
SHAKE_SECONDS = 10.0
"""For both handshakes together."""
HTTP = "http/1.1"
_BAD_CERTIFICATE, _ACCESS_DENIED, _INTERNAL = 42, 49, 80
"""Alerts (RFC 8446 section 6.2)."""


class Opened(NamedTuple):
    """The two sides to join."""

    client: Stream
    origin: Stream
    is_tls: bool


class Interceptor:
    """Opens the TLS of an exit's clients."""

    def __init__(self, mint: Mint, origins: Origins) -> None:
        self._mint = mint
        self._origins = origins

    async def open(self, client: Stream, origin: Stream, host: Host, admit: Callable[[Host], None]) -> Opened:
        """The streams to join for a client that is connected to `host`; those that came, if it does not speak TLS.

        Raises:
            CertificateError: the origin's certificate is not valid; the client was told.
            ForbiddenError: `admit` raised it for the name that the client asked for inside of TLS.
            BrokenStreamError: a handshake failed.
            DeadlineError: a handshake took too long.
        """
        hello = await self._hello(client, origin)
        if hello is None or not isinstance(client, FlowStream) or not isinstance(origin, FlowStream):
            return Opened(client, origin, is_tls=False)
        try:
            async with asyncio.timeout(SHAKE_SECONDS):
                return await self._shake(client, origin, hello, _named(hello, host), admit)
        except TimeoutError:
            raise DeadlineError(f"{host}: the TLS handshakes took more than {SHAKE_SECONDS:g} seconds") from None

    async def _shake(
        self, client: FlowStream, origin: FlowStream, hello: Hello, name: Host, admit: Callable[[Host], None]
    ) -> Opened:
        alpn = (HTTP,) if HTTP in hello.alpn else hello.alpn
        try:
            admit(name)
            far = await secured(origin, self._origins.context(alpn), server_name=str(name))
        except ZtmError as error:
            _alert(client, error)
            if isinstance(error, CertificateError):
                raise CertificateError(f"{name} shows no valid certificate: {error}") from error
            raise
        near = await secured(client, self._mint.context(str(name), far.alpn))
        near.mirrored, far.mirrored = far, near
        return Opened(near, far, is_tls=True)

    async def _hello(self, client: Stream, origin: Stream) -> Hello | None:
        """What the client asks for; None if it is no TLS, or the origin speaks first. What was read is put back."""
        if not await _speaks_first(client, origin):
            return None
        seen = b""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                while (hello := read_hello(seen)) is None:
                    data = await client.read()
                    if not data:
                        return None
                    seen += data
                return hello
        except (NoHelloError, TimeoutError):
            return None
        finally:
            if seen:
                client.unread(seen)


async def _speaks_first(client: Stream, origin: Stream) -> bool:
    """Wait until one of the two says something, or ends; whether it was the client. What it said is put back.

    A fixed time would let a far client's TLS pass unseen, and would keep a server that speaks first waiting.
    """
    loop = asyncio.get_running_loop()
    by_client, by_origin = (loop.create_task(_said(stream)) for stream in (client, origin))
    try:
        await asyncio.wait((by_client, by_origin), return_when=asyncio.FIRST_COMPLETED)
    finally:
        by_client.cancel()
        by_origin.cancel()
        await asyncio.wait((by_client, by_origin))
    return not by_client.cancelled() and by_client.result()


async def _said(stream: Stream) -> bool:
    """Wait until something comes, which is put back; False at its end, or if cut. Cancelling it loses nothing."""
    try:
        data = await stream.read()
    except BrokenStreamError:
        return False
    stream.unread(data)
    return bool(data)


def _named(hello: Hello, host: Host) -> Host:
    """The name that the origin and our certificate shall have: what the client asks for, else where it went."""
    try:
        return Host.parse(hello.server_name) if hello.server_name else host
    except UsageError:
        return host


def _alert(client: Stream, error: ZtmError) -> None:
    """Tell a client that waits for a ServerHello why none comes, as TLS would, and end."""
    code = _BAD_CERTIFICATE if isinstance(error, CertificateError) else _INTERNAL
    if error.status == 403:
        code = _ACCESS_DENIED
    client.write_now(bytes((21, 3, 3, 0, 2, 2, code)))
    client.end()
