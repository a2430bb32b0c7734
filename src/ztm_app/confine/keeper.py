"""The end of all that an app has started, where the agent cannot see to it: a process that outlives it by a moment.

The kernel ends the app's own process with the agent's, but not the programs it started. This one is made before the
walls stand and lies outside of them, so that the app can neither signal nor stop it; it does nothing but wait.
"""

import contextlib
import os
import select
import signal

from ztm_app.confine.system import IS_LINUX

_DESCRIPTORS = 4096
"""More than are open so early."""


def keep() -> None:
    """See to it that this process's group ends with this process. Nothing but a system that is no Linux is without it.

    Raises:
        OSError: the system starts no more processes.
    """
    app = os.getpid()
    if not IS_LINUX or os.fork() != 0:
        return
    try:
        _wait(app)
    finally:
        os._exit(0)


def _wait(app: int) -> None:
    """End the group of `app` once it is gone."""
    os.setsid()
    os.closerange(0, _DESCRIPTORS)
    watched = os.pidfd_open(app)  # the walls hold back a signal at its parent's end as well
    if os.getppid() == app:  # else it is gone, and that number perhaps another's
        waiting = select.poll()
        waiting.register(watched, select.POLLIN)
        waiting.poll()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(app, signal.SIGKILL)
