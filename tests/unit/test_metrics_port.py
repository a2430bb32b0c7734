"""The port for `/metrics` and `/healthz`: what a scraper reads there, and what nobody can do there."""

import asyncio
import contextlib
import json
import math
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from ztm.errors import ConflictError
from ztm.model import Address
from ztm.net.aio import AioNetwork
from ztm.net.base import Stream
from ztm.net.choice import network as chosen_network
from ztm.net.http1 import Answer
from ztm.rest.client import call_stream
from ztm.rest.metrics import CONNECTIONS, MetricsPort, by_label, counter, gauge


class Port:
    """A metrics port that is open, and whoever asks it."""

    def __init__(self, network: AioNetwork, port: MetricsPort) -> None:
        self.network = network
        self.address = port.address
        self.ills: list[str] = []

    async def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        stream = await self.network.dial(self.address)
        try:
            fields = list(headers.items())
            if "host" not in headers:
                fields.append(("host", str(self.address)))
            return await call_stream(stream, method, target, timeout=10, headers=fields)
        finally:
            stream.abort("done")


def families() -> Iterable[Metric]:
    yield gauge("test_level", "A level", 2.5)
    yield counter("test_things", "Things", 7)
    yield by_label("test_refused", "Refused", "reason", (("full", 1), ('a"b\n', 2)), counts=True)


@contextlib.asynccontextmanager
async def opened(address: Address | None = None) -> AsyncIterator[Port]:
    network = chosen_network()
    ills: list[str] = []
    listener = await network.listen(Address("127.0.0.1", 0), _nothing)
    free = listener.address
    await listener.close()
    port = MetricsPort(network, address or free, families, lambda: ills)
    await port.open()
    try:
        made = Port(network, port)
        made.ills = ills
        yield made
    finally:
        await port.close()


async def _nothing(_stream: Stream) -> None:
    pass


def samples(text: str) -> dict[str, float]:
    """Name and labels to value, by the parser that scrapers use."""
    return {
        f"{sample.name}{''.join(f'{{{key}={value}}}' for key, value in sample.labels.items())}": sample.value
        for family in parse(text)
        for sample in family.samples
    }


async def test_a_scraper_reads_every_number_with_its_kind_and_title() -> None:
    async with opened() as port:
        answer = await port.ask("/metrics")
        found = {family.name: family for family in parse(answer.body.decode())}
        assert answer.status == 200
        assert dict(answer.headers)["content-type"].startswith("text/plain; version=")
        assert (found["ztm_test_level"].type, found["ztm_test_level"].documentation) == ("gauge", "A level")
        assert found["ztm_test_things"].type == "counter"
        numbers = samples(answer.body.decode())
        assert numbers["ztm_test_refused_total{reason=full}"] == 1
        assert numbers['ztm_test_refused_total{reason=a"b\n}'] == 2
        assert numbers["process_resident_memory_bytes"] > 1 << 20
        assert numbers["ztm_uptime_seconds"] >= 0
        assert not math.isnan(numbers["ztm_event_loop_lag_seconds"])


async def test_who_asks_for_openmetrics_gets_that() -> None:
    async with opened() as port:
        answer = await port.ask("/metrics", accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.1")
        assert dict(answer.headers)["content-type"].startswith("application/openmetrics-text")
        assert "ztm_test_things" in {family.name for family in parse_openmetrics(answer.body.decode())}


async def test_health_is_ok_or_says_what_is_wrong() -> None:
    async with opened() as port:
        answer = await port.ask("/healthz")
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
        port.ills.append("mesh m is unreachable")
        answer = await port.ask("/healthz")
        expected = {"status": "failing", "reasons": ["mesh m is unreachable"]}
        assert (answer.status, json.loads(answer.body)) == (503, expected)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed_there(method: str) -> None:
    async with opened() as port:
        for target in ("/metrics", "/healthz"):
            assert (await port.ask(target, method)).status == 405
        assert (await port.ask("/api/meshes", method)).status == 404
        assert (await port.ask("/api/meshes")).status == 404


async def test_a_head_has_no_body() -> None:
    async with opened() as port:
        answer = await port.ask("/healthz", "HEAD")
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "10.0.0.1", "localhost.evil.example:1"])
async def test_a_web_page_cannot_read_it_by_another_name(host: str) -> None:
    async with opened() as port:
        for target in ("/metrics", "/healthz"):
            assert (await port.ask(target, host=host)).status == 403
        for own in ("localhost", f"localhost:{port.address.port}", "127.0.0.1", "[::1]", "[::1]:5"):
            assert (await port.ask("/healthz", host=own)).status == 200


async def test_idle_connections_are_bounded() -> None:
    async with opened() as port:
        idle = [await port.network.dial(port.address) for _ in range(CONNECTIONS + 3)]
        ended = [asyncio.ensure_future(stream.read()) for stream in idle]
        async with asyncio.timeout(10):
            while sum(one.done() for one in ended) < 3:
                await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
        assert sum(one.done() for one in ended) == 3
        for stream in idle:
            stream.abort("done")
        await asyncio.gather(*ended, return_exceptions=True)
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(Exception):
                    if (await port.ask("/healthz")).status == 200:
                        break


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    async with opened() as port:
        with pytest.raises(ConflictError, match=str(port.address)):
            async with opened(port.address):
                pass


def test_who_asks_for_no_metrics_does_not_load_their_library() -> None:
    program = "import sys, ztm.hub.main, ztm.agent.main; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
