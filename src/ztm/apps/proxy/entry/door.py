"""One listening address of the proxy: each client is asked what it speaks, and served.

It opens no port itself, and nothing of a client outlives its connection.
"""

import asyncio
import logging
from collections import OrderedDict

from ztm.apps.audit import Audit
from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.entry.client import Client, House
from ztm.apps.proxy.entry.detection import HTTP2_GOODBYE, TLS_ALERT, Speech, speech_of
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.way import Way
from ztm.apps.streams.traffic import QUIET, Traffic, Visit
from ztm.errors import BrokenStreamError
from ztm.model import Peer
from ztm.net.base import Network, Stream

_REMEMBERED = 64
"""Lines that are not logged again at once."""


class Door:
    """One listening address of the proxy."""

    def __init__(
        self,
        network: Network,
        way: Way,
        log: logging.LoggerAdapter[logging.Logger],
        limits: DoorLimits,
        credentials: Credentials | None,
        *,
        audit: Audit,
        peer: Peer,
    ) -> None:
        """`peer` is the own user at the own endpoint: for whom the clients are taken in the audit log."""
        self.traffic: Traffic[Visit] = Traffic()
        """What its clients asked for: each CONNECT, plain request and UDP destination is one."""
        self._house = House(network, way, limits, audit, peer, self._say, self.traffic)
        self._credentials = credentials
        self._log = log
        self._said: OrderedDict[str, float] = OrderedDict()
        self._generation = 0
        self._live: set[Stream] = set()
        self._is_closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def accept(self, stream: Stream) -> None:
        """Serve one client until it is done; given to `Network.listen`. Owns the stream until it returns."""
        if self._is_closed or len(self._live) >= self._house.limits.clients:
            self._say(f"no client is taken: {'closed' if self._is_closed else 'too many at once'}")
            stream.abort("not taken")
            return
        self._live.add(stream)
        self._empty.clear()
        try:
            await self._serve(Client(stream, self._house, self._credentials, lambda: self._generation))
        except BrokenStreamError:
            return  # the client is gone: nobody is left to tell
        finally:
            self._live.discard(stream)
            if not self._live:
                self._empty.set()

    def allow(self, credentials: Credentials | None) -> None:
        """Ask new clients for these, or for none."""
        self._credentials = credentials

    def renew(self) -> None:
        """Use no stream to an origin for another request: exits, or what they allow, have changed."""
        self._generation += 1

    async def close(self, reason: str) -> None:
        """Take nobody any more, cut all that is live, and wait until it is gone."""
        self._is_closed = True
        for stream in list(self._live):
            stream.abort(reason)
        await self._empty.wait()

    async def _serve(self, client: Client) -> None:
        """Serve a client in what it speaks, which is loaded when the first one does."""
        match await self._detect(client):
            case Speech.HTTP:
                from ztm.apps.proxy.entry.http import serve_http

                await serve_http(client)
            case Speech.SOCKS5:
                from ztm.apps.proxy.entry.socks import serve_socks5

                await serve_socks5(client)
            case Speech.SOCKS4:
                from ztm.apps.proxy.entry.socks import serve_socks4

                await serve_socks4(client)
            case Speech.TLS:
                client.say("it speaks TLS to the proxy: set it up as an http:// or socks5:// proxy, not https://")
                await client.refuse(TLS_ALERT)
            case Speech.HTTP2:
                client.say("it speaks HTTP/2 to the proxy, which takes HTTP/1.1")
                await client.refuse(HTTP2_GOODBYE)
            case Speech.UNKNOWN:
                client.say("it speaks neither HTTP nor SOCKS")
                await client.refuse(b"")

    async def _detect(self, client: Client) -> Speech | None:
        """What the client speaks; its bytes are put back. None if it left, or cannot make up its mind in time."""
        stream, limits, first = client.stream, client.limits, b""
        try:
            async with asyncio.timeout(limits.idle_seconds):
                first = await stream.read()
            async with asyncio.timeout(limits.head_seconds):
                while (speech := speech_of(first)) is None and (data := await stream.read()):
                    first += data
        except TimeoutError:
            if first:
                client.say(f"it did not begin within {limits.head_seconds:g} seconds")
            stream.abort("too slow")
            return None
        stream.unread(first)
        return speech

    def _say(self, line: str) -> None:
        """Log a line, unless it was logged just now: a client that asks again and again must not fill the log."""
        now = self._house.network.now()
        if now - self._said.get(line, now - QUIET) < QUIET:
            return
        self._said[line] = now
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        self._log.info("%s", line)
