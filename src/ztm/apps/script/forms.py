"""The script app's JSON: what is stored, asked with and shown. Field names are as the terminal app has them."""

import msgspec
from msgspec import Struct

from ztm.apps.script.model import Settings
from ztm.errors import StorageError, UsageError

# ruff: noqa: N815


class StoredSettings(Struct):
    """``/local/config.json``."""

    allow: bool = False
    users: list[str] = []
    limit: float = Settings().limit
    maxRuns: int = Settings().max_runs


class SettingsShown(StoredSettings):
    """What an endpoint allows, and how much it runs."""

    running: int = 0


class SettingsBody(Struct):
    """What shall be different; what is left out stays as it is."""

    allow: bool | None = None
    users: list[str] | None = None
    addUsers: list[str] = []
    delUsers: list[str] = []
    limit: float | None = None
    maxRuns: int | None = None

    def applied(self, settings: Settings) -> Settings:
        """`settings` with these changes; raises what `Settings.changed` does."""
        return settings.changed(
            is_allowed=self.allow,
            users=self.users,
            added=self.addUsers,
            removed=self.delUsers,
            limit=self.limit,
            max_runs=self.maxRuns,
        )


def stored(settings: Settings) -> StoredSettings:
    """The settings as they are stored."""
    return StoredSettings(settings.is_allowed, list(settings.users), settings.limit, settings.max_runs)


def shown(settings: Settings, running: int) -> SettingsShown:
    """The settings as they are shown."""
    return SettingsShown(settings.is_allowed, list(settings.users), settings.limit, settings.max_runs, running)


def read_settings(data: bytes | None) -> Settings:
    """What ``/local/config.json`` holds; without one, nothing is allowed.

    Raises:
        StorageError: it is damaged.
    """
    try:
        kept = msgspec.json.decode(data, type=StoredSettings) if data else StoredSettings()
        return Settings(is_allowed=kept.allow, users=tuple(kept.users), limit=kept.limit, max_runs=kept.maxRuns)
    except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
        raise StorageError(f"the script app's config.json is damaged: {error}") from error
