"""A port of its own for `/metrics` (Prometheus) and `/healthz`, apart from everything that can change something.

It only shows what its caller counts, to whoever reaches the port: nothing secret, and no id of anybody, may be in it.
`prometheus_client` is imported here and nowhere else, and this module only where metrics were asked for.
"""

import asyncio
import contextlib
import ipaddress
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ztm import version
from ztm.errors import ForbiddenError
from ztm.model import Address
from ztm.net.asgi import serve_stream
from ztm.net.base import Listener, Network, SessionLimits, Stream
from ztm.net.scope import HttpLimits
from ztm.rest.message import JSON, Request, Response
from ztm.rest.router import Router

log = logging.getLogger("ztm.metrics")

CONNECTIONS = 32
"""At once: a few scrapers; more are ended without an answer."""
LIMITS = HttpLimits(idle_seconds=30.0, header_bytes=8 << 10, body_bytes=1024)
STREAMS = SessionLimits(streams=8)
LOOK = 1.0
"""Seconds between two looks at how late the event loop is."""
LOOKS = 60
"""Looks that the shown lag is the largest of: scrapes are seldom further apart."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

Families = Callable[[], Iterable[Metric]]
"""Gives what there is to count now. It is called on the event loop, and must not wait."""
Health = Callable[[], Sequence[str]]
"""Gives what is wrong now, a sentence each; nothing where all is well."""


def gauge(name: str, title: str, value: float) -> Metric:
    """One number that goes up and down."""
    return GaugeMetricFamily(f"ztm_{name}", title, value=value)


def counter(name: str, title: str, value: float) -> Metric:
    """One number that only grows; `name` is without ``_total``."""
    return CounterMetricFamily(f"ztm_{name}", title, value=value)


def by_label(name: str, title: str, label: str, values: Iterable[tuple[str, float]], *, counts: bool = False) -> Metric:
    """Numbers by one label, whose values must be few."""
    made = (CounterMetricFamily if counts else GaugeMetricFamily)(f"ztm_{name}", title, labels=[label])
    for key, value in values:
        made.add_metric([key], value)
    return made


class MetricsPort:
    """The port; `open`, then `close`."""

    def __init__(self, network: Network, address: Address, families: Families, health: Health) -> None:
        self._network = network
        self._wanted = address
        self._health = health
        self._lags: deque[float] = deque(maxlen=LOOKS)
        self._begin = network.wall()
        self._connections = 0
        self._listener: Listener | None = None
        self._looking: asyncio.Task[None] | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(families, self._own))
        ProcessCollector(registry=self._registry)
        self._router = Router()
        self._router.add("GET", "/metrics", self._metrics)
        self._router.add("GET", "/healthz", self._healthz)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._listener.address if self._listener else self._wanted

    async def open(self) -> None:
        """Listen.

        Raises:
            ConflictError: the address cannot be listened on.
        """
        self._listener = await self._network.listen(self._wanted, self._accept)
        self._looking = asyncio.ensure_future(self._look())
        log.info("metrics at http://%s/metrics", self.address)
        if not is_loopback(self._wanted.host):
            log.warning("metrics are served at %s, beyond this machine, to everybody who reaches it", self.address)

    async def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()

    # ------------------------------------------------------------------ serving

    async def _accept(self, stream: Stream) -> None:
        if self._connections >= CONNECTIONS:
            return
        self._connections += 1
        try:
            await serve_stream(self._network, stream, self._router, {}, http_limits=LIMITS, session_limits=STREAMS)
        finally:
            self._connections -= 1

    async def _metrics(self, request: Request) -> Response:
        self._check_host(request)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(200, encode(self._registry), content_type)

    async def _healthz(self, request: Request) -> Response:
        self._check_host(request)
        reasons = list(self._health())
        if reasons:
            return Response(503, {"status": "failing", "reasons": reasons}, JSON)
        return Response(200, {"status": "ok"}, JSON)

    def _check_host(self, request: Request) -> None:
        """A loopback port answers to loopback names only, so that no web page reads it (DNS rebinding).

        Raises:
            ForbiddenError: it was called by another name.
        """
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if is_loopback(self._wanted.host) and name and name.lower() not in LOOPBACK_NAMES:
            raise ForbiddenError("this port answers to localhost only")

    # ------------------------------------------------------------------ of the process itself

    async def _look(self) -> None:
        while True:
            begin = self._network.now()
            await asyncio.sleep(LOOK)
            self._lags.append(max(0.0, self._network.now() - begin - LOOK))

    def _own(self) -> Iterable[Metric]:
        yield InfoMetricFamily("ztm", "What runs here", value={"version": version.VERSION.tag})
        yield gauge("uptime_seconds", "Since the process started to serve", self._network.wall() - self._begin)
        yield gauge(
            "event_loop_lag_seconds",
            f"How late the event loop was at worst in the last {LOOKS * LOOK:g} seconds",
            max(self._lags, default=0.0),
        )


class _Collector(Collector):
    def __init__(self, *families: Families) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All numbers as they are now."""
        for families in self._families:
            yield from families()


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
