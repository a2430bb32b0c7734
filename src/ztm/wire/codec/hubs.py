"""Hubs, zones and evictions as JSON.

It does not choose which ports a caller may see.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from ztm.model import Eviction, HubInfo
from ztm.wire.codec.base import Count, Number, Versions, addresses, read, short_versions, versions, write
from ztm.wire.records import HubStatus, Load


class _Load(msgspec.Struct):
    agents: Count | None = 0
    sessions: Count | None = 0

    @property
    def record(self) -> Load:
        return Load(self.agents or 0, self.sessions or 0)


class _Status(msgspec.Struct):
    id: str
    since: Number | None = 0
    zone: str | None = "default"
    ports: list[str] | None = None
    peers: list[msgspec.Raw] | None = None
    capacity: _Load | None = None
    load: _Load | None = None
    version: Versions | None = None


def encode_hub_status(status: HubStatus) -> bytes:
    """The answer to GET `paths.HUB_STATUS`."""
    return write(
        _Status(
            id=status.id,
            since=status.since_ms,
            zone=status.zone,
            ports=[str(port) for port in status.ports],
            peers=[],
            capacity=_Load(status.capacity.agents, status.capacity.sessions),
            load=_Load(status.load.agents, status.load.sessions),
            version=versions(status.version, status.runtime),
        )
    )


def decode_hub_status(data: bytes) -> HubStatus:
    """Read what `encode_hub_status` or a v1 hub wrote.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, _Status, "hub status")
    told = found.version or Versions()
    return HubStatus(
        id=found.id,
        since_ms=int(found.since or 0),
        zone=found.zone or "default",
        ports=addresses(found.ports),
        capacity=(found.capacity or _Load()).record,
        load=(found.load or _Load()).record,
        version=told.version,
        runtime=told.runtime,
    )


def encode_zones(zones: Sequence[str]) -> bytes:
    """The answer to GET `paths.ZONES`."""
    return write(list(zones))


def decode_zones(data: bytes) -> list[str]:
    """The names of the zones.

    Raises:
        UsageError: `data` is malformed.
    """
    return read(data, list[str], "list of zones")


class _Hub(msgspec.Struct, omit_defaults=True):
    ports: list[str] | None = None
    version: Versions | None = None
    zone: str | None = None

    def record(self, hub_id: str, zone: str) -> HubInfo:
        told = self.version or Versions()
        return HubInfo(hub_id, addresses(self.ports), self.zone or zone, told.version)


def encode_zone_hubs(hubs: Iterable[HubInfo]) -> bytes:
    """The answer to GET `paths.ZONE_HUBS`."""
    return write({hub.id: _Hub([str(port) for port in hub.ports], short_versions(hub.version)) for hub in hubs})


def decode_zone_hubs(data: bytes, zone: str = "default") -> dict[str, HubInfo]:
    """The hubs of `zone` by id.

    Raises:
        UsageError: `data` is malformed, or a port is no ``host:port``.
    """
    found = read(data, dict[str, _Hub], "list of hubs")
    return {hub_id: hub.record(hub_id, zone) for hub_id, hub in found.items()}


def encode_hub(hub: HubInfo) -> bytes:
    """The body of POST `paths.HUB`, by which a hub announces another."""
    return write(_Hub([str(port) for port in hub.ports], short_versions(hub.version), hub.zone))


def decode_hub(data: bytes, hub_id: str) -> HubInfo:
    """The hub `hub_id` as announced.

    Raises:
        UsageError: `data` is malformed, or a port is no ``host:port``.
    """
    return read(data, _Hub, "hub announcement").record(hub_id, "default")


class _Eviction(msgspec.Struct):
    username: Annotated[str, msgspec.Meta(min_length=1)]
    time: Number
    expiration: Number | None = None

    @property
    def record(self) -> Eviction:
        return Eviction(self.username, int(self.time), int(self.expiration or 0))


def _eviction(eviction: Eviction) -> _Eviction:
    return _Eviction(eviction.user, eviction.time, eviction.expiration)


def encode_eviction(eviction: Eviction) -> bytes:
    """The answer to GET `paths.EVICTION`. The keys stay with the hub."""
    return write(_eviction(eviction))


def decode_eviction(data: bytes) -> Eviction:
    """One eviction, without its keys.

    Raises:
        UsageError: `data` is malformed.
    """
    return read(data, _Eviction, "eviction").record


def encode_evictions(evictions: Iterable[Eviction]) -> bytes:
    """The answer to GET `paths.EVICTIONS`."""
    return write([_eviction(eviction) for eviction in evictions])


def decode_evictions(data: bytes) -> list[Eviction]:
    """All evictions, without their keys.

    Raises:
        UsageError: `data` is malformed.
    """
    return [found.record for found in read(data, list[_Eviction], "list of evictions")]
