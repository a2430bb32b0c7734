"""The command line's own settings: its file, and the environment, which wins over it.

The agent's settings are not here, and nothing is asked of an agent.

Source: spec cli.md section 4.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztm.cli.files import write_private
from ztm.errors import UsageError

if TYPE_CHECKING:
    from ztm.model import Address

DEFAULTS = {"agent": "localhost:7777", "mesh": ""}
VARIABLES = {"agent": "ZTM_AGENT", "mesh": "ZTM_MESH"}
UNIX = "unix:"
"""Begins the address of an agent that listens on a Unix socket; the socket's path follows."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force, and where it comes from."""

    value: str
    source: str
    """The name of the environment variable, the path of the file, or ``default``."""

    @property
    def origin(self) -> str:
        """One word for `source`: ``env``, ``file`` or ``default``."""
        if self.source in VARIABLES.values():
            return "env"
        return "default" if self.source == "default" else "file"


def home() -> Path:
    """The home directory: ``HOME``, or what the system knows of this user where it is not set."""
    given = os.environ.get("HOME", "")
    if given:
        return Path(given)
    try:
        import pwd

        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (ImportError, KeyError):
        return Path.home()


def path() -> Path:
    """Where the settings are kept: ``~/.ztm.conf``, or ``ztm/ztm.conf`` below ``XDG_CONFIG_HOME`` if that is there."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    below = Path(base) if Path(base).is_absolute() else home() / ".config"
    standard = below / "ztm" / "ztm.conf"
    return standard if standard.is_file() else home() / ".ztm.conf"


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


def checked(key: str, value: str) -> str:
    """Return `value` if the setting `key` may have it.

    Raises:
        UsageError: it may not; or there is no such setting.
    """
    if key == "agent":
        if socket_path(value) is None:
            _address(value)
        return value
    if key == "mesh":
        from ztm.model import check_name

        return check_name("mesh", value)
    raise UsageError(f"no such setting: {key} ({' or '.join(DEFAULTS)})")


def agent_socket() -> Path | None:
    """The Unix socket on which the agent listens, or None where the setting names a port.

    Raises:
        UsageError: the setting names no absolute path.
    """
    return socket_path(effective("agent").value)


def socket_path(text: str) -> Path | None:
    """The path in ``unix:/path`` (``~`` is the home directory), or None if `text` is of another form.

    Raises:
        UsageError: the path is not absolute.
    """
    if not text.startswith(UNIX):
        return None
    named = text.removeprefix(UNIX)
    found = home() / named[2:] if named.startswith("~/") else Path(named)
    if not found.is_absolute():
        raise UsageError(f"not an agent's address: {text!r} (write unix:/path/of/its/socket)")
    return found


def agent_address() -> "Address":
    """Where the agent listens: ``host:port``, ``:port`` or a port alone.

    Raises:
        UsageError: the setting is none of these; it says where the setting comes from.
    """
    setting = effective("agent")
    try:
        return _address(setting.value)
    except UsageError as error:
        if setting.origin == "default":
            raise
        raise UsageError(f"{error} (set by {setting.source})") from None


def _address(text: str) -> "Address":
    from ztm.model import Address

    if "://" in text:
        raise UsageError(f"not an address: {text!r} (an agent's address is host:port, without a scheme)")
    return Address.parse(text, "localhost")
