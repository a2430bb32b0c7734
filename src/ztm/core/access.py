"""Who may see which mesh file, whose a path is, and who may use an app's offer.

It holds no state and knows neither files nor sessions. ``root`` has no special rights here.
Source: spec mesh-protocol 11, 12; spec apps-network 1.3.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ztm.errors import ForbiddenError, LimitError, UsageError
from ztm.model import Acl

MAX_PATH = 1024
"""Characters of a mesh path; v1's own paths stay below 300."""
MAX_ACLS = 10_000
"""ACL entries that one user may have stored."""
ANYONE = "*"
"""In a list of users: every user of the mesh."""

_FILE = re.compile(r"/(?P<app>apps/[^/]+/[^/]+/)?(?P<room>users|shared)/(?P<owner>[^/]+)/.+", re.DOTALL)
_RULED = re.compile(r"/apps/[^/]+/[^/]+/shared/(?P<owner>[^/]+)(?:/.+)?", re.DOTALL)
_RULED_DEPTH = 6
"""Parts of ``/apps/p/a/shared/u`` when split at slashes, the empty one before the first included."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_path(path: str) -> str:
    """Return `path` if it is a well-formed absolute mesh path.

    Raises:
        UsageError: it is relative, too long, has an empty, ``.`` or ``..`` segment, or a control character.
    """
    if len(path) > MAX_PATH:
        raise UsageError(f"a mesh path of {len(path)} characters; {MAX_PATH} are allowed")
    first, *segments = path.split("/")
    if first or not segments or any(segment in ("", ".", "..") for segment in segments):
        raise UsageError(f"not a mesh path: {path!r} (absolute, without empty, . or .. segments)")
    if _CONTROL.search(path):
        raise UsageError(f"control character in mesh path {path!r}")
    return path


def owner_of(path: str) -> str | None:
    """The user whose file `path` is, or None if no file can be there."""
    found = _FILE.fullmatch(path)
    return found["owner"] if found else None


def check_owner(path: str, user: str) -> None:
    """Make sure that `path` is one where `user` may create, change and delete.

    Raises:
        ForbiddenError: it belongs to another user, or is where no user has files; the message says where they may be.

    Source: spec mesh-protocol 12.
    """
    owner = owner_of(path)
    if user and owner == user:
        return
    whose = f"it belongs to user {owner}" if owner else "nobody has files there"
    raise ForbiddenError(
        f"user {user or '(none)'} may not change {path}: {whose}; use /users/{user}/... (private) or "
        f"/shared/{user}/... (for all to read), also below /apps/<provider>/<app>"
    )


def may_read(path: str, user: str, acls: Mapping[str, Acl]) -> bool:
    """Whether `user` may see the file at `path`; `acls` are all stored entries by path.

    Of the owner's entries that apply, the deepest with a word for this user wins; without one, shared
    files are readable.
    """
    found = _FILE.fullmatch(path)
    if not found:
        return False
    if found["owner"] == user:
        return True
    if found["room"] == "users":
        return False
    return not found["app"] or _verdict(path, user, acls)


def _verdict(path: str, user: str, acls: Mapping[str, Acl]) -> bool:
    readable = True
    for prefix in _ruling(path):
        acl = acls.get(prefix)
        word = (acl.users.get(user) or acl.all) if acl else ""
        if word in ("block", "readonly"):
            readable = word == "readonly"
    return readable


def _ruling(path: str) -> Iterator[str]:
    """The paths whose ACL applies to `path`, outermost first; all of them name the path's owner."""
    segments = path.split("/")
    for depth in range(_RULED_DEPTH, len(segments) + 1):
        yield "/".join(segments[:depth])


def merge_acls(stored: Mapping[str, Acl], offered: Mapping[str, Acl], user: str) -> list[Acl]:
    """What of `offered` by `user` replaces or adds to `stored`: own shared app paths, newer than the stored entry.

    Everything else is skipped without a word, as v1 does; nothing given is changed.

    Raises:
        LimitError: the user would have more than `MAX_ACLS` entries.
    """
    accepted = [
        acl
        for path, acl in offered.items()
        if acl.path == path
        and _is_ruled_by(path, user)
        and (path not in stored or acl.since_ms > stored[path].since_ms)
    ]
    added = sum(acl.path not in stored for acl in accepted)
    if added and added + sum(_is_ruled_by(path, user) for path in stored) > MAX_ACLS:
        raise LimitError(f"user {user} has too many ACL entries; {MAX_ACLS} are allowed")
    return accepted


def _is_ruled_by(path: str, user: str) -> bool:
    found = _RULED.fullmatch(path)
    if not found or found["owner"] != user:
        return False
    try:
        check_path(path)
    except UsageError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether somebody may, and the rule that says so, for people and for the audit log."""

    is_allowed: bool
    rule: str


def judge(owner: str, users: Collection[str], caller: str) -> Verdict:
    """Whether `caller` may use what `owner` offers to `users`: the owner always, anyone if `ANYONE` is listed.

    It is the one rule of all apps. `caller` is the user of a verified certificate; nobody in particular is nobody.
    """
    if not caller:
        return Verdict(False, "only a known user")
    if caller == owner:
        return Verdict(True, "owner")
    if caller in users:
        return Verdict(True, f"user {caller}")
    if ANYONE in users:
        return Verdict(True, "everyone")
    allowed = ", ".join(sorted({owner, *users}))
    return Verdict(False, f"only {allowed}")


def may_use(owner: str, users: Collection[str], caller: str) -> bool:
    """`judge` for those who need no reason."""
    return judge(owner, users, caller).is_allowed


def check_use(owner: str, users: Collection[str], caller: str, what: str) -> Verdict:
    """The verdict, where it allows; `what` is to be used, for the message.

    Raises:
        ForbiddenError: it does not.
    """
    verdict = judge(owner, users, caller)
    if not verdict.is_allowed:
        raise ForbiddenError(f"user {caller or '(unknown)'} may not use {what}: {verdict.rule} may")
    return verdict


def may_enter(entrances: Collection[str], endpoint_id: str) -> bool:
    """Whether a stream from that endpoint may enter; no entrances listed means all."""
    return not entrances or endpoint_id in entrances
