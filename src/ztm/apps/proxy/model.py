"""What the proxy of one endpoint shall be, as frozen records that cannot be wrong.

Nothing here does I/O; JSON is in `forms`. Secrets are never in a `repr`.

Source: spec apps-network 2.2 and 7.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.hosts import Host, Hosts, serves
from ztm.apps.proxy.rules import Rule
from ztm.core.access import ANYONE
from ztm.errors import UsageError
from ztm.model import Address, check_name

NO_HOSTS = Hosts()
MAX_USERS = 1000
"""Of one list of users."""
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HTTPS_PORT, _HTTP_PORT = 443, 80
_MAX_TOKEN = 512


@dataclass(frozen=True, slots=True)
class SplunkLog:
    """Requests are told to a Splunk HTTP event collector."""

    url: str
    """``https://host:port``; ``http://`` only where it was written."""
    token: str = field(repr=False)

    @classmethod
    def parse(cls, address: str, token: str) -> Self:
        """Read ``host:port`` or a URL without a path.

        Raises:
            UsageError: it is neither, or there is no token.
        """
        if not 0 < len(token) <= _MAX_TOKEN or not token.isprintable() or not token.isascii():
            raise UsageError("the request log needs Splunk's token, one line of text")
        return cls(_collector(address), token)

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.url.startswith("https:")

    @property
    def address(self) -> Address:
        """Where it is."""
        parts = urlsplit(self.url)
        return Address(parts.hostname or "", parts.port or (_HTTPS_PORT if self.is_secure else _HTTP_PORT))


@dataclass(frozen=True, slots=True)
class FileLog:
    """Requests are written to a file of the app's own directory."""

    name: str = "requests.log"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Check the file's name.

        Raises:
            UsageError: it is a path, or no plain name.
        """
        if not _FILE.fullmatch(name):
            raise UsageError(f"not a file name for the request log: {name[:80]!r} (letters, digits, dots and dashes)")
        return cls(name)


RequestLog = SplunkLog | FileLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of it."""

    listen: Address | None = None
    """Where clients are served; None serves none."""
    targets: Hosts = NO_HOSTS
    """What this endpoint is an exit for; nothing, if empty."""
    exclusions: Hosts = NO_HOSTS
    """What it never is an exit for, whether asked for by name or found behind one."""
    rules: tuple[Rule, ...] = ()
    generate_cert: bool = False
    """Whether TLS is opened here, with certificates of the exit's own CA."""
    log: RequestLog | None = None
    users: tuple[str, ...] = ()
    """Who may use this exit besides its owner; `ANYONE` is every user of the mesh."""
    from_users: tuple[str, ...] = ()
    """Whose exits are used besides the own user's; `ANYONE` is every user's (spec apps-network 7 rule 3)."""
    credentials: Credentials | None = field(default=None, repr=False)
    """What clients must give."""
    origin_ca: str = ""
    """Path of a file of further certificates that origins may be signed by; empty for the system's alone."""

    def serves(self, host: Host) -> bool:
        """Whether this endpoint is an exit for `host` as it is written."""
        return serves(self.targets, self.exclusions, host)


def parse_listen(text: str) -> Address:
    """Where to listen: ``[ip:]port``.

    Raises:
        UsageError: it is not that.
    """
    address = Address.parse(text)
    try:
        return Address(str(ip_address(address.host)), address.port)
    except ValueError:
        raise UsageError(f"malformed IP address {address.host[:64]!r} to listen on (as in 127.0.0.1:1080)") from None


def parse_users(names: Iterable[str]) -> tuple[str, ...]:
    """A list of users, of which one may be `ANYONE`.

    Raises:
        UsageError: a name is malformed, or they are too many.
    """
    kept = tuple(dict.fromkeys(one if one == ANYONE else check_name("user", one) for one in names))
    if len(kept) > MAX_USERS:
        raise UsageError(f"{len(kept)} users in one list; {MAX_USERS} are allowed")
    return kept


def _collector(address: str) -> str:
    text = address if "://" in address else f"https://{address}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("https", "http") or not parts.hostname or not plain:
        raise UsageError(f"not an address of a Splunk collector: {address[:80]!r} (host:port, or https://host:port)")
    host = Host.parse(parts.hostname)
    return f"{parts.scheme}://{Address(str(host), port or (443 if parts.scheme == 'https' else 80))}"
