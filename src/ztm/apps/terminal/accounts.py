"""The operating system users of this machine, and as which of them a caller's program runs.

It decides, and changes nothing. Only an agent that runs as root can run programs as another user.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ztm.apps.terminal.model import Settings
from ztm.errors import ForbiddenError, NotFoundError, UnreachableError, UsageError

if TYPE_CHECKING:
    from pwd import struct_passwd

USUAL_SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    is_own: bool
    """Whether the agent itself runs as this user."""


def check_system() -> None:
    """Make sure that this system has terminals.

    Raises:
        UnreachableError: it is Windows.
    """
    if sys.platform == "win32":
        raise UnreachableError(
            "this endpoint runs Windows, where terminals are not supported yet (use one that runs Linux or macOS)"
        )


def own_account() -> Account:
    """Whoever the agent runs as, also where the system has no entry of it (a container)."""
    import pwd

    uid = os.geteuid()
    try:
        return _read(pwd.getpwuid(uid))
    except KeyError:
        home = os.environ.get("HOME", "/")
        return Account(name=str(uid), uid=uid, gid=os.getegid(), home=home, shell=USUAL_SHELL, is_own=True)


def own_name() -> str:
    """The name of that user, for people; empty on a system without terminals."""
    return "" if sys.platform == "win32" else own_account().name


def account_named(name: str) -> Account:
    """The user of that name.

    Raises:
        NotFoundError: there is none here.
    """
    import pwd

    try:
        return _read(pwd.getpwnam(name))
    except KeyError:
        raise NotFoundError(f"this machine has no user {name}") from None


def _read(entry: "struct_passwd") -> Account:
    return Account(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        home=entry.pw_dir or "/",
        shell=entry.pw_shell or USUAL_SHELL,
        is_own=entry.pw_uid == os.geteuid(),
    )


def account_for(settings: Settings, owner: str, user: str) -> Account:
    """As whom a program of mesh user `user` runs: whom they are mapped to, else whoever the agent runs as.

    Once anybody is mapped, that default is the owner's alone.

    Raises:
        ForbiddenError: the user is not mapped, to nobody, or to a user that this agent cannot become.
    """
    name = settings.accounts.get(user)
    if name is None:
        if settings.accounts and user != owner:
            raise ForbiddenError(
                f"user {user} is mapped to no user of that machine (its owner can: ztm terminal config --map-user)"
            )
        return own_account()
    try:
        account = account_named(name)
    except NotFoundError as error:
        raise ForbiddenError(f"user {user} is mapped to {name}, and {error}") from None
    _check_reach(account)
    return account


def check_accounts(accounts: Mapping[str, str]) -> None:
    """Make sure that programs can be run as all of these.

    Raises:
        UsageError: there is no such user.
        ForbiddenError: the agent cannot become that user.
    """
    for name in set(accounts.values()):
        try:
            _check_reach(account_named(name))
        except NotFoundError as error:
            raise UsageError(str(error)) from None


def _check_reach(account: Account) -> None:
    if not account.is_own and os.geteuid() != 0:
        raise ForbiddenError(
            f"the agent runs as {own_account().name}, and only one that runs as root can run programs as {account.name}"
        )
