"""The proxy's JSON: what is asked for and what is shown; `views` says to whom, `stored` what is kept.

Field names are v1's; those that v1 has not (``users``, ``fromUsers``, ``auth``, ``originCa``, ``log.file``) it
ignores. A secret is taken and never given: a password, its hash, a token.

Source: spec apps-network 2.2, 2.3 and 2.6.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.hosts import Hosts
from ztm.apps.proxy.model import Config, FileLog, RequestLog, SplunkLog, parse_listen, parse_users
from ztm.apps.proxy.rules import Rule, parse_rules
from ztm.apps.streams.forms import ErrorShown, ListenShown, TrafficShown
from ztm.errors import UsageError

# ruff: noqa: N815


class SplunkForm(Struct, omit_defaults=True):
    """A Splunk collector; the token is taken and never shown."""

    address: str
    token: str | None = None


class FileForm(Struct):
    """A file in the app's directory."""

    name: str = "requests.log"


class LogForm(Struct, omit_defaults=True):
    """Where requests are told: one of the two, or none."""

    splunk: SplunkForm | None = None
    file: FileForm | None = None


class RuleForm(Struct):
    """One rule; `groups` are ids."""

    action: Literal["allow", "deny"]
    users: list[str] | None = None
    groups: list[str] | None = None
    targets: list[str] | None = None

    def record(self) -> Rule:
        """The checked record; raises `UsageError`."""
        return Rule.parse(self.action, self.users or (), self.groups or (), self.targets or ())


class AuthForm(Struct, omit_defaults=True):
    """Whom the listening port lets in; the password is taken and never shown."""

    user: str
    password: str | None = None


class ConfigBody(Struct, omit_defaults=True):
    """What the proxy shall be: v1's fields that are left out are reset, ours are kept."""

    listen: str | None = None
    targets: list[str] | None = None
    exclusions: list[str] | None = None
    generateCert: bool | None = None
    log: LogForm | None = None
    rules: list[RuleForm] | None = None
    users: list[str] | UnsetType = UNSET
    fromUsers: list[str] | UnsetType = UNSET
    auth: AuthForm | UnsetType | None = UNSET
    originCa: str | UnsetType = UNSET
    revision: str | UnsetType = UNSET
    """See `apps.revision`."""

    def record(self, old: Config) -> Config:
        """The checked record, with what it leaves out from `old`; raises `UsageError`."""
        return Config(
            listen=parse_listen(self.listen) if self.listen else None,
            targets=Hosts.parse(self.targets or ()),
            exclusions=Hosts.parse(self.exclusions or ()),
            rules=parse_rules(rule.record() for rule in self.rules or ()),
            generate_cert=bool(self.generateCert),
            log=_log(self.log, old.log),
            users=old.users if self.users is UNSET else parse_users(self.users),
            from_users=old.from_users if self.fromUsers is UNSET else parse_users(self.fromUsers),
            credentials=old.credentials if self.auth is UNSET else _credentials(self.auth, old.credentials),
            origin_ca=old.origin_ca if self.originCa is UNSET else self.originCa,
        )


class OfferForm(Struct):
    """What others learn of an exit: the file ``/shared/{user}/{ep}/config.json``, and ``GET /api/config``."""

    targets: list[str] = []
    exclusions: list[str] = []
    users: list[str] | UnsetType = UNSET
    """Who may use it besides its owner; v1 does not say, and lets in whom its rules let in."""


class AuthShown(Struct):
    """That a user name and a password are asked for."""

    user: str


class ConfigShown(Struct):
    """The configuration as its owner sees it, and how it stands."""

    listen: str
    targets: list[str]
    exclusions: list[str]
    generateCert: bool
    log: LogForm | None
    rules: list[RuleForm]
    users: list[str]
    fromUsers: list[str]
    auth: AuthShown | None
    originCa: str
    listening: list[ListenShown] | UnsetType = UNSET
    traffic: TrafficShown | UnsetType = UNSET
    """Of the exit."""
    lastError: ErrorShown | UnsetType = UNSET
    revision: str | UnsetType = UNSET
    """See `apps.revision`."""


class ExitShown(Struct):
    """An exit as an entry knows it."""

    endpoint: str
    user: str
    targets: list[str]
    exclusions: list[str]
    seconds: float | UnsetType = UNSET
    """From asking to its acceptance, as measured of late."""
    heldOff: float | UnsetType = UNSET
    """Seconds for which it is asked last, after it failed."""
    lastError: str | UnsetType = UNSET


class GroupShown(Struct):
    """A group of users that rules may name."""

    id: str
    name: str
    users: list[str] = []


class AuthorityShown(Struct):
    """What those who are to trust an exit's certificates install."""

    certificate: str
    """PEM."""


def _log(form: LogForm | None, old: RequestLog | None) -> RequestLog | None:
    if form is None or (form.splunk is None and form.file is None):
        return None
    if form.splunk is not None and form.file is not None:
        raise UsageError("requests are logged to splunk or to a file, not to both")
    if form.file is not None:
        return FileLog.parse(form.file.name)
    assert form.splunk is not None
    if form.splunk.token is not None:
        return SplunkLog.parse(form.splunk.address, form.splunk.token)
    if not isinstance(old, SplunkLog):
        raise UsageError("the request log needs Splunk's token")
    made = SplunkLog.parse(form.splunk.address, old.token)
    if made.url != old.url:
        raise UsageError(f"give Splunk's token for {made.url}: the one that is kept is for another address")
    return made


def _credentials(form: AuthForm | None, old: Credentials | None) -> Credentials | None:
    if form is None:
        return None
    if form.password is not None:
        return Credentials.create(form.user, form.password)
    if old is None or old.user != form.user:
        raise UsageError(f"give a password for proxy user {form.user[:64]!r}")
    return old


OURS = b'"fromUsers"'
"""In a configuration that is shown by one of ours, and never in one of v1's."""


def own_fields(body: ConfigBody) -> list[str]:
    """What of `body` v1 would take no notice of."""
    found = [name for name in ("users", "fromUsers", "auth", "originCa") if getattr(body, name) is not UNSET]
    return [*found, "log.file"] if body.log is not None and body.log.file is not None else found


def read_offer(data: bytes) -> OfferForm | None:
    """An exit's shared file; None if it is none."""
    try:
        return msgspec.json.decode(data, type=OfferForm)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
