"""The terminal app's JSON: what is stored, asked for and shown.

``shell`` and ``users`` are v1's; it ignores the other fields, and a body without them leaves them as they are.
Source: spec apps-network 3.2.
"""

from dataclasses import replace

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ztm.apps.terminal.model import Settings, unique
from ztm.errors import StorageError, UsageError

# ruff: noqa: N815


class ConfigBody(Struct, omit_defaults=True):
    """What shall be set; what is left out stays."""

    shell: str | UnsetType | None = UNSET
    users: list[str] | UnsetType = UNSET
    osUsers: dict[str, str] | UnsetType = UNSET
    idleTimeout: float | UnsetType = UNSET
    maxSessions: int | UnsetType = UNSET
    record: bool | UnsetType = UNSET

    def applied(self, settings: Settings) -> Settings:
        """`settings` with what is asked for.

        Raises:
            UsageError: a part is malformed.
        """
        return replace(
            settings,
            shell=settings.shell if self.shell is UNSET else (self.shell or "").strip(),
            users=settings.users if self.users is UNSET else unique(self.users),
            accounts=settings.accounts if self.osUsers is UNSET else self.osUsers,
            idle_seconds=settings.idle_seconds if self.idleTimeout is UNSET else self.idleTimeout,
            max_sessions=settings.max_sessions if self.maxSessions is UNSET else self.maxSessions,
            is_recorded=settings.is_recorded if self.record is UNSET else self.record,
        )


class ConfigShown(Struct):
    """What is set."""

    shell: str
    users: list[str]
    osUsers: dict[str, str]
    idleTimeout: float
    """Seconds; 0 is never."""
    maxSessions: int
    record: bool
    account: str
    """The operating system user that the agent runs as."""
    sessions: int
    """Under way now."""


class EndpointShown(Struct):
    """An endpoint of the mesh."""

    id: str
    name: str
    username: str
    online: bool
    isLocal: bool


def config_shown(settings: Settings, account: str, sessions: int) -> ConfigShown:
    """All that is set, for the owner."""
    return ConfigShown(
        shell=settings.shell,
        users=list(settings.users),
        osUsers=dict(settings.accounts),
        idleTimeout=settings.idle_seconds,
        maxSessions=settings.max_sessions,
        record=settings.is_recorded,
        account=account,
        sessions=sessions,
    )


def stored(settings: Settings) -> bytes:
    """``/local/config.json``."""
    body = ConfigBody(
        shell=settings.shell,
        users=list(settings.users),
        osUsers=dict(settings.accounts),
        idleTimeout=settings.idle_seconds,
        maxSessions=settings.max_sessions,
        record=settings.is_recorded,
    )
    return msgspec.json.encode(body)


def read_settings(data: bytes) -> Settings:
    """What ``/local/config.json`` holds, v1's own file included.

    Raises:
        StorageError: it is damaged; nothing is guessed, as it says who may run programs here.
    """
    try:
        return msgspec.json.decode(data, type=ConfigBody).applied(Settings())
    except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
        raise StorageError(f"the terminal app's config.json is damaged: {error}") from error
