"""Apps of an agent, as its hub may ask for them and change them, as JSON.

What is inside an app stream is the app's own affair.
"""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from ztm.wire.codec.base import read, write
from ztm.wire.records import AppChange, AppInfo, Consent, ProcessState


class _Process(msgspec.Struct, omit_defaults=True):
    state: str = ""
    reason: str = ""
    restarts: int = 0
    confinement: str = ""


class _App(msgspec.Struct, rename="camel"):
    name: str
    provider: str | None = ""
    tag: str | None = ""
    is_builtin: bool | None = False
    is_downloaded: bool | None = False
    is_published: bool | None = False
    is_disabled: bool | None = False
    is_running: bool | None = False
    # what v1 does not know; left out where there is nothing to say
    runtime: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    permissions: list[str] | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    previous: str | UnsetType = UNSET
    process: _Process | UnsetType = UNSET
    is_development: bool | UnsetType = UNSET

    @property
    def record(self) -> AppInfo:
        permissions, process = self.permissions, self.process
        return AppInfo(
            provider=self.provider or "",
            name=self.name,
            tag=self.tag or "",
            is_builtin=bool(self.is_builtin),
            is_downloaded=bool(self.is_downloaded),
            is_published=bool(self.is_published),
            is_disabled=bool(self.is_disabled),
            is_running=bool(self.is_running),
            runtime=self.runtime or "",
            version=self.version or "",
            title=self.title or "",
            permissions=None if isinstance(permissions, UnsetType) else tuple(permissions),
            digest=self.digest or "",
            previous=self.previous or "",
            process=None if isinstance(process, UnsetType) else ProcessState(*msgspec.structs.astuple(process)),
            is_development=self.is_development is True,
        )


def _app(app: AppInfo) -> _App:
    process = app.process
    return _App(
        name=app.name,
        provider=app.provider,
        tag=app.tag,
        is_builtin=app.is_builtin,
        is_downloaded=app.is_downloaded,
        is_published=app.is_published,
        is_disabled=app.is_disabled,
        is_running=app.is_running,
        runtime=app.runtime or UNSET,
        version=app.version or UNSET,
        title=app.title or UNSET,
        permissions=UNSET if app.permissions is None else list(app.permissions),
        digest=app.digest or UNSET,
        previous=app.previous or UNSET,
        process=UNSET
        if process is None
        else _Process(process.state, process.reason, process.restarts, process.confinement),
        is_development=app.is_development or UNSET,
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


class _Consent(msgspec.Struct, omit_defaults=True):
    digest: str
    permissions: list[str] | None = None


class _Change(msgspec.Struct, rename="camel", omit_defaults=True):
    is_running: bool | None = None
    is_published: bool | None = None
    is_disabled: bool | None = None
    consent: _Consent | None = None
    is_rolled_back: bool = False


def encode_app_change(change: AppChange) -> bytes:
    """The body of POST `paths.APP`."""
    consent = None
    if change.consent is not None:
        permissions = change.consent.permissions
        consent = _Consent(change.consent.digest, None if permissions is None else list(permissions))
    return write(_Change(change.is_running, change.is_published, change.is_disabled, consent, change.is_rolled_back))


def decode_app_change(data: bytes) -> AppChange:
    """What a POST wants of an app.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, _Change, "app settings")
    consent = None
    if found.consent is not None:
        permissions = found.consent.permissions
        consent = Consent(found.consent.digest, None if permissions is None else tuple(permissions))
    return AppChange(found.is_running, found.is_published, found.is_disabled, consent, found.is_rolled_back)
