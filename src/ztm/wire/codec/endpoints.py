"""Endpoints, heartbeats, labels and users as JSON.

It decides neither who is online nor who may ask.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from ztm.model import Endpoint
from ztm.wire.codec.base import Count, Number, Port, Versions, read, short_versions, versions, write
from ztm.wire.records import Heartbeat, User


class UserRow(Protocol):
    """A user to be listed, in whichever record the caller keeps it."""

    @property
    def name(self) -> str:
        """The user's name."""

    @property
    def count(self) -> int:
        """How many endpoints the user has."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The first few of them."""


class _Agent(msgspec.Struct):
    version: Versions | None = None
    labels: list[str] | None = None


class _Stats(msgspec.Struct):
    controlSessions: Count | None = 0  # noqa: N815
    passiveSessions: Count | None = 0  # noqa: N815


class _Endpoint(msgspec.Struct):
    id: str
    name: str | None = ""
    agent: _Agent | None = None
    username: str | None = ""
    ip: str | None = ""
    port: Port | None = 0
    hubs: list[str] | None = None
    heartbeat: Number | None = 0
    ping: Number | None = None
    online: bool | None = False
    stats: _Stats | None = None

    @property
    def record(self) -> Endpoint:
        agent, stats = self.agent or _Agent(), self.stats or _Stats()
        return Endpoint(
            id=self.id,
            name=self.name or "",
            user=self.username or "",
            ip=self.ip or "",
            port=self.port or 0,
            hubs=tuple(self.hubs or ()),
            version=(agent.version or Versions()).version,
            labels=tuple(agent.labels or ()),
            heartbeat_ms=int(self.heartbeat or 0),
            ping_ms=None if self.ping is None else int(self.ping),
            online=bool(self.online),
            control_sessions=stats.controlSessions or 0,
            passive_sessions=stats.passiveSessions or 0,
        )


def _endpoint(endpoint: Endpoint, told: Versions) -> _Endpoint:
    return _Endpoint(
        id=endpoint.id,
        name=endpoint.name,
        agent=_Agent(told, list(endpoint.labels)),
        username=endpoint.user,
        ip=endpoint.ip,
        port=endpoint.port,
        hubs=list(endpoint.hubs),
        heartbeat=endpoint.heartbeat_ms,
        ping=endpoint.ping_ms,
        online=endpoint.online,
        stats=_Stats(endpoint.control_sessions, endpoint.passive_sessions),
    )


def encode_endpoint(endpoint: Endpoint) -> bytes:
    """The answer to GET `paths.ENDPOINT`."""
    return write(_endpoint(endpoint, versions(endpoint.version)))


def decode_endpoint(data: bytes) -> Endpoint:
    """One endpoint.

    Raises:
        UsageError: `data` is malformed.
    """
    return read(data, _Endpoint, "endpoint").record


def encode_endpoints(endpoints: Sequence[Endpoint]) -> bytes:
    """The answer to GET `paths.ENDPOINTS`. Versions are shortened unless there is exactly one endpoint."""
    shape = versions if len(endpoints) == 1 else short_versions
    return write([_endpoint(endpoint, shape(endpoint.version)) for endpoint in endpoints])


def decode_endpoints(data: bytes) -> list[Endpoint]:
    """A list of endpoints.

    Raises:
        UsageError: `data` is malformed.
    """
    return [found.record for found in read(data, list[_Endpoint], "list of endpoints")]


class _Told(msgspec.Struct):
    version: Versions | None = None
    labels: list[Any] | None = None


class _Heartbeat(msgspec.Struct):
    name: str | None = ""
    hubs: list[str] | None = None
    agent: _Told | None = None


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """The body of POST `paths.HUB_STATUS`."""
    told = _Told(versions(heartbeat.version, heartbeat.runtime), list(heartbeat.labels))
    return write(_Heartbeat(heartbeat.name, list(heartbeat.hubs), told))


def decode_heartbeat(data: bytes) -> Heartbeat:
    """What an agent said of itself. As v1 does, labels that are not texts are dropped.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, _Heartbeat, "agent status")
    agent = found.agent or _Told()
    told = agent.version or Versions()
    return Heartbeat(
        name=found.name or "",
        hubs=tuple(found.hubs or ()),
        version=told.version,
        labels=tuple(label for label in agent.labels or () if isinstance(label, str)),
        runtime=told.runtime,
    )


def encode_labels(labels: Sequence[str]) -> bytes:
    """The labels of an endpoint, as `paths.LABELS` has them both ways."""
    return write(list(labels))


def decode_labels(data: bytes) -> tuple[str, ...]:
    """The labels, each once.

    Raises:
        UsageError: `data` is not an array of texts.
    """
    return tuple(dict.fromkeys(read(data, list[str], "list of labels")))


class _Instance(msgspec.Struct):
    id: str
    name: str | None = ""
    labels: list[str] | None = None
    ip: str | None = ""
    port: Port | None = 0
    heartbeat: Number | None = 0
    ping: Number | None = None
    online: bool | None = False

    def record(self, user: str) -> Endpoint:
        return Endpoint(
            id=self.id,
            name=self.name or "",
            user=user,
            ip=self.ip or "",
            port=self.port or 0,
            labels=tuple(self.labels or ()),
            heartbeat_ms=int(self.heartbeat or 0),
            ping_ms=None if self.ping is None else int(self.ping),
            online=bool(self.online),
        )


def _instance(endpoint: Endpoint) -> _Instance:
    return _Instance(
        id=endpoint.id,
        name=endpoint.name,
        labels=list(endpoint.labels),
        ip=endpoint.ip,
        port=endpoint.port,
        heartbeat=endpoint.heartbeat_ms,
        ping=endpoint.ping_ms,
        online=endpoint.online,
    )


class _Instances(msgspec.Struct):
    count: Count | None = 0
    instances: list[_Instance] | None = None


class _User(msgspec.Struct):
    name: str
    endpoints: _Instances | None = None


def encode_users(users: Iterable[UserRow]) -> bytes:
    """The answer to GET `paths.USERS`."""
    return write(
        [
            _User(user.name, _Instances(user.count, [_instance(endpoint) for endpoint in user.endpoints]))
            for user in users
        ]
    )


def decode_users(data: bytes) -> list[User]:
    """The users with their first endpoints.

    Raises:
        UsageError: `data` is malformed.
    """
    users = []
    for found in read(data, list[_User], "list of users"):
        some = found.endpoints or _Instances()
        endpoints = tuple(instance.record(found.name) for instance in some.instances or ())
        users.append(User(found.name, some.count or 0, endpoints))
    return users
