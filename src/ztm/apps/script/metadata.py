"""What a script says of itself in its comments: the Python and the packages that it needs.

It reads text and nothing else. Source: PEP 723, https://packaging.python.org/specifications/inline-script-metadata/,
and for versions PEP 440.
"""

import operator as operators
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass

from ztm.errors import UsageError

_OPENING = "# /// script"
_CLOSING = "# ///"
_CLAUSE = re.compile(r"\s*(~=|===|==|!=|<=|>=|<|>)\s*v?(\d{1,6}(?:\.\d{1,6}){0,5})(\.\*)?\s*")
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "==": operators.eq, "===": operators.eq, "!=": operators.ne,
    "<": operators.lt, "<=": operators.le, ">": operators.gt, ">=": operators.ge,
}  # fmt: skip

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a script needs."""

    requires_python: str = ""
    """A version specifier; empty is any."""
    dependencies: tuple[str, ...] = ()

    def admits(self, version: Version) -> bool:
        """Whether it runs on this version of Python.

        Raises:
            UsageError: ``requires-python`` is no version specifier.
        """
        return all(_admits(clause, version) for clause in self.requires_python.split(",") if clause.strip())


def read_metadata(text: str) -> Metadata:
    """The metadata of a script; of one that has none, that it needs nothing.

    Raises:
        UsageError: there are several blocks of it, or one is malformed.
    """
    blocks = _blocks(text.splitlines())
    if not blocks:
        return Metadata()
    if len(blocks) > 1:
        raise UsageError("the script has several '# /// script' blocks, where PEP 723 allows one")
    try:
        table = tomllib.loads("\n".join(blocks[0]))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"the script's '# /// script' block is not TOML: {error}") from None
    python, needed = table.get("requires-python", ""), table.get("dependencies", [])
    if not isinstance(python, str) or not isinstance(needed, list) or not all(isinstance(one, str) for one in needed):
        raise UsageError(
            "in the script's '# /// script' block, requires-python is a text, and dependencies a list of texts"
        )
    return Metadata(python, tuple(needed))


def _blocks(lines: list[str]) -> list[list[str]]:
    """The contents of all ``script`` blocks; one that is not closed is none."""
    found, position = [], 0
    while position < len(lines):
        position += 1
        if lines[position - 1].rstrip() != _OPENING:
            continue
        end = position
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        closings = [at for at in range(position, end) if lines[at].rstrip() == _CLOSING]
        if closings:  # the last one counts, as in the reference implementation
            found.append([line[2:] for line in lines[position : closings[-1]]])
            position = closings[-1] + 1
    return found


def _admits(clause: str, version: Version) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None or (match[3] and match[1] not in ("==", "!=")):
        raise UsageError(f"the script's requires-python is no version specifier: {clause.strip()[:60]!r}")
    operator, given = match[1], tuple(int(part) for part in match[2].split("."))
    if operator == "~=":
        if len(given) < 2:
            raise UsageError(f"the script's requires-python is no version specifier: {clause.strip()[:60]!r}")
        return _compared(version, given) >= 0 and version[: len(given) - 1] == given[:-1]
    if match[3]:
        return (version[: len(given)] == given) == (operator == "==")
    return bool(_COMPARISONS[operator](_compared(version, given), 0))


def _compared(version: Version, given: Version) -> int:
    """Below, at or above 0 as `version` is below, at or above `given`; missing parts are zeros."""
    size = max(len(version), len(given))
    left, right = (one + (0,) * (size - len(one)) for one in (version, given))
    return (left > right) - (left < right)
