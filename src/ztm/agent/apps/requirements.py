"""Whether the distributions that an app requires are installed beside ztm. Nothing is ever fetched for an app.

Of PEP 508 it knows names, extras (which it cannot look into) and versions; of PEP 440 releases, pre-releases and the
comparisons by them. What it does not know it says so, and takes for not fulfilled.

Source: PEP 508; PEP 440.
"""

import re
from collections.abc import Callable, Iterable
from importlib import metadata

_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[\w\s,.-]*\])?\s*"
    r"(?P<open>\()?(?P<bounds>[^();@]*)(?(open)\))\s*"
)
_BOUND = re.compile(r"(?P<sign>===|==|!=|~=|>=|<=|>|<)\s*(?P<version>[0-9A-Za-z.+!*_-]+)")
_VERSION = re.compile(
    r"v?(?P<release>\d+(?:\.\d+)*)(?:[._-]?(?P<stage>dev|alpha|a|beta|b|c|rc|pre|preview|post|rev|r)[._-]?(?P<number>\d*))?"
    r"(?:\+[\w.]*)?",
    re.IGNORECASE,
)
_STAGES = {"dev": -4, "alpha": -3, "a": -3, "beta": -2, "b": -2, "post": 1, "rev": 1, "r": 1}

_Key = tuple[tuple[int, ...], int, int]


def missing(requires: Iterable[str], installed: Callable[[str], str] = metadata.version) -> list[str]:
    """What is not fulfilled, in words; `installed` gives a distribution's version.

    It raises `importlib.metadata.PackageNotFoundError` for one that is not installed.
    """
    found = [_missing(requirement, installed) for requirement in requires]
    return [problem for problem in found if problem]


def _missing(requirement: str, installed: Callable[[str], str]) -> str:
    match = _REQUIREMENT.fullmatch(requirement)
    bounds = [bound.strip() for bound in match["bounds"].split(",") if bound.strip()] if match else []
    if match is None or not all(map(_BOUND.fullmatch, bounds)):
        return f"it requires {requirement!r}, which is not understood here (write NAME, or NAME>=1.2,<2)"
    try:
        version = installed(match["name"])
    except metadata.PackageNotFoundError:
        return f"it requires {requirement}, which is not installed: {_pip(requirement)}"
    if not all(_fits(version, bound) for bound in bounds):
        return f"it requires {requirement}, and {match['name']} {version} is installed: {_pip(requirement)}"
    return ""


def _pip(requirement: str) -> str:
    return f"pip install {requirement!r} into the Python environment of this agent, and start the agent again"


def _fits(version: str, bound: str) -> bool:
    """Whether a version is within one bound; one that cannot be compared is not."""
    match = _BOUND.fullmatch(bound)
    if match is None:
        return False
    sign, wanted = match["sign"], match["version"]
    if sign == "===":
        return version == wanted
    if wanted.endswith(".*"):
        is_below = _begins(version, wanted[:-2])
        return {"==": is_below, "!=": not is_below}.get(sign, False)
    have, want = _key(version), _key(wanted)
    if have is None or want is None:
        return False
    if sign == "~=":
        return have >= want and "." in wanted and _begins(version, wanted.rpartition(".")[0])
    return _COMPARE[sign](have, want)


_COMPARE: dict[str, Callable[[_Key, _Key], bool]] = {
    "==": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
}


def _key(version: str) -> _Key | None:
    """What orders versions: the release without zeros at its end, the stage, and its number."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    release = [int(part) for part in match["release"].split(".")]
    while release and not release[-1]:
        release.pop()
    stage = match["stage"]
    return tuple(release), _STAGES.get(stage.lower(), -1) if stage else 0, int(match["number"] or 0)


def _begins(version: str, prefix: str) -> bool:
    have, want = _VERSION.fullmatch(version), _VERSION.fullmatch(prefix)
    if have is None or want is None:
        return False
    wanted = [int(part) for part in want["release"].split(".")]
    found = [int(part) for part in have["release"].split(".")]
    return (found + [0] * len(wanted))[: len(wanted)] == wanted
