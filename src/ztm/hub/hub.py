"""A running hub: assembly, connections, and what has to be done now and then."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from ztm.core.permits import EXPIRED, REVOKED
from ztm.errors import CertificateError, UsageError, ZtmError
from ztm.hub.api import hub_api
from ztm.hub.authority import Signer, signer_of
from ztm.hub.config import HubConfig
from ztm.hub.draining import drain
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.logs import LogRing, about, bind
from ztm.model import ROOT, Identity, Peer, check_user
from ztm.net.asgi import LINK, PEER, Receive, Scope, Send, serve_stream
from ztm.net.base import Listener, Network, Stream, TlsConfig
from ztm.pki import Authority, days_left, identity_of, new_key, public_key
from ztm.store.files import secure_directory
from ztm.store.hub import HubStore

if TYPE_CHECKING:
    from ztm.rest.metrics import MetricsPort

log = logging.getLogger("ztm.hub")

RENEW_BELOW = 30
"""Days left of the hub's own certificate (made for 90) at which a new one is made."""
FAREWELL = 2.0
"""Seconds for connections to end in when the hub stops, and for an agent to read why it was refused."""
SAMPLE = 1.0
"""Seconds over which traffic rates are taken (spec mesh-protocol 18)."""


class Hub:
    """One hub process; `start`, then `close`."""

    def __init__(self, config: HubConfig, network: Network) -> None:
        self._config = config
        self._network = network
        secure_directory(config.data)
        self._store = HubStore(config.data)
        self._logs = LogRing(1000)
        try:
            self._state = HubState(config, network, self._store, self._authority(), self._logs)
        except ZtmError:
            self._store.close()
            raise
        self._api = hub_api(self._state)
        self._listener: Listener | None = None
        self._tls: TlsConfig | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._metrics: MetricsPort | None = None
        self._is_closing = False
        self._left = asyncio.Event()
        """Set as a connection ends."""
        logging.getLogger("ztm").addHandler(self._logs)

    def _authority(self) -> Signer:
        authority = signer_of(self._store, self._config.ca)
        if authority is None:
            raise CertificateError(f"no CA in {self._config.data}: run 'ztm root' or start the hub with --permit first")
        return authority

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
        with about(hub=self._state.id):
            await self._start()

    async def _start(self) -> None:
        self._tls = self._certify()
        if self._config.ca is not None and self._config.ca.is_exposed:
            log.warning(
                "INSECURE: the CA service %s is asked over plain http: anyone between can forge", self._config.ca
            )
        self._listener = await self._network.listen(self._config.listen, self._accept, self._tls)
        await self._open_metrics()
        loop = asyncio.get_running_loop()
        self._chores = [loop.create_task(self._sample_traffic()), loop.create_task(self._sweep_now_and_then())]
        log.info("Hub %s started at %s", self._state.id, self._listener.address)

    async def _open_metrics(self) -> None:
        if self._config.metrics is None:
            return
        from ztm.hub.metrics import families
        from ztm.rest.metrics import MetricsPort

        self._metrics = MetricsPort(self._network, self._config.metrics, partial(families, self._state), self._ills)
        await self._metrics.open()

    def _ills(self) -> list[str]:
        """What is wrong now."""
        return ["the hub is stopping and takes no connections"] if self._is_closing else []

    def status(self) -> str:
        """How it is, in one line."""
        return f"listening on {self.address}; {len(self._state.links)} connections, {self._state.relayed} streams"

    async def drain(self) -> None:
        """Take no connection and no stream any more, send agents elsewhere, and return when all streams have ended."""
        self._is_closing = True
        if self._listener is not None:
            await self._listener.close()
        await drain(self._state)

    async def close(self) -> None:
        """Stop listening, end all sessions, close the store. Idempotent."""
        self._is_closing = True
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()
        await self._end_all()
        if self._metrics is not None:
            await self._metrics.close()
        logging.getLogger("ztm").removeHandler(self._logs)
        self._store.close()

    async def _end_all(self) -> None:
        """End every connection, once what was sent on it has left, and what works for them before the store is."""
        for link in list(self._state.links):
            link.end()
        await self._all_left()
        for link in list(self._state.links):
            link.cut("the hub stops")
        await self._all_left()

    async def _all_left(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self._state.links:
                    self._left.clear()
                    await self._left.wait()

    # ------------------------------------------------------------------ connections

    async def _accept(self, stream: Stream) -> None:
        identity = stream.identity
        if identity is None or self._is_closing:
            return
        bind(user=identity.user, remote=str(stream.remote))
        refusal = self._refusal(identity)
        if refusal is not None:
            log.info("refused %s: %s", stream.remote, refusal)
            await self._say_why(stream, refusal)
            return
        link = Link(stream, identity)
        self._state.links.add(link)
        try:
            await self._serve(stream, link)
        finally:
            self._state.links.discard(link)
            self._left.set()

    def _refusal(self, identity: Identity) -> str | None:
        """Why the holder of a valid certificate is not let in, or None if it is."""
        try:
            check_user(identity.user)
        except UsageError as error:
            return self._counted("certificate", f"not a user's certificate: {error}")
        if self._is_full_for(identity.user):
            return self._counted("full", "the hub has as many connections as it takes")
        refusal = self._state.refusal(identity)
        if refusal is None:
            return None
        return self._counted("permit" if refusal.startswith((REVOKED, EXPIRED)) else "evicted", refusal)

    def _counted(self, reason: str, refusal: str) -> str:
        self._state.counts.connections_refused[reason] += 1
        return refusal

    def _is_full_for(self, user: str) -> bool:
        """Whether one more connection is too many; no user but root may have more than half of them."""
        links, most = self._state.links, self._config.max_connections
        if user != ROOT:
            most //= 2
        if len(links) < most:
            return False
        return user == ROOT or len(links) >= 2 * most or sum(link.user == user for link in links) >= most

    def _serve(self, stream: Stream, link: Link) -> Awaitable[None]:
        return serve_stream(
            self._network,
            stream,
            partial(self._answer, link),
            {PEER: Peer(link.user, ip=link.remote.host, port=link.remote.port), LINK: link},
            http_limits=self._config.http,
            session_limits=self._config.sessions,
            own=stream.is_own,
        )

    async def _answer(self, link: Link, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with the names of who asks in every line that is logged meanwhile."""
        with about(user=link.user, remote=link.remote, endpoint=link.endpoint):
            await self._api(scope, receive, send)

    async def _say_why(self, stream: Stream, refusal: str) -> None:
        """Our own agents are told the reason; v1 peers know a silent end as refusal (spec mesh-protocol 3)."""
        if stream.is_own:
            session = self._network.session(stream, "server", own=True)
            session.close(refusal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await stream.ended()
        stream.abort(refusal)

    # ------------------------------------------------------------------ own certificate

    def _certify(self) -> TlsConfig:
        """A fresh key with a fresh certificate of this hub."""
        authority = self._state.authority
        key = new_key(self._config.signature)
        certificate = authority.sign_hub(self._state.id, public_key(key), self._state.date())
        left = days_left(identity_of(authority.certificate), self._state.date())
        if left < RENEW_BELOW:
            log.warning("the mesh's CA certificate expires in %d days; nobody can connect after that", left)
        groups = self._config.key_exchange
        return TlsConfig(ca=authority.certificate, certificate=certificate, key=key, groups=groups)

    def renew_if_due(self) -> bool:
        """Make and use a new certificate of this hub when the present one has few days left."""
        if self._tls is None or self._listener is None:
            return False
        identity, now = identity_of(self._tls.certificate), self._state.date()
        if identity.not_after - now > min(
            timedelta(days=RENEW_BELOW + 1), (identity.not_after - identity.not_before) / 3
        ):
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
            try:
                if not self._signs_itself:
                    await asyncio.to_thread(_logged, self.renew_if_due)
                self.sweep()
            except Exception:
                log.exception("the hub's upkeep failed; it is tried again in %g s", self._config.sweep_every)

    def sweep(self) -> None:
        """Forget endpoints that are gone, cut off expired permits, renew, and repeat writes that the disk refused."""
        for endpoint in self._state.registry.sweep(self._network.wall()):
            self._state.files.drop_source(endpoint)
            log.info("endpoint %s is gone", endpoint)
        self._state.cut_refused()
        if self._signs_itself:
            _logged(self.renew_if_due)
        _logged(self._state.save_all)
        _logged(partial(self._state.permits.forget, self._state.now_s()))

    @property
    def _signs_itself(self) -> bool:
        """Whether the CA is here; to ask a service blocks, and is for a thread."""
        return isinstance(self._state.authority, Authority)


def _logged(chore: Callable[[], object]) -> None:
    try:
        chore()
    except ZtmError as error:
        log.error("%s", error)
