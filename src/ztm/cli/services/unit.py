"""What a service is, whichever manager runs it: program, options, data, and whose it is.

Nothing is read or written here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ztm.apps.grammar import Arguments, Option

NAMES = {"hub": "ztm-hub", "agent": "ztm-agent"}
"""v1's unit names, so that ours replace its (spec cli 7)."""
SYSTEM_DATA = Path("/var/lib/ztm")
"""Where services of the machine keep everything, unless told otherwise."""
SYSTEM_USER = "ztm"
"""The system user that they run as."""
LOW_PORTS = 1024
"""Ports below need a capability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One service. Durations are seconds."""

    kind: str
    """``hub`` or ``agent``."""
    program: tuple[str, ...]
    """The program's first words; the first is an absolute path."""
    options: tuple[str, ...]
    """The words after ``run hub`` or ``run agent``."""
    data: Path
    """Where it stores everything; an absolute path."""
    user: str = ""
    """Whom a service of the machine runs as; empty for a service of the user who starts it."""
    reads: tuple[Path, ...] = ()
    """Where the program and its interpreter are, symbolic links followed."""
    writable: tuple[Path, ...] = ()
    """What else it writes to."""
    has_low_port: bool = False
    drain: float = 10.0
    """How long its streams may go on when it is told to stop."""

    @property
    def name(self) -> str:
        """As its manager calls it."""
        return NAMES[self.kind]

    @property
    def words(self) -> tuple[str, ...]:
        """The whole command line."""
        return (*self.program, "run", self.kind, *self.options)

    @property
    def is_system(self) -> bool:
        """Whether it is a service of the machine."""
        return bool(self.user)


def saved_words(options: Sequence[Option], arguments: Arguments, *, data: Path, left_out: Sequence[str]) -> list[str]:
    """The options that were given, as words for a process that is started elsewhere: paths are absolute.

    ``--data`` is always among them; those named in `left_out` are not.
    """
    words = [f"--data={data}"]
    for option in options:
        if option.name in ("--data", *left_out) or not arguments.flag(option.name):
            continue
        values = arguments.values(option.name)
        if not values:
            words.append(option.name)
        words += [f"{option.name}={_absolute(value) if _is_path(option) else value}" for value in values]
    return words


def _is_path(option: Option) -> bool:
    return option.value in ("<file>", "<dir>")


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()
