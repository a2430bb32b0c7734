"""What peers report when asked how they are: pings, logs and traffic as JSON.

It measures nothing.
"""

from collections.abc import Iterable, Mapping

import msgspec

from ztm.errors import UsageError
from ztm.wire.codec.base import Number, read, write
from ztm.wire.records import Hop, LogEntry, PingAnswer, Traffic


class _PingAnswer(msgspec.Struct):
    id: str
    name: str | None = ""
    time: Number | None = 0


def encode_ping_answer(answer: PingAnswer) -> bytes:
    """An agent's answer to GET `paths.PING`."""
    return write(_PingAnswer(answer.id, answer.name, answer.time_ms))


def decode_ping_answer(data: bytes) -> PingAnswer:
    """What an agent answered.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, _PingAnswer, "ping answer")
    return PingAnswer(found.id, found.name or "", int(found.time or 0))


class _HopHub(msgspec.Struct):
    id: str | None = ""
    names: list[str] | None = None


class _HopEndpoint(msgspec.Struct):
    id: str | None = ""
    name: str | None = ""


class _Hop(msgspec.Struct):
    hub: _HopHub | None = None
    endpoint: _HopEndpoint | None = None
    start: Number | None = None
    end: Number | None = None
    error: str | None = None

    @property
    def record(self) -> Hop:
        start = None if self.start is None else int(self.start)
        end = None if self.end is None else int(self.end)
        if self.hub:
            return Hop("hub", self.hub.id or "", "", tuple(self.hub.names or ()), start, end, self.error)
        if self.endpoint:
            return Hop("endpoint", self.endpoint.id or "", self.endpoint.name or "", (), start, end, self.error)
        raise UsageError("malformed ping result: a hop names neither a hub nor an endpoint")


def encode_hops(hops: Iterable[Hop]) -> bytes:
    """The answer to GET `paths.ENDPOINT_PING`."""
    return write([_hop(hop) for hop in hops])


def _hop(hop: Hop) -> dict[str, object]:
    # A plain object: v1 always has start, end and error, null or not, and only one of hub and endpoint.
    place = _HopHub(hop.id, list(hop.names)) if hop.kind == "hub" else _HopEndpoint(hop.id, hop.name)
    return {hop.kind: place, "start": hop.start_ms, "end": hop.end_ms, "error": hop.error}


def decode_hops(data: bytes) -> list[Hop]:
    """The hops of a ping in order.

    Raises:
        UsageError: `data` is malformed.
    """
    return [found.record for found in read(data, list[_Hop], "ping result")]


class _LogEntry(msgspec.Struct, omit_defaults=True):
    time: str
    message: str
    type: str | None = None


def encode_log(entries: Iterable[LogEntry]) -> bytes:
    """The answer to GET `paths.LOG`; an app's log (`paths.APP_LOG`) has entries with an empty type."""
    return write([_LogEntry(entry.time, entry.message, entry.type or None) for entry in entries])


def decode_log(data: bytes) -> list[LogEntry]:
    """The entries of a log, oldest first.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, list[_LogEntry], "log")
    return [LogEntry(entry.time, entry.message, entry.type or "") for entry in found]


class _Traffic(msgspec.Struct, omit_defaults=True):
    send: Number | None = None
    receive: Number | None = None
    peers: dict[str, "_Traffic"] | None = None

    @property
    def record(self) -> Traffic:
        peers = {peer: traffic.record for peer, traffic in (self.peers or {}).items()}
        return Traffic(self.send or 0, self.receive or 0, peers)


def encode_stats(stats: Mapping[str, Traffic]) -> bytes:
    """The answer to GET `paths.STATS`: traffic by endpoint id, without peers."""
    return write({endpoint: _Traffic(traffic.send, traffic.receive) for endpoint, traffic in stats.items()})


def decode_stats(data: bytes) -> dict[str, Traffic]:
    """Traffic by endpoint id.

    Raises:
        UsageError: `data` is malformed.
    """
    return {endpoint: found.record for endpoint, found in read(data, dict[str, _Traffic], "traffic list").items()}


def encode_traffic(traffic: Traffic) -> bytes:
    """The answer to GET `paths.ENDPOINT_STATS`."""
    peers = {peer: _Traffic(of.send, of.receive) for peer, of in traffic.peers.items()}
    return write(_Traffic(traffic.send, traffic.receive, peers))


def decode_traffic(data: bytes) -> Traffic:
    """The traffic of one endpoint.

    Raises:
        UsageError: `data` is malformed.
    """
    return read(data, _Traffic, "traffic").record
