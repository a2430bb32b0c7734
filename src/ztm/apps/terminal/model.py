"""What an endpoint's owner has set for terminals, and what a caller asks of one, as frozen checked records.

Nothing here does I/O or knows the operating system; JSON of settings is in `forms`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import msgspec

from ztm.core.access import ANYONE
from ztm.errors import UsageError
from ztm.model import check_name
from ztm.wire.console import Window

EXTENSION = "ztm-ext"
"""Header by which an endpoint says that it speaks frames; v1 does not (spec apps-network 7 rule 8)."""
VERSION = "1"
USUAL_WINDOW = Window(80, 24)
"""Where the caller tells no size; v1 left it at 0 by 0 (weakness M1)."""
USUAL_TERM = "xterm"
MAX_WORDS = 32 << 10
"""Bytes of a command: it travels in the head of a request. Anything longer fits on standard input."""
MAX_SESSIONS = 1000
"""More than that is an accident, not a setting."""
MAX_IDLE = 30 * 86400.0
MAX_USERS = 1000

_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_LOCALE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,63}")
_TOLD = re.compile(r"LANG|LC_[A-Z]{1,20}|COLORTERM|NO_COLOR")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the owner of an endpoint has set."""

    shell: str = ""
    """A program with its words; empty means the login shell of the account that a session runs as."""
    users: tuple[str, ...] = ()
    """Who may open a session besides the owner; `ANYONE` is every user of the mesh."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Mesh user to operating system user. Where there is any, other users than the owner need one of theirs."""
    idle_seconds: float = 0.0
    """Without a byte either way, after which a session is ended; 0 is never."""
    max_sessions: int = 32
    """At once, of all users together."""
    is_recorded: bool = False
    """Whether what sessions show is kept on this machine."""

    def __post_init__(self) -> None:
        """Check it all.

        Raises:
            UsageError: a part is malformed or out of bounds.
        """
        if "\0" in self.shell or len(self.shell) > MAX_WORDS:
            raise UsageError("the shell's command is malformed")
        if not 1 <= self.max_sessions <= MAX_SESSIONS:
            raise UsageError(f"{self.max_sessions} sessions at once; 1 to {MAX_SESSIONS} are possible")
        if not 0 <= self.idle_seconds <= MAX_IDLE:
            raise UsageError(f"an idle timeout of {self.idle_seconds:g} s; 0 (never) to {MAX_IDLE:g} s are possible")
        if len(self.users) > MAX_USERS or len(self.accounts) > MAX_USERS:
            raise UsageError(f"more than {MAX_USERS} users; write '{ANYONE}' for every user of the mesh")
        for user in (*self.users, *self.accounts):
            if user != ANYONE or user in self.accounts:
                check_name("user", user)
        for account in self.accounts.values():
            check_account(account)


def check_account(name: str) -> str:
    """Return `name` if it may be an operating system user's.

    Raises:
        UsageError: it may not.
    """
    if not _ACCOUNT.fullmatch(name):
        raise UsageError(f"not the name of an operating system user: {name[:64]!r}")
    return name


def unique(users: Iterable[str]) -> tuple[str, ...]:
    """The users, each once, in order (weakness M10)."""
    return tuple(dict.fromkeys(users))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asks for: a login shell, or one program or command line."""

    window: Window = USUAL_WINDOW
    term: str = USUAL_TERM
    environment: Mapping[str, str] = field(default_factory=dict)
    """Locale and colours of the caller; nothing else is passed on."""
    has_terminal: bool = True
    """Whether it runs on a pseudo-terminal; without one, standard error is apart."""
    words: tuple[str, ...] = ()
    """A program and its words, run as they are."""
    line: str = ""
    """A command line for the shell, as `ssh` has it."""

    @property
    def action(self) -> str:
        """For the audit log."""
        return "run" if self.words or self.line else "shell"

    def query(self) -> dict[str, str | int]:
        """The query that asks another endpoint for it.

        Raises:
            UsageError: the command is too long.
        """
        asked: dict[str, str | int] = {
            "cols": self.window.columns,
            "rows": self.window.rows,
            "term": self.term,
            "ext": VERSION,
            "tty": int(self.has_terminal),
        }
        if self.environment:
            asked["env"] = msgspec.json.encode(dict(self.environment)).decode()
        if self.words:
            asked["argv"] = msgspec.json.encode(self.words).decode()
        if self.line:
            asked["line"] = self.line
        if sum(len(str(value).encode()) for value in asked.values()) > MAX_WORDS:
            raise UsageError(f"the command is longer than {MAX_WORDS} bytes; pipe it into a shell there instead")
        return asked

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """What a query asks for; one of v1 is empty.

        Raises:
            UsageError: it is malformed.
        """
        try:
            words = msgspec.json.decode(query.get("argv") or "[]", type=tuple[str, ...])
            environment = msgspec.json.decode(query.get("env") or "{}", type=dict[str, str])
        except msgspec.DecodeError as error:
            raise UsageError(f"argv must be a JSON array of texts, and env an object of texts: {error}") from error
        line = query.get("line", "")
        if (words and (line or not words[0])) or any("\0" in word for word in (*words, line)):
            raise UsageError("the command is malformed")
        return cls(
            window=Window(_size(query, "cols", USUAL_WINDOW.columns), _size(query, "rows", USUAL_WINDOW.rows)),
            term=terminal_type(query.get("term", "")),
            environment=told(environment),
            has_terminal=query.get("tty", "0" if words or line else "1") != "0",
            words=words,
            line=line,
        )


def told(environment: Mapping[str, str]) -> dict[str, str]:
    """What of a caller's environment reaches a program: locale and colours, where harmless."""
    return {name: value for name, value in environment.items() if _TOLD.fullmatch(name) and _LOCALE.fullmatch(value)}


def terminal_type(term: str) -> str:
    """`term` where it is the name of a terminal's type, else `USUAL_TERM`."""
    return term if _TERM.fullmatch(term) else USUAL_TERM


def fitting(window: Window | None) -> Window:
    """A window with the usual sizes where a terminal tells none."""
    if window is None:
        return USUAL_WINDOW
    return Window(window.columns or USUAL_WINDOW.columns, window.rows or USUAL_WINDOW.rows)


def _size(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, "")
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise UsageError(f"{name} must be a number of characters: {text[:16]!r}")
    return min(int(text), 0xFFFF) or usual
