"""Passes: what the page of an app by others shows instead of the cookie, in the path of each of its URLs.

A pass is good for one app and one signed-in browser, opens nothing but what is below that app's prefix, and is worth
nothing once that browser has signed out. None is stored: it is made from a secret of the session, and made again to
compare, so that no app can find that of another one. It decides nothing about origins; see `guard`.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ztm.agent.local.login import BrowserSession
from ztm.errors import UsageError
from ztm.wire.paths import decode, encode

PASS = "ztm.pass"  # noqa: S105 (a key, not a secret)
"""Scope extension, set by the guard: the segment of the path that held the pass, or nothing."""
MARK = "~"
"""What the segment begins with; an app's own paths cannot begin so."""
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""What a page may ask; never CONNECT, by which commands are run."""

_SHOWN = re.compile(rb"/api/meshes/([^/]+)/apps/([^/]+)/([^/]+)/~([^/]*)(/.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AppPlace:
    """One app of one mesh, as its prefix names it."""

    mesh: str
    provider: str
    app: str

    @property
    def path(self) -> str:
        """The app's prefix, percent-encoded, without a slash at its end."""
        return f"/api/meshes/{encode(self.mesh)}/apps/{encode(self.provider)}/{encode(self.app)}"


@dataclass(frozen=True, slots=True)
class Shown:
    """A path that holds something in a pass's place, right or wrong, as sent."""

    place: AppPlace
    given: str
    rest: bytes
    """The path behind it as sent; nothing, or with a slash at its beginning."""


def shown_in(raw_path: bytes) -> Shown | None:
    """What a path as sent shows; None where it has no place for a pass."""
    found = _SHOWN.fullmatch(raw_path)
    if found is None:
        return None
    try:
        place = AppPlace(*(decode(part.decode()) for part in found.groups()[:3]))
    except (UsageError, UnicodeDecodeError):
        return None
    return Shown(place, found[4].decode("latin-1"), found[5] or b"")


def pass_of(session: BrowserSession, place: AppPlace) -> str:
    """The pass of a signed-in browser for one app: 256 bits that nobody can guess, fit for a URL."""
    named = json.dumps([place.mesh, place.provider, place.app]).encode()
    made = hmac.digest(session.seal, named, hashlib.sha256)
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def holder_of(shown: Shown, sessions: Iterable[BrowserSession]) -> BrowserSession | None:
    """Whose pass is shown, among the browsers that are signed in now."""
    given = shown.given.encode("latin-1")
    found = None
    for session in sessions:
        if hmac.compare_digest(pass_of(session, shown.place).encode(), given):
            found = session
    return found


def entrance(session: BrowserSession, place: AppPlace, rest: str = "/") -> str:
    """The URL's path by which a signed-in browser comes to an app's page; `rest` begins with a slash."""
    return f"{place.path}/{MARK}{pass_of(session, place)}{rest}"
