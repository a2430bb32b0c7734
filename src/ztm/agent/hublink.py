"""One hub as an agent uses it: the control session, heartbeats, and sessions for app streams on demand.

A link is made by `HubLink.open`, which returns only when the hub has accepted the endpoint and answered a
heartbeat; it ends by itself when the hub falls silent or leaves, and never dials again on its own: its mesh does.
"""

import asyncio
import logging
import platform
from collections.abc import Callable

from ztm.agent.config import AgentConfig
from ztm.agent.dial import LinkSelf, dial_hub
from ztm.agent.state import SILENT, EvictedError, RefusalError
from ztm.agent.streams import StreamSessions
from ztm.core.permits import EXPIRED, REVOKED
from ztm.errors import BrokenStreamError, DeadlineError, ZtmError, from_status
from ztm.model import Address
from ztm.net.asgi import ASGIApp, Receive, Scope, Send, serve_stream
from ztm.net.base import Exchange, Network, Stream
from ztm.net.http1 import MAX_BODY
from ztm.rest.client import call_ok
from ztm.version import VERSION
from ztm.wire import codec, paths
from ztm.wire.records import Heartbeat, HubStatus

log = logging.getLogger("ztm.agent")

HUB_PING_LATE = 45.0
"""Seconds without a ping from the hub after which it has forgotten this session (spec mesh-protocol 20, agent 5)."""
LAST_WORD = 1.0
"""Seconds that a refusal's reason may come after the refusal."""
LEAVE_AGAIN = 0.05
"""Seconds between two looks at whether the hub's questions are answered, when the agent leaves."""
LOOK_EVERY = 1.0
"""Seconds between two looks at whether the hub is still there."""


