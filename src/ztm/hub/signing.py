"""Making users: a key is certified for a name, and written down, before anybody gets the certificate.

Who may be a user is decided here; what a certificate holds is the authority's business.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ztm.core.permits import day, issued_of
from ztm.errors import CertificateError, ForbiddenError, RefusedError, UsageError
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.model import ROOT, Origin, check_user
from ztm.pki import Authority, check_public_key, fingerprint, identity_of
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import paths

log = logging.getLogger("ztm.hub")

MAX_PEM = 16 << 10
"""Bytes of a public key that is signed; the largest post-quantum ones fit."""
MAX_DAYS = 365
"""The longest that root may ask for: as long as certificates are without being asked for."""
LONGEST_WAIT = 2.0
"""Seconds that an answer waits until its certificate is valid: one signed in the second of an eviction begins
with the next, and whoever is given it uses it at once."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What somebody who may have it signed wants to have signed."""

    user: str
    public: str
    key: str
    origin: Origin
    days: int | None
    """How long root says that the permit lasts in all, or None."""


class Signing:
    """The handler of ``/api/sign``. Source: spec mesh-protocol 5; the query's ``days`` is ours."""

    def __init__(self, state: HubState) -> None:
        self._state = state

    def mount(self, router: Router) -> None:
        """Add the route."""
        router.add("POST", paths.SIGN, self.sign)

    async def sign(self, request: Request) -> Response:
        """Certify a key: anyone renews the own one, root certifies other users'."""
        link: Link = request.link
        wanted = await _wanted(request, link)
        now = self._state.date()
        earliest = max(int(now.timestamp()), self._shut_until(wanted) + 1)
        begin = datetime.fromtimestamp(earliest, UTC)
        certificate = await self._certificate(wanted, now, begin, self._end(wanted, link, begin))
        self._check_still_welcome(link)
        identity, ends = identity_of(certificate), self._end(wanted, link, begin)
        if ends is not None and identity.not_after > ends:
            raise RefusedError(
                f"the permit of user {wanted.user} is to end on {_date(ends)}, and the CA service signed it until "
                f"{_date(identity.not_after)}: it is not handed out; ask without an expiry"
            )
        self._state.permits.note(issued_of(identity, now, wanted.origin, ends))
        await asyncio.sleep(min(LONGEST_WAIT, max(0.0, earliest - self._state.network.wall())))
        log.info("signed a certificate of user %s for %s", wanted.user, link.user)
        return Response(201, certificate)

    def _shut_until(self, wanted: _Wanted) -> int:
        """The last second in which a certificate may not begin: its user was evicted then, or its key revoked."""
        evicted = self._state.evictions.of(wanted.user)
        revoked = self._state.permits.known.revocation(wanted.key)
        return max(evicted.time if evicted else 0, revoked.time if revoked else 0)

    def _end(self, wanted: _Wanted, link: Link, begin: datetime) -> datetime | None:
        """When the permit ends for good; None if it may be renewed without end.

        Raises:
            ForbiddenError: it is a renewal, and the holder's certificate lasts until that end already.
        """
        if wanted.days is not None:
            authority = identity_of(self._state.authority.certificate)
            return min(begin + timedelta(days=wanted.days), authority.not_after)
        known = self._state.permits.known.of(wanted.user, wanted.key)
        if wanted.origin is not Origin.RENEWAL or known is None or known.ends is None:
            return None
        if link.identity.not_after.timestamp() >= known.ends:
            ends = day(known.ends)
            raise ForbiddenError(
                f"the permit of user {wanted.user} ends on {ends} and is not renewed beyond: root can issue another"
            )
        return datetime.fromtimestamp(known.ends, UTC)

    def _check_still_welcome(self, link: Link) -> None:
        """Whoever was shut out while the request was read or signed gets nothing for it.

        Raises:
            ForbiddenError: that is so.
        """
        refusal = self._state.refusal(link.identity)
        if refusal is not None:
            raise ForbiddenError(refusal)

    async def _certificate(self, wanted: _Wanted, now: datetime, begin: datetime, end: datetime | None) -> str:
        authority = self._state.authority
        if isinstance(authority, Authority):
            return authority.sign_user(wanted.user, wanted.public, now, not_before=begin, not_after=end)
        certificate = await asyncio.to_thread(
            authority.sign_user, wanted.user, wanted.public, now, not_before=begin, not_after=end
        )
        if identity_of(certificate).not_before.timestamp() <= self._shut_until(wanted):
            raise CertificateError(
                f"user {wanted.user} was evicted, or the permit revoked, and the CA service dates its certificates "
                "before that: try again later"
            )
        return certificate


async def _wanted(request: Request, link: Link) -> _Wanted:
    """What is asked for.

    Raises:
        ForbiddenError: whoever asks may not have that signed.
        UsageError: the name, the key or the number of days is malformed.
    """
    user = request.params["user"]
    if link.user not in (user, ROOT):
        raise ForbiddenError(f"only {user} and root may have {user} signed")
    days = _days(request)
    public = check_public_key(await request.text(MAX_PEM))
    key = fingerprint(public)
    if user != link.user:
        return _Wanted(check_user(user), public, key, Origin.ROOT, days)
    if key != link.identity.key:
        raise ForbiddenError(f"a renewal keeps its key; the name {user} cannot be given to another one")
    if days is not None:
        raise ForbiddenError("only root says how long the permit of another user lasts")
    return _Wanted(user, public, key, Origin.RENEWAL, None)


def _days(request: Request) -> int | None:
    text = request.query.get("days")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_DAYS):
        raise UsageError(f"the query's days are to be a number from 1 to {MAX_DAYS}, not {text[:40]!r}")
    return int(text)


def _date(date: datetime) -> str:
    return day(int(date.timestamp()))
