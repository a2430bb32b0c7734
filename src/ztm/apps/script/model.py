"""What is asked for when a script is to run, and what an endpoint allows: frozen records, already checked.

Nothing is run or read here.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, Self

from ztm.core.access import ANYONE
from ztm.errors import ConflictError, NotFoundError, TooLargeError, UsageError
from ztm.model import check_name
from ztm.wire.paths import SCRIPT, fill

MAX_SCRIPT = 4 << 20
"""Bytes of one script."""
MAX_TARGET = 48 << 10
"""Bytes of a request's target, arguments included: whoever serves it takes a head of 64 KiB."""
MAX_RUNS = 64
"""Scripts at once that an endpoint can be told to take."""
MAX_LIMIT = 30 * 86400.0
"""Seconds; more than that is no script."""
MAX_USERS = 1_000
Language = Literal["python", "js"]
JS_SUFFIX = ".js"
"""Of a script for v1's own engine; everything else is Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an endpoint allows. By default it runs nothing, for nobody."""

    is_allowed: bool = False
    """Whether scripts are run at all, for the owner and for others."""
    users: tuple[str, ...] = ()
    """Who may besides the owner; ``*`` is every user of the mesh."""
    limit: float = 3600.0
    """Seconds after which a script is stopped."""
    max_runs: int = 4
    """Scripts that run at once."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            UsageError: a user is malformed, or a number out of its bounds.
        """
        check_limit(self.limit)
        if not 1 <= self.max_runs <= MAX_RUNS:
            raise UsageError(f"an endpoint runs 1 to {MAX_RUNS} scripts at once, not {self.max_runs}")
        if len(self.users) > MAX_USERS:
            raise UsageError(f"{len(self.users)} users; {MAX_USERS} are allowed")
        for user in self.users:
            if user != ANYONE:
                check_name("user", user)

    def changed(
        self,
        *,
        is_allowed: bool | None,
        users: Collection[str] | None,
        added: Collection[str],
        removed: Collection[str],
        limit: float | None,
        max_runs: int | None,
    ) -> "Settings":
        """These settings with what is not None in their place, `added` users in and `removed` ones out.

        Raises:
            UsageError: the result is not allowed.
            NotFoundError: one to be removed is not listed.
            ConflictError: one is to be added and removed.
        """
        listed = set(self.users if users is None else users)
        if both := sorted(set(added) & set(removed)):
            raise ConflictError(f"{', '.join(both)} cannot be added and removed at once")
        if missing := sorted(set(removed) - listed):
            raise NotFoundError(f"not among the allowed users: {', '.join(missing)}")
        return replace(
            self,
            is_allowed=self.is_allowed if is_allowed is None else is_allowed,
            users=tuple(sorted((listed | set(added)) - set(removed))),
            limit=self.limit if limit is None else limit,
            max_runs=self.max_runs if max_runs is None else max_runs,
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One script to be run, without its text."""

    name: str
    """A file name, for tracebacks and the audit log."""
    arguments: tuple[str, ...] = ()
    language: Language = "python"
    limit: float | None = None
    """Seconds; an endpoint's own limit counts where it is shorter."""

    @classmethod
    def of_file(cls, path: str, arguments: Sequence[str] = (), limit: float | None = None) -> Self:
        """The order to run the file at `path`, whose ending says the language; ``-`` is Python.

        Raises:
            UsageError: the limit is out of bounds, or an argument cannot be one.
        """
        name = "stdin.py" if path == "-" else path.replace("\\", "/").rpartition("/")[2]
        language: Language = "js" if name.lower().endswith(JS_SUFFIX) else "python"
        return cls._checked(name, arguments, language, limit)

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """What a request asks for.

        Raises:
            UsageError: it is malformed.
        """
        try:
            argv = json.loads(query.get("argv") or "[]")
            limit = float(query["limit"]) if query.get("limit") else None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"argv must be a JSON array of texts, and limit a number of seconds: {error}") from None
        if not isinstance(argv, list) or not all(isinstance(one, str) for one in argv):
            raise UsageError("argv must be a JSON array of texts")
        language = query.get("lang") or "python"
        if language not in ("python", "js"):
            raise UsageError(f"scripts in {language[:40]!r} are not known: use python, or js for an endpoint of v1")
        return cls._checked(query.get("name") or "script.py", argv, "js" if language == "js" else "python", limit)

    @classmethod
    def _checked(cls, name: str, arguments: Sequence[str], language: Language, limit: float | None) -> Self:
        if any("\0" in argument or not _is_text(argument) for argument in arguments):
            raise UsageError("an argument of a script holds a zero byte, or bytes that are no UTF-8")
        if limit is not None:
            check_limit(limit)
        return cls(check_name("script", name), tuple(arguments), language, limit)

    @property
    def target(self) -> str:
        """The request target that asks another endpoint for it.

        Raises:
            TooLargeError: the arguments are too long.
        """
        query = {"argv": json.dumps(self.arguments, ensure_ascii=False)}
        if self.language == "python":
            query |= {"lang": "python", "ext": "1", "name": self.name}
            query |= {"limit": f"{self.limit:g}"} if self.limit is not None else {}
        target = fill(SCRIPT, query)
        if len(target) > MAX_TARGET:
            raise TooLargeError(f"the arguments of {self.name} take {len(target)} bytes; {MAX_TARGET} are allowed")
        return target


def _is_text(argument: str) -> bool:
    """Whether it is without halves of surrogate pairs, as which Python and JSON write what is no text."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_limit(seconds: float) -> None:
    """Return if a script may be given so long.

    Raises:
        UsageError: it may not.
    """
    if not 0 < seconds <= MAX_LIMIT:  # also refuses NaN
        raise UsageError(f"a script's time limit is more than 0 and at most {MAX_LIMIT:.0f} seconds, not {seconds:g}")


def check_size(script: bytes, name: str) -> None:
    """Return if a script may be so large.

    Raises:
        TooLargeError: it may not.
    """
    if len(script) > MAX_SCRIPT:
        raise TooLargeError(f"{name} is larger than the {MAX_SCRIPT} bytes that a script may have")


def subject_of(name: str, script: bytes) -> str:
    """What the audit log calls a script: its name and its hash, never its text."""
    return f"{name} sha256:{sha256(script).hexdigest()}"
