"""The command line's own settings: ``~/.ztm.conf``, and the environment, which wins over it.

The agent's settings are not here.

Source: spec cli.md section 4.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztm.cli.files import write_private

if TYPE_CHECKING:
    from ztm.model import Address

DEFAULTS = {"agent": "localhost:7777", "mesh": ""}
VARIABLES = {"agent": "ZTM_AGENT", "mesh": "ZTM_MESH"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force, and where it comes from."""

    value: str
    source: str
    """The name of the environment variable, the path of the file, or ``default``."""


def path() -> Path:
    """Where the settings are kept."""
    return Path.home() / ".ztm.conf"


def load() -> dict[str, Any]:
    """All that the file holds; unreadable or malformed content counts as empty."""
    try:
        content = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def save(changes: dict[str, str]) -> None:
    """Change the given keys and keep the others; an empty value removes its key.

    Raises:
        StorageError: the file cannot be written.
    """
    content = {**load(), **changes}
    kept = {key: value for key, value in content.items() if value != ""}
    write_private(path(), json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def effective(key: str) -> Setting:
    """The value in force of ``agent`` or ``mesh``."""
    from_environment = os.environ.get(VARIABLES[key], "")
    if from_environment:
        return Setting(from_environment, VARIABLES[key])
    stored = load().get(key)
    if isinstance(stored, str) and stored:
        return Setting(stored, str(path()))
    return Setting(DEFAULTS[key], "default")


def agent_address() -> "Address":
    """Where the agent listens: ``host:port``, ``:port`` or a port alone.

    Raises:
        UsageError: the setting is none of these.
    """
    from ztm.model import Address

    return Address.parse(effective("agent").value, "localhost")
