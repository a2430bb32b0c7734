"""The configuration as it is kept on disk, ``/local/config.json``: with the token, and a hash instead of a password.

Source: spec apps-network 2.2 and 2.6.
"""

import msgspec
from msgspec import Struct

from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.forms import ConfigBody, LogForm, SplunkForm
from ztm.apps.proxy.model import Config, SplunkLog
from ztm.apps.proxy.views import body_of
from ztm.errors import StorageError, UsageError


class StoredAuth(Struct):
    """Name and hash."""

    user: str
    hash: str


class Stored(ConfigBody, omit_defaults=True):
    """``/local/config.json``: the body, with the token, and a hash instead of a password."""

    login: StoredAuth | None = None


def write_config(config: Config) -> bytes:
    """``/local/config.json`` for `config`, secrets and all."""
    body = body_of(config)
    stored = Stored(**{name: getattr(body, name) for name in body.__struct_fields__})
    if isinstance(config.log, SplunkLog):
        stored.log = LogForm(splunk=SplunkForm(config.log.url, config.log.token))
    if config.credentials:
        stored.login = StoredAuth(config.credentials.user, config.credentials.secret)
    return msgspec.json.encode(stored)


def read_config(data: bytes) -> Config:
    """What ``/local/config.json`` holds, ours or v1's.

    Raises:
        StorageError: it is damaged.
    """
    try:
        stored = msgspec.json.decode(data, type=Stored)
        login = Credentials.parse(stored.login.user, stored.login.hash) if stored.login else None
        return stored.record(Config(credentials=login))
    except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
        raise StorageError(f"the proxy app's config.json is damaged: {error}") from error
