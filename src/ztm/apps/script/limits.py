"""What the script app takes and waits for at most: one frozen record, so that tests can state other numbers.

It holds numbers only.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """Durations are seconds, sizes are bytes."""

    answer_seconds: float = 15.0
    """From asking an endpoint to its answer that it takes the script."""
    file_seconds: float = 30.0
    """For the next piece of the script itself: until then it holds one of the places to run."""
    grace_seconds: float = 2.0
    """From SIGTERM to SIGKILL."""
    linger_seconds: float = 1.0
    """Without a byte after a script has ended: then somebody who escaped its process group holds its output open."""
    kept_output: int = 1 << 20
    """Of each output, where it is kept for an answer instead of being passed on."""
    kept_of_all: int = 32 << 20
    """Of one kind of output on many endpoints together; each may keep an equal part of it."""
    at_once: int = 16
    """Endpoints that run one script for one caller at the same time."""


LIMITS = ScriptLimits()
"""What applies unless told otherwise."""