class HubLink:
    """A live control session with one hub."""

    def __init__(
        self,
        network: Network,
        config: AgentConfig,
        address: Address,
        own: LinkSelf,
        stream: Stream,
        requests: Callable[["HubLink", bool], ASGIApp],
    ) -> None:
        self._network = network
        self._config = config
        self.address = address
        self._self = own
        self.is_own = stream.is_own
        """Whether the hub is of this implementation."""
        self.session = network.session(stream, "client", limits=config.sessions, own=stream.is_own)
        """The outer session: requests to the hub go here."""
        self.status = HubStatus(id="", since_ms=0)
        self.pinged_at = network.now()
        """When the hub last pinged, on the network's clock."""
        self._serving: asyncio.Task[None] | None = None
        self._ended: str | None = None
        self._is_retired = False
        self._dismissed = asyncio.Event()
        """Set when the control session inside `session` is over."""
        self._asked = 0
        """Requests of the hub now answered on the control session."""
        self._requests = requests(self, True)
        self.streams = StreamSessions(network, config, address, own, requests(self, False))
        """The sessions that carry app streams."""

    # ------------------------------------------------------------------ opening

    @classmethod
    async def open(
        cls,
        network: Network,
        config: AgentConfig,
        address: Address,
        own: LinkSelf,
        requests: Callable[["HubLink", bool], ASGIApp],
    ) -> "HubLink":
        """Dial a hub and have this endpoint accepted.

        `requests` makes the application that answers what the hub asks, on a control session or (False) on
        a passive one.

        Raises:
            UnreachableError: no hub listens at `address`, or it left again.
            DeadlineError: it does not answer.
            CertificateError: it is not a hub of this mesh.
            RefusalError: it turned this endpoint away.
            LimitError: it takes no more endpoints.
        """
        stream = await dial_hub(network, address, own.tls, timeout=config.dial_timeout, again=config.dial_again)
        link = cls(network, config, address, own, stream, requests)
        try:
            await link._register()
        except BaseException:
            link.close("not accepted")
            raise
        return link

    async def _register(self) -> None:
        path = paths.fill(paths.ENDPOINT, {"name": self._self.name}, ep=self._self.id)
        try:
            async with asyncio.timeout(self._config.answer_timeout):
                control = await self._accepted(path)
                self._serving = asyncio.ensure_future(self._serve(control))
                answer = await call_ok(self.session, "GET", paths.HUB_STATUS, timeout=self._config.answer_timeout)
                self.status = codec.decode_hub_status(answer.body)
                # only now, as it names the hub: v1 lists what it is told, and routes to no endpoint without (W18)
                await self.beat()
        except TimeoutError as error:
            raise DeadlineError(f"the hub at {self.address} does not answer") from error
        except BrokenStreamError as error:
            raise self.loss_of(await self._last_word() or str(error)) from error

    async def _accepted(self, path: str) -> Exchange:
        """The control stream; a hub that refuses the certificate may have ended the session before it is opened."""
        try:
            control = self.session.open(((":method", "CONNECT"), (":scheme", "http"), (":path", path)))
            status, _ = await control.response()
        except BrokenStreamError as error:
            raise self._refusal_of(await self._last_word() or str(error)) from error
        if status == 200:
            return control
        text = await _text(control)
        if status in (401, 403):
            raise RefusalError(f"the hub refused this endpoint: {text or status}")
        raise from_status(status, text or f"the hub answered {status}")

    async def _last_word(self) -> str:
        """What the hub said when it ended the session, if it did; that may come just after a refused stream."""
        try:
            async with asyncio.timeout(LAST_WORD):
                return await self.session.closed()
        except TimeoutError:
            return ""

    def _refusal_of(self, reason: str) -> ZtmError:
        """The error that an end before the hub's first answer stands for."""
        if reason.startswith(_WORDLESS):
            return RefusalError(SILENT)
        if "ALERT" in reason:
            return RefusalError(f"the hub refuses this certificate: {reason}")
        return self.loss_of(reason)

    def loss_of(self, reason: str) -> ZtmError:
        """The error that the end of this link stands for."""
        if REVOKED in reason or EXPIRED in reason:
            return RefusalError(reason)
        if "evicted" in reason:
            return EvictedError(reason)
        return BrokenStreamError(f"the hub at {self.address} broke off: {reason}")

    # ------------------------------------------------------------------ living

    async def run(self) -> str:
        """Keep the link; returns why it ended. What it carries then may still go on, until `retire` and `close`."""
        beats = asyncio.ensure_future(self._beat_regularly())
        looks = asyncio.ensure_future(self._look_regularly())
        over = asyncio.ensure_future(self.session.closed())
        dismissed = asyncio.ensure_future(self._until_dismissed())
        running: tuple[asyncio.Future[str], ...] = (over, beats, looks, dismissed)
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            reason = next(done.result() for done in running if done.done())
        finally:
            for each in running:
                each.cancel()
        self._ended = self._ended or reason
        return reason

    async def _until_dismissed(self) -> str:
        await self._dismissed.wait()
        return "the hub ended the control session"

    async def _beat_regularly(self) -> str:
        while True:
            await asyncio.sleep(self._config.heartbeat)
            try:
                await self.beat()
            except ZtmError as error:
                return f"a heartbeat failed: {error}"

    async def beat(self) -> None:
        """Tell the hub how this endpoint is.

        Raises:
            ZtmError: the hub does not take it.
        """
        said = Heartbeat(
            name=self._self.name,
            hubs=(self.status.id,) if self.status.id else (),
            version=VERSION,
            labels=self._self.labels,
            runtime=f"python {platform.python_version()}",
        )
        await call_ok(
            self.session,
            "POST",
            paths.HUB_STATUS,
            body=codec.encode_heartbeat(said),
            timeout=self._config.answer_timeout,
        )

    async def _look_regularly(self) -> str:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = self._network.now()
            if now - self.pinged_at > HUB_PING_LATE:
                return f"the hub has not pinged for {HUB_PING_LATE:.0f} s: it has forgotten this session"
            self.streams.close_idle()

    def now(self) -> float:
        """The network's clock."""
        return self._network.now()

    @property
    def is_suspect(self) -> bool:
        """Whether the hub has stopped answering, so that a new link should be tried beside this one."""
        return self.session.silence >= self._config.suspect_after

    def retire(self, reason: str) -> None:
        """End the control session; sessions with app streams live on until `close`. Idempotent."""
        if self._is_retired:
            return
        self._is_retired = True
        self._ended = self._ended or reason
        self.session.close(reason)
        if self._serving is not None and self._serving is not asyncio.current_task():
            self._serving.cancel()

    async def leave(self) -> None:
        """Offer the hub no control session any more, once what it asks for on this one is answered."""
        while self._asked:
            await asyncio.sleep(LEAVE_AGAIN)
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    def close(self, reason: str) -> None:
        """End all sessions of this link with what they carry. Idempotent."""
        self.retire(reason)
        self.streams.close(reason)

    @property
    def is_open(self) -> bool:
        """Whether streams may be tried on this link."""
        return self._ended is None and self.session.is_open

    # ------------------------------------------------------------------ app streams

    def open_stream(self, path: str) -> Exchange:
        """Open a CONNECT to `path` at the hub.

        Raises:
            BrokenStreamError: the link is over.
        """
        return self.streams.open(path, self.session)

    # ------------------------------------------------------------------ what the hub asks

    async def _serve(self, control: Exchange) -> None:
        try:
            await serve_stream(
                self._network,
                control,
                self._counted,
                {},
                http_limits=self._config.http,
                session_limits=self._config.sessions,
                own=self.is_own,
            )
        except BrokenStreamError:
            log.debug("the control session was cut")
        except Exception:
            log.exception("serving the hub at %s failed", self.address)
        finally:
            control.end()
            self._dismissed.set()

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asked += 1
        try:
            await self._requests(scope, receive, send)
        finally:
            self._asked -= 1

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        timeout: float | None = None,
        limit: int = MAX_BODY,
    ) -> bytes:
        """Ask the hub; the answer's body, of at most `limit` bytes.

        Raises:
            ZtmError: what the hub's refusal stands for, or that it did not answer.
        """
        seconds = timeout or self._config.answer_timeout
        try:
            return (await call_ok(self.session, method, target, body=body, timeout=seconds, limit=limit)).body
        except DeadlineError as error:
            raise DeadlineError(f"the hub at {self.address} has not answered within {seconds:g} s") from error


_WORDLESS = (
    "the peer closed the connection",
    "the connection was closed",
    "the connection was lost: Connection reset",
    "the connection was lost: Broken pipe",
)
"""How a connection ends that the other side closed without saying why: a reset is sent for bytes that came too late."""


async def _text(stream: Stream) -> str:
    data = b""
    while len(data) < 1000 and (more := await stream.read()):
        data += more
    return data[:1000].decode("utf-8", "replace")
