"""Letting a user's services run from boot on, without that user being logged in.

It asks logind and nobody else; where that is not allowed nothing changes.
"""

import os
import shutil
import subprocess

PATIENCE = 10.0
"""Seconds for one call."""


def linger() -> bool:
    """Whether the present user's services start at boot; asked for where they do not yet."""
    if shutil.which("loginctl") is None:
        return False
    words = ["loginctl", "--no-ask-password", "enable-linger", str(os.getuid())]
    try:
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
