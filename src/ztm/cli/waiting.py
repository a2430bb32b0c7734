"""Waiting for what an agent was asked to do: a command ends when it is done, or says why it is not.

The agent is only asked; what it does goes on whether or not somebody waits.
"""

import sys
from collections.abc import Callable
from typing import Any

from ztm.cli.context import Context
from ztm.cli.mesh import reason_of, state_of
from ztm.errors import DeadlineError, RefusedError

WAIT = 30.0
"""Seconds that a command waits for a hub unless ``--timeout`` says otherwise."""
POLL = 0.1
"""Seconds between two looks at the state while waiting."""
FINAL = frozenset({"evicted", "refused", "full", "bad permit", "offline"})
"""States that waiting longer does not mend."""


def await_connection(context: Context, name: str, hint: str) -> None:
    """Wait until the mesh `name` is connected, and say so; `hint` is what a failure ends with.

    Raises:
        RefusedError: waiting longer will not mend it.
        DeadlineError: not connected in the time allowed.
    """
    wait = _Wait(context, name, hint)
    if not comes_true(context, wait.is_over):
        raise DeadlineError(
            f"mesh '{name}' is not connected after {wait.seconds:g} s: {wait.reason}; the agent keeps trying; {hint}"
        )
    agent = wait.mesh["agent"]
    context.out(f"Connected to mesh {name} as {agent['name']} (endpoint {agent['id']})")


class _Wait:
    """Looking at a mesh until it is connected, and telling on a terminal why it is not."""

    def __init__(self, context: Context, name: str, hint: str) -> None:
        self.mesh: dict[str, Any] = {}
        self.reason = "connecting"
        self._context = context
        self._name = name
        self._hint = hint
        self._begin = context.now()

    @property
    def seconds(self) -> float:
        """For how long we have waited."""
        return round(self._context.now() - self._begin, 1)

    def is_over(self) -> bool:
        """Whether it is connected now.

        Raises:
            RefusedError: waiting longer will not mend it.
        """
        from ztm.cli.resolve import named_mesh

        self.mesh = named_mesh(self._context.client, self._name)
        state = state_of(self.mesh)
        reason = reason_of(self.mesh) or state
        if state in FINAL:
            raise RefusedError(f"mesh '{self._name}' is not connected: {reason}; {self._hint}")
        if state != "connected" and reason != self.reason and sys.stderr.isatty():
            from ztm.cli.output import complain

            complain(f"waiting for mesh '{self._name}': {reason}")
        self.reason = reason
        return state == "connected"


def comes_true(context: Context, is_so: Callable[[], bool]) -> bool:
    """Whether `is_so` within the time of ``--timeout``, or else of `WAIT`; it is asked again and again.

    Raises:
        ZtmError: what `is_so` raised, but for its being out of time.
    """
    deadline = context.now() + WAIT if context.deadline is None else context.deadline
    while True:
        try:
            if is_so():
                return True
        except DeadlineError:
            return False
        if context.now() + POLL >= deadline:
            return False
        context.sleep(POLL)
