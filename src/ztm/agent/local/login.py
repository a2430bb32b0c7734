"""Browser sessions of the local API: one-time links, cookies and the value that changes need besides the cookie.

All of it is in memory and ends with the process. What a browser keeps is a random id; here only its hash is
kept. Nothing here knows HTTP but the form of a cookie.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ztm.errors import ForbiddenError, LimitError, UnauthorizedError

CSRF_HEADER = "x-ztm-csrf"
"""A header that another site's form cannot set; its value must be that of the session."""
LINK_SECONDS = 60.0
LINKS = 16
"""Links that wait to be used; a new one takes the place of the oldest."""
SESSION_SECONDS = 12 * 3600.0
"""A working day; then the token, or another link, is asked for."""
SESSIONS = 32
"""Sessions at once; a new one ends the oldest."""
FAILURES = 10
"""Wrong tokens that are heard in `FAILURE_SECONDS`; nobody guesses 256 bits, and nobody shall try.

Wrong links do not count: else another user of the machine could keep this one from signing in by `ztm gui`.
"""
FAILURE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A signed-in browser."""

    csrf: str = field(repr=False)
    seal: bytes = field(repr=False)
    """What the passes for apps' pages are made from; see `passes`."""
    until: float
    """On the clock that `Login` was given."""


class Login:
    """Who is signed in. `now` gives seconds on a monotonic clock."""

    def __init__(self, token: str, port: int, now: Callable[[], float]) -> None:
        self.cookie = f"ztm-{port}"
        """Name of the cookie: browsers send those of all ports of a host to each, so that two agents need two."""
        self._token = token.encode()
        self._now = now
        self._links: dict[str, float] = {}
        """When each ends, by the hash of its code; the oldest first."""
        self._sessions: dict[str, BrowserSession] = {}
        """By the hash of the id; the oldest first."""
        self._failures: list[float] = []
        self.on_end: Callable[[BrowserSession], None] = lambda _session: None
        """Told of each session that was ended before its time."""

    # ------------------------------------------------------------------ signing in

    def link(self) -> str:
        """A code that signs in one browser, once, within `LINK_SECONDS`."""
        now = self._now()
        self._links = {hashed: until for hashed, until in self._links.items() if until > now}
        while len(self._links) >= LINKS:
            del self._links[next(iter(self._links))]
        code = secrets.token_urlsafe(32)
        self._links[_hash(code)] = now + LINK_SECONDS
        return code

    def enter_by_link(self, code: str) -> str:
        """Use a link; the id of the new session, for the cookie.

        Raises:
            ForbiddenError: there is no such link, or it was used, or is too old.
        """
        until = self._links.pop(_hash(code), 0.0)
        if until <= self._now():
            raise ForbiddenError("this link was used already, or is older than a minute: run 'ztm gui' for another")
        return self._enter()

    def enter_by_token(self, token: str) -> str:
        """Show the token; the id of the new session, for the cookie.

        Raises:
            UnauthorizedError: it is another one.
            LimitError: too many were wrong lately.
        """
        self._check_failures()
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token):
            self._failures.append(self._now())
            raise UnauthorizedError("this is not the agent's token: it is in api.token in the agent's data directory")
        return self._enter()

    def _enter(self) -> str:
        now = self._now()
        self._sessions = {hashed: session for hashed, session in self._sessions.items() if session.until > now}
        while len(self._sessions) >= SESSIONS:
            self._end(next(iter(self._sessions)))
        id_ = secrets.token_urlsafe(32)
        self._sessions[_hash(id_)] = BrowserSession(
            secrets.token_urlsafe(32), secrets.token_bytes(32), now + SESSION_SECONDS
        )
        return id_

    def _check_failures(self) -> None:
        since = self._now() - FAILURE_SECONDS
        self._failures = [at for at in self._failures if at > since]
        if len(self._failures) >= FAILURES:
            raise LimitError(f"{FAILURES} wrong tokens within a minute: wait a minute, or run 'ztm gui'")

    # ------------------------------------------------------------------ being signed in

    def session(self, cookies: Iterable[str]) -> BrowserSession | None:
        """The session that one of these ``Cookie`` header values names, if it still lives."""
        for id_ in self._ids(cookies):
            session = self._sessions.get(_hash(id_))
            if session is not None and session.until > self._now():
                return session
        return None

    def leave(self, cookies: Iterable[str]) -> None:
        """End the sessions that these header values name."""
        for id_ in self._ids(cookies):
            self._end(_hash(id_))

    def _end(self, hashed: str) -> None:
        session = self._sessions.pop(hashed, None)
        if session is not None:
            self.on_end(session)

    def live(self) -> list[BrowserSession]:
        """All browsers that are signed in now."""
        now = self._now()
        return [session for session in self._sessions.values() if session.until > now]

    def seconds_left(self, session: BrowserSession) -> float:
        """How long it may go on."""
        return max(session.until - self._now(), 0.0)

    def _ids(self, cookies: Iterable[str]) -> list[str]:
        pairs = [pair.strip().partition("=") for header in cookies for pair in header.split(";")]
        return [value for name, _, value in pairs if name == self.cookie and value][:4]

    def set_cookie(self, id_: str) -> str:
        """The ``Set-Cookie`` value of a session: out of reach of scripts and of other sites (RFC 6265bis)."""
        return f"{self.cookie}={id_}; HttpOnly; SameSite=Strict; Path=/; Max-Age={SESSION_SECONDS:.0f}"

    def drop_cookie(self) -> str:
        """The ``Set-Cookie`` value by which a browser forgets it."""
        return f"{self.cookie}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"


def is_csrf(session: BrowserSession, shown: Iterable[str]) -> bool:
    """Whether the values of `CSRF_HEADER` are one, and the session's."""
    values = list(shown)
    return len(values) == 1 and hmac.compare_digest(values[0].encode(), session.csrf.encode())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
