"""The mesh's groups as this endpoint knows them: read from root's files, kept in memory, changed by root.

Only files below ``/shared/root/`` count, which nobody but root can write: a version that somebody else stores is never
believed, here or elsewhere (spec apps-network 5, U1). It knows nothing of HTTP.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from hashlib import sha256

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.users.forms import group_file, read_group
from ztm.apps.users.model import MAX_GROUPS, Group, check_free, check_known, merged
from ztm.errors import ForbiddenError, LimitError, NotFoundError, UsageError, ZtmError
from ztm.model import ROOT, FileInfo, Peer

PATH = re.compile(r"/shared/root/groups/(?P<id>[^/]+)\.json")
MAX_GROUP_BYTES = 2 << 20
"""Of one group's file: `MAX_MEMBERS` names and the history fit."""
RETRY = 5.0
"""Seconds until a file that could not be had is asked for again."""
FIRST_READ = 5.0
"""Seconds that the first question waits for all files to be read."""


def group_path(id_: str) -> str:
    """Where a group is in the mesh."""
    return f"/shared/{ROOT}/groups/{id_}.json"


class Groups:
    """The groups of the mesh."""

    def __init__(self, context: AppContext, *, retry: float = RETRY) -> None:
        self._context = context
        self._retry = retry
        self._groups: dict[str, Group] = {}
        """By id, as the files have them."""
        self._read: dict[str, str] = {}
        """Hash of each file as it was last read or written here, by id, also of a damaged one."""
        self._own: dict[str, int] = {}
        """How often each was changed here, so that a slow reading of an older version is noticed."""
        self._changing = asyncio.Lock()
        self._is_reading = self._is_running = False
        self._changed = asyncio.Event()
        """Set while something is to be read."""
        self._loaded = asyncio.Event()

    def start(self) -> None:
        """Begin to read the groups, and to follow their changes."""
        self._is_running = True
        self._context.files.on_change(self.refresh)
        self.refresh()

    def stop(self) -> None:
        """Follow no more."""
        self._is_running = False

    # ------------------------------------------------------------------ asking

    async def all(self) -> list[Group]:
        """All groups by name; just after the start, once they have been read."""
        try:
            async with asyncio.timeout(FIRST_READ):
                await self._loaded.wait()
        except TimeoutError:
            self._context.log.warning("not all groups could be read yet")
        return merged(self._groups.values())

    async def one(self, id_: str) -> Group:
        """The group with this id, or into which the one with this id was merged.

        Raises:
            NotFoundError: there is none.
        """
        for group in await self.all():
            if id_ in (group.id, *group.duplicates):
                return group
        raise NotFoundError(f"there is no group with the id {id_}")

    # ------------------------------------------------------------------ changing

    async def put(self, id_: str, name: str, users: list[str], *, force: bool) -> Group:
        """Create or replace a group; it is in the mesh, and seen here, when this returns.

        Unless `force`, users that are added must be in the mesh.

        Raises:
            ForbiddenError: the own user is not root.
            UsageError: a name is malformed.
            ConflictError: another group has this name, or a user is not in the mesh.
            LimitError: there are too many groups or users.
            UnreachableError: the hub cannot be asked for the users.
            StorageError: it could not be saved.
        """
        with self._told(f"group {name}") as trail:
            self._check_root()
            wanted = Group.parse(id_, name, users)
            async with self._changing:
                before = next((one for one in await self.all() if id_ in (one.id, *one.duplicates)), None)
                await self._check(wanted, before, force=force)
                made = self._marked(wanted, before)
                await self._save(made)
                for duplicate in before.duplicates if before else ():
                    await self._erase(duplicate)
            trail.reason = made.changes[-1].what if made.changes else trail.reason
            return made

    async def delete(self, id_: str) -> None:
        """Delete a group, and those that were merged into it.

        Raises:
            ForbiddenError: the own user is not root.
            NotFoundError: there is no such group.
            UnreachableError: nobody can say.
            StorageError: it could not be saved.
        """
        with self._told(f"group {id_}") as trail:
            self._check_root()
            async with self._changing:
                group = await self.one(id_)
                trail.subject, trail.reason = f"group {group.name}", "deleted"
                for one in (*group.duplicates, group.id):
                    await self._erase(one)

    def _told(self, subject: str) -> contextlib.AbstractContextManager[Trail]:
        peer = Peer(self._context.user, self._context.place.id)
        return audited(self._context.audit, Trail(side="entry", peer=peer, action="configure", subject=subject))

    def _check_root(self) -> None:
        if self._context.user != ROOT:
            raise ForbiddenError(f"only {ROOT} may change groups, and you are {self._context.user}")

    async def _check(self, wanted: Group, before: Group | None, *, force: bool) -> None:
        check_free(wanted.name, before.id if before else wanted.id, await self.all())
        if before is None and len(self._groups) >= MAX_GROUPS:
            raise LimitError(f"there are {len(self._groups)} groups; {MAX_GROUPS} are allowed")
        added = set(wanted.users) - set(before.users if before else ())
        if added and not force:
            known = [user.name for user in await self._context.users()]
            check_known(wanted.users, before.users if before else (), known)

    def _marked(self, wanted: Group, before: Group | None) -> Group:
        now, place = round(self._context.network.wall() * 1000), self._context.place
        if before is None:
            return wanted.created(now, self._context.user, place.name)
        kept = Group(before.id, wanted.name, wanted.users)
        return before.changed(kept, now, self._context.user, place.name)

    async def _save(self, group: Group) -> None:
        data = group_file(group)
        if len(data) > MAX_GROUP_BYTES:
            raise LimitError(f"group {group.name} takes {len(data)} bytes; {MAX_GROUP_BYTES} are allowed")
        self._own[group.id] = self._own.get(group.id, 0) + 1
        await self._context.files.write(group_path(group.id), data)
        self._groups[group.id], self._read[group.id] = group, sha256(data).hexdigest()
        self._context.log.info("group %s has %d users", group.name, len(group.users))

    async def _erase(self, id_: str) -> None:
        self._own[id_] = self._own.get(id_, 0) + 1
        await self._context.files.erase(group_path(id_))
        self._forget(id_)

    def _forget(self, id_: str) -> None:
        self._groups.pop(id_, None)
        self._read.pop(id_, None)

    # ------------------------------------------------------------------ following

    def refresh(self) -> None:
        """Read what has changed in the mesh, in a task of its own."""
        self._changed.set()
        if self._is_running and not self._is_reading:
            self._is_reading = True
            self._context.spawn(self._follow())

    async def _follow(self) -> None:
        """Read until nothing is left to read; what cannot be had is tried again later."""
        try:
            while self._changed.is_set() and self._is_running:
                self._changed.clear()
                is_whole = await self._look()
                self._loaded.set()
                if not is_whole:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), self._retry)
                    self._changed.set()
        finally:
            self._is_reading = False

    async def _look(self) -> bool:
        """Bring the groups up to date; whether all could be read."""
        listed = self._listed()
        for id_ in [id_ for id_ in self._read if id_ not in listed]:
            self._forget(id_)
        results = [await self._take(id_, file) for id_, file in listed.items() if self._read.get(id_) != file.hash]
        return all(results)

    def _listed(self) -> Mapping[str, FileInfo]:
        """The files of groups by id; only the first `MAX_GROUPS`, if somebody made more."""
        shared = self._context.files.shared().items()
        found = {match["id"]: file for path, file in shared if (match := PATH.fullmatch(path))}
        if len(found) <= MAX_GROUPS:
            return found
        self._context.log.warning("there are %d groups in the mesh; only %d are kept", len(found), MAX_GROUPS)
        return {id_: found[id_] for id_ in sorted(found)[:MAX_GROUPS]}

    async def _take(self, id_: str, file: FileInfo) -> bool:
        """Read one file; whether that worked. A version older than one made here meanwhile is dropped."""
        own = self._own.get(id_, 0)
        try:
            if file.size > MAX_GROUP_BYTES:
                raise UsageError(f"the file of group {id_} has {file.size} bytes; {MAX_GROUP_BYTES} are allowed")
            data = await self._context.files.read(group_path(id_))
            group = read_group(id_, data) if data is not None else None
        except (UsageError, LimitError) as error:
            self._context.log.error("a group is left out: %s", error)
            group, data = None, None
        except ZtmError as error:
            self._context.log.warning("group %s cannot be read now: %s", id_, error)
            return False
        if self._own.get(id_, 0) != own:
            self._changed.set()
            return True
        self._read[id_] = sha256(data).hexdigest() if data is not None else file.hash
        if group is not None:
            self._groups[id_] = group
        else:
            self._groups.pop(id_, None)
        return True
