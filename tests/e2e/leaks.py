"""Whether anything that must stay secret was written into a log: private keys, and tokens of local APIs."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

KEY = re.compile(rb"PRIVATE KEY-----(?:\\n|\s)+([A-Za-z0-9+/=]{40,64})")
"""The first line of a key, in a PEM file, in JSON or in a database; it is long enough to be no other key's."""


def secrets_in(directories: Iterable[Path]) -> set[str]:
    """The private keys and the token that each of these data directories holds now."""
    found = set()
    for directory in directories:
        for path in (*directory.glob("*.db"), *directory.glob("*.db-wal")):
            found.update(key.decode() for key in KEY.findall(path.read_bytes()))
        token = directory / "api.token"
        if token.is_file():
            found.add(token.read_text().strip())
    return found - {""}


def leaks(logs: Mapping[str, str], secrets: Iterable[str]) -> list[str]:
    """The names of the logs that hold one of these secrets, or any private key."""
    markers = [*secrets, "PRIVATE KEY-----"]
    return [name for name, text in logs.items() if any(marker in text for marker in markers)]
