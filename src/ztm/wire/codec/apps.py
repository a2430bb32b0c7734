"""Apps of an agent, as its hub may ask for them and change them, as JSON.

What is inside an app stream is the app's own affair.
"""

from collections.abc import Iterable

import msgspec

from ztm.wire.codec.base import read, write
from ztm.wire.records import AppChange, AppInfo


class _App(msgspec.Struct, rename="camel"):
    name: str
    provider: str | None = ""
    tag: str | None = ""
    is_builtin: bool | None = False
    is_downloaded: bool | None = False
    is_published: bool | None = False
    is_disabled: bool | None = False
    is_running: bool | None = False

    @property
    def record(self) -> AppInfo:
        return AppInfo(
            provider=self.provider or "",
            name=self.name,
            tag=self.tag or "",
            is_builtin=bool(self.is_builtin),
            is_downloaded=bool(self.is_downloaded),
            is_published=bool(self.is_published),
            is_disabled=bool(self.is_disabled),
            is_running=bool(self.is_running),
        )


def _app(app: AppInfo) -> _App:
    return _App(
        name=app.name,
        provider=app.provider,
        tag=app.tag,
        is_builtin=app.is_builtin,
        is_downloaded=app.is_downloaded,
        is_published=app.is_published,
        is_disabled=app.is_disabled,
        is_running=app.is_running,
    )


def encode_app(app: AppInfo) -> bytes:
    """The answer to GET `paths.APP`."""
    return write(_app(app))


def decode_app(data: bytes) -> AppInfo:
    """One app.

    Raises:
        UsageError: `data` is malformed.
    """
    return read(data, _App, "app").record


def encode_apps(apps: Iterable[AppInfo]) -> bytes:
    """The answer to GET `paths.APPS`."""
    return write([_app(app) for app in apps])


def decode_apps(data: bytes) -> list[AppInfo]:
    """A list of apps.

    Raises:
        UsageError: `data` is malformed.
    """
    return [found.record for found in read(data, list[_App], "list of apps")]


class _Change(msgspec.Struct, rename="camel", omit_defaults=True):
    is_running: bool | None = None
    is_published: bool | None = None
    is_disabled: bool | None = None


def encode_app_change(change: AppChange) -> bytes:
    """The body of POST `paths.APP`."""
    return write(_Change(change.is_running, change.is_published, change.is_disabled))


def decode_app_change(data: bytes) -> AppChange:
    """What a POST wants of an app.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, _Change, "app settings")
    return AppChange(found.is_running, found.is_published, found.is_disabled)
