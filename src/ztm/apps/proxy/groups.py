"""The members of the groups that an exit's rules name, asked of the users app now and then and kept.

A group that the users app does not know, or that is empty, has no members: it matches nobody (weakness P6). While the
users app has never answered, nothing is said at all.

Source: spec apps-network 2.5, 5.
"""

import asyncio
from collections.abc import Callable, Collection

import msgspec

from ztm.apps.base import AppContext
from ztm.apps.proxy.forms import GroupShown
from ztm.errors import RefusedError, UnreachableError, ZtmError
from ztm.rest.client import check

REFRESH_SECONDS = 5.0
"""Between two questions, which do not leave this process; v1 asks every ten."""
_PATH = "/api/groups"


async def ask_groups(context: AppContext) -> list[GroupShown]:
    """All groups of the mesh.

    Raises:
        ZtmError: the users app did not say.
    """
    answer = check(await context.ask("users", "GET", _PATH), "the users app's groups")
    try:
        return msgspec.json.decode(answer.body, type=list[GroupShown])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"the users app's groups cannot be read: {error}") from error


class Groups:
    """Members by group id, as of late."""

    def __init__(self, context: AppContext, changed: Callable[[], None]) -> None:
        self._context = context
        self._changed = changed
        self._members: dict[str, frozenset[str]] | None = None
        self._failure = "the users app was not asked yet"
        self._is_needed = False
        self._is_asking = False

    async def need(self, is_needed: bool) -> None:
        """Keep members from now on, or no more; the first answer is there when this returns, if there is one."""
        self._is_needed = is_needed
        if is_needed and not self._is_asking:
            self._is_asking = True
            await self.refresh()
            self._context.spawn(self._keep())

    def members(self, group: str) -> Collection[str]:
        """The members of a group.

        Raises:
            UnreachableError: the users app has never answered.
        """
        if self._members is None:
            raise UnreachableError(f"a rule names groups, and their members are not known: {self._failure}")
        return self._members.get(group, frozenset())

    async def refresh(self) -> None:
        """Ask now; what was known stays where there is no answer."""
        try:
            found = await ask_groups(self._context)
        except ZtmError as error:
            if str(error) != self._failure:
                self._context.log.warning("the members of groups are not known: %s", error)
            self._failure = str(error)
            return
        members = {one.id: frozenset(one.users) for one in found}
        if members != self._members:
            self._members = members
            self._changed()

    async def _keep(self) -> None:
        try:
            while self._is_needed:
                await asyncio.sleep(REFRESH_SECONDS)
                await self.refresh()
        finally:
            self._is_asking = False
