"""Who may hold a certificate: signing, and evictions."""

import asyncio
import logging
from datetime import datetime

from ztm.errors import CertificateError, ForbiddenError, NotFoundError, StorageError, UsageError
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.model import ROOT, Eviction, check_user
from ztm.pki import Authority, check_public_key, fingerprint, identity_of
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths

log = logging.getLogger("ztm.hub")

MAX_PEM = 16 << 10
"""Bytes of a public key that is signed; the largest post-quantum ones fit."""
LONGEST_WAIT = 2.0
"""Seconds that an answer waits until its certificate is valid: one signed in the second of an eviction begins
with the next, and whoever is given it uses it at once."""


class Users:
    """Handlers of ``/api/sign`` and ``/api/evictions``. Source: spec mesh-protocol 5 and 13."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        self._asked: dict[str, int] = {}
        """When each eviction was asked for, by the clock of whoever asked; it may be off from the hub's."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add("POST", paths.SIGN, self.sign)
        router.add("GET", paths.EVICTIONS, self.evictions)
        router.add("GET", paths.EVICTION, self.eviction)
        router.add("POST", paths.EVICTION, self.evict)
        router.add("DELETE", paths.EVICTION, self.readmit)

    async def sign(self, request: Request) -> Response:
        """Certify a key: anyone renews the own one, root certifies other users'."""
        link: Link = request.link
        user = request.params["user"]
        if link.user not in (user, ROOT):
            raise ForbiddenError(f"only {user} and root may have {user} signed")
        public = check_public_key(await request.text(MAX_PEM))
        key = fingerprint(public)
        if user == link.user:
            if key != link.identity.key:
                raise ForbiddenError(f"a renewal keeps its key; the name {user} cannot be given to another one")
        else:
            check_user(user)
        now = self._state.date()
        evicted = self._state.evictions.of(user)
        earliest = max(int(now.timestamp()), evicted.time + 1 if evicted else 0)
        certificate = await self._signed(user, public, now, now.fromtimestamp(earliest, now.tzinfo))
        self._note(user, key, certificate)
        await asyncio.sleep(min(LONGEST_WAIT, max(0.0, earliest - self._state.network.wall())))
        log.info("signed a certificate of user %s for %s", user, link.user)
        return Response(201, certificate)

    async def _signed(self, user: str, public: str, now: datetime, earliest: datetime) -> str:
        authority = self._state.authority
        if isinstance(authority, Authority):
            return authority.sign_user(user, public, now, not_before=earliest)
        certificate = await asyncio.to_thread(authority.sign_user, user, public, now)
        evicted = self._state.evictions.of(user)
        if evicted is not None and identity_of(certificate).not_before.timestamp() <= evicted.time:
            raise CertificateError(
                f"user {user} was evicted, and the CA service dates its certificates before that: try again later"
            )
        return certificate

    def _note(self, user: str, key: str, certificate: str) -> None:
        """Remember the key, so that an eviction of the user finds it."""
        try:
            self._state.store.save_issued(user, key, identity_of(certificate).not_before)
        except StorageError as error:
            if key not in self._state.keys_of(user):
                raise
            log.warning("the renewal of user %s is not on disk: %s", user, error)

    async def evictions(self, _request: Request) -> Response:
        """All evictions."""
        return Response(200, codec.encode_evictions(self._state.evictions.all()), content_type="application/json")

    async def eviction(self, request: Request) -> Response:
        """One user's eviction."""
        return Response(200, codec.encode_eviction(self._known(request)), content_type="application/json")

    def _known(self, request: Request) -> Eviction:
        known = self._state.evictions.of(request.params["user"])
        if known is None:
            raise NotFoundError(f"user {request.params['user']} is not evicted")
        return known

    async def evict(self, request: Request) -> Response:
        """Shut a user out as of now by the hub's clock; a request not newer than the last one changes nothing."""
        user = self._evictable(request)
        asked = _seconds(request, "time")
        expiration = _seconds(request, "expiration") if "expiration" in request.query else None
        known = self._state.evictions.of(user)
        if known is not None and asked <= self._asked.get(user, known.time):
            return Response(200)
        self._asked[user] = asked
        return Response(201 if self._state.evict(user, expiration) else 200)

    async def readmit(self, request: Request) -> Response:
        """Undo an eviction; certificates that it shut out are good again."""
        self._state.readmit(self._evictable(request))
        return Response(204)

    def _evictable(self, request: Request) -> str:
        link: Link = request.link
        user = request.params["user"]
        if link.user != ROOT:
            raise ForbiddenError("only root may evict")
        if user == ROOT:
            raise ForbiddenError("root cannot be evicted")
        return check_user(user)


def _seconds(request: Request, name: str) -> int:
    text = request.query.get(name, "")
    try:
        return int(float(text))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"the query needs {name}=SECONDS, not {text[:40]!r}") from error
