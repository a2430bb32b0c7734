"""One app that is installed here, written by others than us: where it lies, and what its owner allowed it.

It holds no code of the app and starts nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from ztm.apps.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What is known when an app is to be started."""

    provider: str
    """The publisher: the user whose certificate signed the package."""
    tag: str
    folder: Path
    """Its files, verified when they were installed; read-only for the app."""
    manifest: Manifest
    """Its permissions are those that were consented to."""
    digest: str
    """Of the package, which the consent is bound to."""
