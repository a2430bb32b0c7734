"""A running hub: assembly, connections, and what has to be done now and then."""

import asyncio
import contextlib
import logging

from ztm.errors import CertificateError, StorageError
from ztm.hub.api import hub_api
from ztm.hub.config import HubConfig
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.logs import LogRing
from ztm.model import CA, Peer
from ztm.net.asgi import LINK, PEER, serve_stream
from ztm.net.base import Listener, Network, Stream, TlsConfig
from ztm.pki import Authority, days_left, identity_of, new_key, public_key
from ztm.store.files import secure_directory
from ztm.store.hub import HubStore

log = logging.getLogger("ztm.hub")

RENEW_BELOW = 30
"""Days left of the hub's own certificate (made for 90) at which a new one is made."""
SAMPLE = 1.0
"""Seconds over which traffic rates are taken (spec mesh-protocol 18)."""


class Hub:
    """One hub process; `start`, then `close`."""

    def __init__(self, config: HubConfig, network: Network) -> None:
        self._config = config
        self._network = network
        secure_directory(config.data)
        self._logs = LogRing(1000)
        logging.getLogger("ztm.hub").addHandler(self._logs)
        self._store = HubStore(config.data)
        authority = self._store.authority()
        if authority is None:
            raise CertificateError(f"no CA in {config.data}: run 'ztm root' or start the hub with --permit first")
        self._state = HubState(config, network, self._store, authority, self._logs)
        self._state.cut_evicted = self._cut_evicted
        self._api = hub_api(self._state)
        self._links: set[Link] = set()
        self._listener: Listener | None = None
        self._tls: TlsConfig | None = None
        self._chores: list[asyncio.Task[None]] = []

    @property
    def state(self) -> HubState:
        """What the hub knows."""
        return self._state

    @property
    def address(self) -> str:
        """Where it listens, once started."""
        return str(self._listener.address) if self._listener else ""

    async def start(self) -> None:
        """Listen.

        Raises:
            ConflictError: the address cannot be listened on.
        """
        self._tls = self._certify()
        self._listener = await self._network.listen(self._config.listen, self._accept, self._tls)
        loop = asyncio.get_running_loop()
        self._chores = [loop.create_task(self._sample_traffic()), loop.create_task(self._sweep_now_and_then())]
        log.info("Hub %s started at %s", self._state.id, self._listener.address)

    async def close(self) -> None:
        """Stop listening, end all sessions, close the store."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()
        for link in list(self._links):
            link.cut("the hub stops")
        logging.getLogger("ztm.hub").removeHandler(self._logs)
        self._store.close()

    # ------------------------------------------------------------------ connections

    async def _accept(self, stream: Stream) -> None:
        identity = stream.identity
        if identity is None or identity.is_hub or identity.user == CA:
            log.info("refused %s: not a user's certificate", stream.remote)
            return
        refusal = self._state.evictions.refuses(identity, self._state.now_s())
        if refusal is not None:
            log.info("refused %s: %s", stream.remote, refusal)
            await self._say_why(stream, refusal)
            return
        link = Link(stream, identity)
        self._links.add(link)
        try:
            await serve_stream(
                self._network,
                stream,
                self._api,
                {PEER: Peer(identity.user, ip=link.remote.host, port=link.remote.port), LINK: link},
                http_limits=self._config.http,
                session_limits=self._config.sessions,
                own=stream.is_own,
            )
        finally:
            self._links.discard(link)

    async def _say_why(self, stream: Stream, refusal: str) -> None:
        """Our own agents are told the reason; v1 peers know a silent end as refusal (spec mesh-protocol 3)."""
        if stream.is_own:
            session = self._network.session(stream, "server", own=True)
            session.close(refusal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await stream.ended()
        stream.abort(refusal)

    def _cut_evicted(self) -> None:
        now = self._state.now_s()
        for link in list(self._links):
            refusal = self._state.evictions.refuses(link.identity, now)
            if refusal is not None:
                link.cut(refusal)

    # ------------------------------------------------------------------ own certificate

    def _certify(self) -> TlsConfig:
        """A fresh key with a fresh certificate of this hub."""
        authority: Authority = self._state.authority
        key = new_key()
        certificate = authority.sign_hub(self._state.id, public_key(key), self._state.date())
        left = days_left(identity_of(authority.certificate), self._state.date())
        if left < RENEW_BELOW:
            log.warning("the mesh's CA certificate expires in %d days; nobody can connect after that", left)
        return TlsConfig(ca=authority.certificate, certificate=certificate, key=key)

    def renew_if_due(self) -> bool:
        """Make and use a new certificate of this hub when the present one has few days left."""
        if self._tls is None or self._listener is None:
            return False
        if days_left(identity_of(self._tls.certificate), self._state.date()) > RENEW_BELOW:
            return False
        self._tls = self._certify()
        self._listener.renew(self._tls)
        log.info("renewed the hub's own certificate")
        return True

    # ------------------------------------------------------------------ now and then

    async def _sample_traffic(self) -> None:
        while True:
            begin = self._network.now()
            await asyncio.sleep(SAMPLE)
            self._state.traffic.sample(self._network.now() - begin)

    async def _sweep_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._config.sweep_every)
            self.sweep()

    def sweep(self) -> None:
        """Forget endpoints that are gone, renew, and repeat writes that the disk refused."""
        for endpoint in self._state.registry.sweep(self._network.wall()):
            self._state.files.drop_source(endpoint)
            log.info("endpoint %s is gone", endpoint)
        self.renew_if_due()
        try:
            self._state.save_evictions()
        except StorageError as error:
            log.error("%s", error)
