"""The agent's own doors on this machine: the TCP port, the Unix socket, and the guard behind both.

It knows who may come in, and nothing of what is asked.
"""

import asyncio
import ipaddress
import logging
import os
import re
from collections import Counter

from ztm.agent.config import AgentConfig
from ztm.agent.local.guard import SOCKET, Credentials, Doors, Guard
from ztm.agent.local.login import Login
from ztm.agent.local.origins import Origins
from ztm.agent.local.pages import Pages
from ztm.errors import UsageError
from ztm.model import Address
from ztm.net.asgi import PEER, ASGIApp, serve_stream
from ztm.net.base import Listener, LocalListener, Network, SessionLimits, Stream
from ztm.net.http1_head import refusal
from ztm.store.files import secure_directory

log = logging.getLogger("ztm.agent")

LOCAL_STREAMS = SessionLimits(streams=256)
CONNECTIONS = 2048
"""Connections at once at each door; more are told so. A browser has six, a busy script a few dozen."""
WARN_EVERY = 3600.0
"""Seconds after which an open API is warned of again."""
OPEN = (
    "the local API asks for no token: every program and every user of this machine can use it as you; "
    "start the agent without --insecure-open-api"
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.\[\]:-]+")


class LocalPort:
    """Where `app` is served to this machine; `open`, then `close`."""

    def __init__(self, config: AgentConfig, network: Network, app: ASGIApp) -> None:
        self._config = config
        self._network = network
        self._app = app
        self._pages = Pages()
        self._listener: Listener | None = None
        self._socket: LocalListener | None = None
        self._credentials: Credentials | None = None
        self._guard: Guard | None = None
        self._login: Login | None = None
        self._warning: asyncio.Task[None] | None = None
        self._connections: Counter[str] = Counter()
        """Now open, by door: who uses up the port's does not shut the socket's."""

    # ------------------------------------------------------------------ living

    async def open(self) -> None:
        """Listen; the token is written when this returns.

        Raises:
            UsageError: what was configured would open the API to others.
            ConflictError: the port or the socket cannot be listened on.
            StorageError: the token cannot be written.
        """
        self._check()
        config = self._config
        self._listener = await self._network.listen(config.listen, self._accept)
        address = self._listener.address
        self._credentials = Credentials.issue(config.data, config.pointers, address)
        self._login = Login(self._credentials.token, address.port, self._network.now)
        doors = Doors(is_open=config.open_api, body_seconds=config.local_http.body_seconds)
        origins = Origins(address, config.origins)
        self._guard = Guard(self._app, self._pages, self._credentials, self._login, origins, doors)
        if not _is_loopback(address.host):
            log.warning("the local API listens on %s, beyond this machine: its token then crosses the network", address)
        if config.socket is not None:
            secure_directory(config.socket.parent)
            self._socket = await self._network.listen_local(config.socket, self._accept_local, _is_own_user)
        if config.open_api:
            self._warning = asyncio.ensure_future(_warn())

    def _check(self) -> None:
        """Fail closed: what would let others in is refused before anything listens.

        Raises:
            UsageError: it would.
        """
        listen = self._config.listen
        if self._config.open_api and not _is_loopback(listen.host):
            raise UsageError(f"--insecure-open-api needs a loopback address to listen on, and {listen} is none")
        for origin in self._config.origins:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(f"not an origin: {origin[:80]!r} (as in tauri://localhost or http://localhost:8080)")

    async def end_websockets(self) -> None:
        """Tell whoever has a WebSocket open here that the agent stops."""
        if self._guard is not None:
            await self._guard.ends.close()

    async def close(self) -> None:
        """Stop listening; the token is worth nothing any more."""
        if self._warning is not None:
            self._warning.cancel()
            await asyncio.gather(self._warning, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._listener is not None:
            await self._listener.close()
        if self._credentials is not None:
            self._credentials.withdraw()

    # ------------------------------------------------------------------ facts

    @property
    def address(self) -> Address:
        """Where the port listens, once open.

        Raises:
            UsageError: it is not open.
        """
        if self._listener is None:
            raise UsageError("the agent is not started")
        return self._listener.address

    @property
    def token(self) -> str:
        """This run's token; empty before it is open."""
        return self._credentials.token if self._credentials else ""

    @property
    def login(self) -> Login:
        """Which browsers are signed in.

        Raises:
            UsageError: it is not open.
        """
        if self._login is None:
            raise UsageError("the agent is not started")
        return self._login

    @property
    def page(self) -> str:
        """The web page's URL on this machine; by number, since cookies of ``localhost`` go to many programs."""
        host, port = self.address.host, self.address.port
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def warnings(self) -> list[str]:
        """What its user should know about these doors."""
        found = [OPEN] if self._config.open_api else []
        if self._listener is not None and not _is_loopback(self.address.host):
            found.append(f"the local API listens on {self.address}, beyond this machine: its token crosses the network")
        return found

    # ------------------------------------------------------------------ serving

    async def _accept(self, stream: Stream) -> None:
        await self._serve(stream, "port", {PEER: None})

    async def _accept_local(self, stream: Stream) -> None:
        await self._serve(stream, "socket", {PEER: None, SOCKET: True})

    async def _serve(self, stream: Stream, door: str, extensions: dict[str, object]) -> None:
        if self._guard is None:
            return
        if self._connections[door] >= CONNECTIONS:
            await stream.write(refusal(503, f"{CONNECTIONS} connections are open already: close some first"))
            return
        self._connections[door] += 1
        try:
            await serve_stream(
                self._network,
                stream,
                self._guard,
                extensions,
                http_limits=self._config.local_http,
                session_limits=LOCAL_STREAMS,
            )
        finally:
            self._connections[door] -= 1


async def _warn() -> None:
    while True:
        log.warning("INSECURE: %s", OPEN)
        await asyncio.sleep(WARN_EVERY)


def _is_own_user(user: int) -> bool:
    """Whether a peer on the socket is this process's user, or root, who can read all of it anyway."""
    return user in (os.geteuid(), 0)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
