"""The port app's JSON: what is stored, asked with, and shown.

Unknown fields are ignored; fields of another type are errors. Field names are v1's, and those that v1 has not
(``idleTimeout``, ``ownerToo``, ``traffic``, ``lastError``) it ignores.
Source: spec apps-network 6.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ztm.apps.port.model import Port
from ztm.apps.port.rules import Rule
from ztm.apps.streams.forms import ErrorShown, TrafficShown
from ztm.errors import StorageError, UsageError

# ruff: noqa: N815

Log = logging.LoggerAdapter[logging.Logger]
Record = TypeVar("Record", Port, Rule)

MAX_PORTS = 256
MAX_RULES = 1024
"""Entries of the access list; each is looked at for each connection."""


class PortForm(Struct, omit_defaults=True):
    """A port as it is stored and asked for; `idleTimeout` is seconds, for UDP."""

    listen: str
    via: str
    target: str
    protocol: str | UnsetType = UNSET
    idleTimeout: int | None = None

    def record(self) -> Port:
        """The checked record; raises `UsageError`."""
        return Port.parse(self.protocol or "tcp", self.listen, self.via, self.target, self.idleTimeout)


class RuleForm(Struct, omit_defaults=True):
    """An entry of the access list; without `port` it is for all ports."""

    address: str
    users: list[str] | UnsetType = UNSET
    protocol: str | UnsetType = UNSET
    port: int | None = None
    ownerToo: bool = False

    def record(self) -> Rule:
        """The checked record; raises `UsageError`."""
        return Rule.parse(self.protocol or "tcp", self.address, self.port, self.users or (), owner_too=self.ownerToo)


class Config(Struct):
    """``/local/config.json``, and what is asked and answered at ``/api/config``: all of it, never a part."""

    ports: list[PortForm] = []
    acl: list[RuleForm] = []
    revision: str | UnsetType = UNSET
    """See `apps.revision`; it is not stored, and v1 does not know it."""

    def records(self) -> tuple[list[Port], list[Rule]]:
        """The checked records.

        Raises:
            UsageError: one is malformed, two are for the same thing, or there are too many.
        """
        ports = [one.record() for one in self.ports]
        rules = [one.record() for one in self.acl]
        _check_unique("port", [one.key for one in ports], MAX_PORTS)
        _check_unique("acl entry", [one.key for one in rules], MAX_RULES)
        return ports, rules


def _check_unique(what: str, keys: Sequence[Any], limit: int) -> None:
    if len(keys) > limit:
        raise UsageError(f"{len(keys)} entries of kind {what}; {limit} are allowed")
    seen = set()
    for key in keys:
        if key in seen:
            raise UsageError(f"{what} {key} is there twice")
        seen.add(key)


class PortShown(PortForm, kw_only=True):
    """A port as it is now."""

    open: bool
    error: str | UnsetType = UNSET
    """Why it is not open, or what its last client could not be given."""
    traffic: TrafficShown
    lastError: ErrorShown | UnsetType = UNSET


def port_form(port: Port) -> PortForm:
    """A port as it is stored."""
    return PortForm(str(port.listen), port.via, str(port.target), port.protocol, port.idle)


def stored(ports: Iterable[Port], rules: Iterable[Rule]) -> Config:
    """The whole configuration as it is stored."""
    acl = [RuleForm(one.address, list(one.users), one.protocol, one.port, one.owner_too) for one in rules]
    return Config([port_form(one) for one in ports], acl)


def read_config(data: bytes, log: Log) -> tuple[list[Port], list[Rule]]:
    """What ``/local/config.json`` holds. An entry that v1 took and we do not is left out, and logged.

    Raises:
        StorageError: it is not such a file.
    """
    try:
        config = msgspec.json.decode(data, type=Config)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"the port app's config.json is damaged: {error}") from error
    ports = {one.key: one for one in _readable("port", config.ports, log)}
    rules = {one.key: one for one in _readable("acl entry", config.acl, log)}
    return list(ports.values()), list(rules.values())


def _readable(what: str, forms: Iterable[Any], log: Log) -> list[Any]:
    found = []
    for form in forms:
        try:
            found.append(form.record())
        except UsageError as error:
            log.error("a %s in config.json is left out: %s", what, error)
    return found
