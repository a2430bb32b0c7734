"""Around a child process: what it does before it becomes the program, and how its end is noticed.

Neither starts nor ends one.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

OPEN_FILES = 1024
"""The usual soft limit (RLIMIT_NOFILE): the agent has raised its own."""


def setting_up(*, has_terminal: bool) -> Callable[[], None]:
    """What the child does before it becomes the program: nothing of the agent's is left to it.

    All is looked up here, so that the child makes system calls only.
    """
    import fcntl
    import resource
    import termios

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    reset = (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    )
    ioctl, controlling, set_limit = fcntl.ioctl, termios.TIOCSCTTY, resource.setrlimit
    set_signal, set_mask = signal.signal, signal.pthread_sigmask
    limits, number, default, setting = (files, most), resource.RLIMIT_NOFILE, signal.SIG_DFL, signal.SIG_SETMASK

    def set_up() -> None:
        for one in reset:
            set_signal(one, default)
        set_mask(setting, ())
        set_limit(number, limits)
        if has_terminal:
            ioctl(0, controlling, 0)

    return set_up


def watch(process: "subprocess.Popen[bytes]", reaped: Callable[[int], None]) -> None:
    """Reap a process when it ends, by its descriptor where the system has such (pidfd_open(2)), else in a thread."""
    loop = asyncio.get_running_loop()
    if sys.platform == "linux":
        try:
            watched = os.pidfd_open(process.pid)
        except OSError:  # an old kernel, or one that forbids it
            pass
        else:

            def is_over() -> None:
                loop.remove_reader(watched)
                os.close(watched)
                reaped(process.wait())

            loop.add_reader(watched, is_over)
            return

    def wait() -> None:
        status = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            loop.call_soon_threadsafe(reaped, status)

    threading.Thread(target=wait, name=f"reaps {process.pid}", daemon=True).start()
