"""Whom a service of the machine runs as, and whether that user can run the program at all.

The one thing it changes is to add the system user, when that is missing and needed.
"""

import grp
import os
import pwd
import subprocess
import sys
from pathlib import Path

from ztm.cli.services.unit import SYSTEM_DATA, SYSTEM_USER
from ztm.errors import ZtmError

PATIENCE = 30.0
"""Seconds for a user to be added."""


def user_for(data: Path) -> str:
    """The name of the user to whom `data` belongs; a directory that is missing or empty is for the system user."""
    try:
        if not any(data.iterdir()):
            return SYSTEM_USER
        return pwd.getpwuid(data.stat().st_uid).pw_name
    except (OSError, KeyError):
        return SYSTEM_USER


def account(user: str) -> tuple[int, int]:
    """The ids of a user and its group; the system user is added if it is missing.

    Raises:
        ZtmError: there is no such user, and it cannot be added.
    """
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        _add(user)
        found = pwd.getpwnam(user)
    return found.pw_uid, found.pw_gid


def _add(user: str) -> None:
    words = ["useradd", "--system", "--user-group", "--home-dir", str(SYSTEM_DATA), "--no-create-home"]
    try:
        done = subprocess.run(  # noqa: S603 (words of our own)
            [*words, "--shell", "/usr/sbin/nologin", user],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        why = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        why = str(error)
    if why:
        raise ZtmError(f"the system user {user} cannot be added: {why}; add it by hand, then try again")


def check_program(user: str) -> None:
    """Return if `user` can reach this program's files.

    Raises:
        ZtmError: a directory on the way is closed to that user.
    """
    found = pwd.getpwnam(user)
    groups = {found.pw_gid, *(one.gr_gid for one in grp.getgrall() if user in one.gr_mem)}
    if found.pw_uid == 0:
        return
    for path in (Path(sys.executable), *places()):
        for parent in reversed(path.parents):
            facts = parent.stat()
            bit = 0o100 if facts.st_uid == found.pw_uid else 0o010 if facts.st_gid in groups else 0o001
            if not facts.st_mode & bit:
                raise ZtmError(
                    f"user {user}, whom the service runs as, cannot reach this program: {parent} is closed to it. "
                    "Install ztm where all can read it (as in /opt or /usr/local), or start a service of your own "
                    "with --user"
                )


def places() -> tuple[Path, ...]:
    """Where the interpreter and this package really are."""
    return (Path(sys.executable).resolve(), Path(__file__).resolve())


def program() -> tuple[str, ...]:
    """The words that start this program, whatever the directory and the PATH are then."""
    script = Path(sys.executable).with_name("ztm")
    if script.is_file() and os.access(script, os.X_OK):
        return (str(script),)
    return (sys.executable, "-P", "-m", "ztm")
