"""The exits that trusted users offer in the mesh, read from mesh files when these change and then kept.

No question is asked for a connection: whose an exit is, is in the path that the hub enforces, and what it serves is in
the file. Who is trusted is the configuration's word.

Source: spec apps-network 2.5, 2.6 and 7 rule 3.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from ztm.apps.base import AppContext
from ztm.apps.proxy.forms import OfferForm, read_offer
from ztm.apps.proxy.hosts import Host, Hosts, serves
from ztm.core.access import ANYONE, may_use
from ztm.errors import UsageError, ZtmError
from ztm.model import FileInfo, check_uuid

RETRY_SECONDS = 3.0
"""Until a file that could not be fetched is tried again."""
MAX_OFFERS = 1000
"""Exits that are kept at once; a mesh has tens."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One exit as its file has it."""

    user: str
    endpoint: str
    targets: Hosts
    exclusions: Hosts
    users: tuple[str, ...] | None
    """Who may use it; None where it does not say (v1)."""

    @classmethod
    def parse(cls, user: str, endpoint: str, form: OfferForm) -> "Offer":
        """The offer that a file makes; what cannot be read in it is left out."""
        users = tuple(form.users) if isinstance(form.users, list) else None
        return cls(user, endpoint, Hosts.parse_some(form.targets), Hosts.parse_some(form.exclusions), users)

    def serves(self, host: Host, user: str) -> bool:
        """Whether it serves `host`, and says that `user` may use it."""
        admits = self.users is None or may_use(self.user, self.users, user)
        return admits and serves(self.targets, self.exclusions, host)


def share_path(endpoint: str) -> str:
    """Where an exit publishes its lists, below its user's shared folder."""
    return f"{endpoint}/config.json"


def read_path(path: str) -> tuple[str, str] | None:
    """User and endpoint of an app path ``/shared/{user}/{ep}/config.json``; None for others."""
    parts = path.split("/")
    if len(parts) != 5 or parts[0] or parts[1] != "shared" or parts[4] != "config.json":
        return None
    try:
        return parts[2], check_uuid("endpoint", parts[3])
    except UsageError:
        return None


class Offers:
    """The exits of trusted users, other than this endpoint itself."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._from_users: tuple[str, ...] = ()
        self._read: dict[str, tuple[FileInfo, Offer | None]] = {}
        """By path: what was read, and of which version of the file."""
        self._is_reading = False
        self._is_stale = False
        self._is_stopped = False
        self._settled = asyncio.Event()

    def trust(self, from_users: tuple[str, ...]) -> None:
        """Use the exits of these users too, from now on."""
        self._from_users = from_users
        self.refresh()

    def all(self) -> list[Offer]:
        """All that are known now, of users that are trusted now."""
        return [offer for _, offer in self._read.values() if offer is not None and self._trusts(offer.user)]

    def refresh(self) -> None:
        """Mesh files may have changed: forget those that are gone, and read those that are new."""
        wanted = dict(self._wanted())
        self._read = {path: kept for path, kept in self._read.items() if path in wanted}
        self._is_stale = True
        if not self._is_reading and not self._is_stopped:
            self._is_reading = True
            self._settled.clear()
            self._context.spawn(self._catch_up())

    async def settled(self, seconds: float) -> None:
        """Wait until all files that are known have been read once, for `seconds` at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            return

    def stop(self) -> None:
        """Read no more."""
        self._is_stopped = True

    async def _catch_up(self) -> None:
        try:
            while self._is_stale and not self._is_stopped:
                self._is_stale = False
                has_failed = await self._catch_up_once()
                if has_failed and not self._is_stale:
                    self._settled.set()
                    await asyncio.sleep(RETRY_SECONDS)
                    self._is_stale = True
        finally:
            self._is_reading = False
            self._settled.set()

    async def _catch_up_once(self) -> bool:
        """Read what is new; whether something could not be."""
        has_failed = False
        for path, info in list(self._wanted()):
            if path in self._read and self._read[path][0] == info:
                continue
            try:
                data = await self._context.files.read(path)
            except ZtmError as error:
                self._context.log.info("the exit of %s is not known yet: %s", path, error)
                has_failed = True
                continue
            self._read[path] = (info, self._parse(path, data))
        return has_failed

    def _wanted(self) -> Iterator[tuple[str, FileInfo]]:
        count = 0
        for path, info in self._context.files.shared().items():
            found = read_path(path)
            if found and found[1] != self._context.place.id and self._trusts(found[0]) and count < MAX_OFFERS:
                count += 1
                yield path, info

    def _parse(self, path: str, data: bytes | None) -> Offer | None:
        place = read_path(path)
        form = read_offer(data) if data else None
        if form is None or place is None:
            self._context.log.warning("the file %s describes no exit, and is left out", path)
            return None
        return Offer.parse(*place, form)

    def _trusts(self, user: str) -> bool:
        return may_use(self._context.user, self._from_users, user)


def trusted(from_users: tuple[str, ...], owner: str) -> str:
    """Whose exits are used, for people."""
    return "any user" if ANYONE in from_users else "user " + ", ".join(dict.fromkeys((owner, *from_users)))
