"""The tunnel app's JSON: bodies asked with, what is stored, and what is shown.

Unknown fields are ignored; fields of another type are errors. Field names are v1's, and those that v1 has
not (``fromUsers``, ``idleTimeout``, ``lastError``, ``traffic``, ``health``, a target's ``error``) it ignores.
Source: spec apps-network 1.2 and 1.5.
"""

import logging
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ztm.apps.streams.forms import ErrorShown, ListenShown, TargetShown, TrafficShown
from ztm.apps.tunnel.model import Inbound, Key, Outbound
from ztm.errors import StorageError, UsageError
from ztm.model import Address

# ruff: noqa: N815

Log = logging.LoggerAdapter[logging.Logger]


class Listen(Struct):
    """An address to listen on."""

    port: int
    ip: str = "127.0.0.1"


class Target(Struct):
    """An address to dial."""

    port: int
    host: str = "127.0.0.1"


class InboundBody(Struct):
    """What an inbound shall be. `idleTimeout` is seconds, for UDP."""

    listens: list[Listen]
    exits: list[str] | None = None
    fromUsers: list[str] | None = None
    idleTimeout: int | None = None

    def record(self, key: Key) -> Inbound:
        """The checked record; raises `UsageError`."""
        listens = [Address(one.ip, one.port) for one in self.listens]
        return Inbound.parse(key, listens, self.exits or (), self.fromUsers or (), self.idleTimeout)


class OutboundBody(Struct):
    """What an outbound shall be. Without `users`, only its owner may use it; an empty list is everyone.

    `idleTimeout` is seconds, for UDP.
    """

    targets: list[Target]
    entrances: list[str] | None = None
    users: list[str] | None = None
    idleTimeout: int | None = None

    def record(self, key: Key, owner: str) -> Outbound:
        """The checked record; raises `UsageError`."""
        targets = [Address(one.host, one.port) for one in self.targets]
        return Outbound.parse(key, targets, self.entrances or (), self.users, owner, self.idleTimeout)


class StoredInbound(InboundBody, kw_only=True):
    """An inbound in ``/local/config.json``."""

    protocol: str
    name: str


class StoredOutbound(OutboundBody, kw_only=True):
    """An outbound in ``/local/config.json``."""

    protocol: str
    name: str


class StoredConfig(Struct):
    """``/local/config.json``, and the answer to the peer's ``GET /api/config``."""

    inbound: list[StoredInbound] = []
    outbound: list[StoredOutbound] = []


class ExitShown(Struct):
    """An endpoint that an inbound may use now, how it is doing, and why it took no client last time."""

    id: str
    state: str
    error: str | UnsetType = UNSET


class InboundShown(Struct):
    """An inbound as it is now."""

    protocol: str
    name: str
    listens: list[ListenShown]
    exits: list[str]
    fromUsers: list[str]
    health: list[ExitShown]
    traffic: TrafficShown
    idleTimeout: int | UnsetType = UNSET
    lastError: ErrorShown | UnsetType = UNSET


class OutboundShown(Struct):
    """An outbound as it is now; to callers other than the owner without its traffic and errors."""

    protocol: str
    name: str
    targets: list[TargetShown]
    entrances: list[str]
    users: list[str]
    owner: str | UnsetType = UNSET
    idleTimeout: int | UnsetType = UNSET
    traffic: TrafficShown | UnsetType = UNSET
    lastError: ErrorShown | UnsetType = UNSET


class TunnelShown(Struct):
    """A tunnel's ends all over the mesh: the hub's records of the endpoints, or their ids alone."""

    protocol: str
    name: str
    inbound: list[dict[str, Any]]
    outbound: list[dict[str, Any]]


def inbound_body(inbound: Inbound) -> InboundBody:
    """The body that asks for `inbound`."""
    listens = [Listen(ip=one.host, port=one.port) for one in inbound.listens]
    return InboundBody(listens, list(inbound.exits), list(inbound.from_users), inbound.idle)


def outbound_body(outbound: Outbound) -> OutboundBody:
    """The body that asks for `outbound`, its users written out."""
    targets = [Target(host=one.host, port=one.port) for one in outbound.targets]
    return OutboundBody(targets, list(outbound.entrances), list(outbound.users), outbound.idle)


def stored(inbounds: Iterable[Inbound], outbounds: Iterable[Outbound]) -> StoredConfig:
    """The whole configuration as it is stored."""
    return StoredConfig(
        [_stored_inbound(one) for one in inbounds],
        [_stored_outbound(one) for one in outbounds],
    )


def _stored_inbound(inbound: Inbound) -> StoredInbound:
    body = inbound_body(inbound)
    protocol, name = inbound.key
    return StoredInbound(body.listens, body.exits, body.fromUsers, body.idleTimeout, protocol=protocol, name=name)


def _stored_outbound(outbound: Outbound) -> StoredOutbound:
    body = outbound_body(outbound)
    protocol, name = outbound.key
    return StoredOutbound(body.targets, body.entrances, body.users, body.idleTimeout, protocol=protocol, name=name)


def read_config(data: bytes, log: Log) -> tuple[list[Inbound], list[Outbound]]:
    """What ``/local/config.json`` holds. An entry that v1 took and we do not is left out, and logged.

    A stored outbound without users is open to all, as v1 wrote it.

    Raises:
        StorageError: it is not such a file.
    """
    try:
        config = msgspec.json.decode(data, type=StoredConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"the tunnel app's config.json is damaged: {error}") from error
    inbounds, outbounds = [], []
    for entry in config.inbound:
        try:
            inbounds.append(entry.record(Key.parse(entry.protocol, entry.name)))
        except UsageError as error:
            log.error("inbound %s/%s in config.json is left out: %s", entry.protocol, entry.name, error)
    for exit_ in config.outbound:
        exit_.users = exit_.users or []
        try:
            outbounds.append(exit_.record(Key.parse(exit_.protocol, exit_.name), ""))
        except UsageError as error:
            log.error("outbound %s/%s in config.json is left out: %s", exit_.protocol, exit_.name, error)
    return inbounds, outbounds
