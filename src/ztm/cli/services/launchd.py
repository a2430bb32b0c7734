"""The property list of a launchd agent on macOS, from a `Unit`; and the options that were written into one.

Pure: nothing is read, written or run here.

Source: launchd.plist(5); labels and places as v1's (spec cli 7).
"""

import plistlib
from pathlib import Path
from typing import Any

from ztm.cli.services.unit import Unit

FILES = 10000
"""Open files, as v1."""
AGAIN = 5
"""Seconds before a failed process is started again."""
_MARK = "ZtmOptions"


def label(kind: str) -> str:
    """What launchd calls the service."""
    return f"io.flomesh.ztm.{kind}"


def plist(unit: Unit, home: Path) -> bytes:
    """The property list, for the user whose home directory is `home`."""
    log = str(home / "Library" / "Logs" / f"ztm-{unit.kind}.log")
    content: dict[str, Any] = {
        "Label": label(unit.kind),
        "ProgramArguments": list(unit.words),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": AGAIN,
        "ExitTimeOut": round(unit.drain) + AGAIN,
        "ProcessType": "Background",
        "SoftResourceLimits": {"NumberOfFiles": FILES},
        "HardResourceLimits": {"NumberOfFiles": FILES},
        "StandardOutPath": log,
        "StandardErrorPath": log,
        "Umask": 0o077,
        _MARK: list(unit.options),
    }
    return plistlib.dumps(content)


def options_in(data: bytes) -> tuple[str, ...] | None:
    """The options that a property list of ours was written with; None if it is somebody else's."""
    try:
        words = plistlib.loads(data).get(_MARK)
    except (ValueError, plistlib.InvalidFileException, AttributeError):
        return None
    return tuple(words) if isinstance(words, list) and all(isinstance(word, str) for word in words) else None
