"""A small process beside the agent that ends the programs it runs for others when the agent itself is killed.

While the agent lives it does nothing: programs are ended by whoever has started them.
"""

import asyncio
import contextlib
import os
import subprocess

SHELL = "/bin/sh"
GRACE = 2
"""Seconds from asking a program to end to SIGKILL."""
_SCRIPT = f"""
trap '' HUP INT QUIT TERM
groups=' '
while read -r what group; do
  case $what in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${{groups%% $group *}} ${{groups#* $group }}" ;; esac ;;
  esac
done
for group in $groups; do
  for one in HUP TERM CONT; do kill -s $one -- -$group; done
done
case $groups in *[0-9]*) sleep {GRACE} ;; esac
for group in $groups; do kill -s KILL -- -$group; done
"""
"""The end of its input is the end of the agent, however that came; until then it notes process groups."""


class Guard:
    """Watches over process groups; it is started when it is needed first."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def ready(self) -> None:
        """Make sure that it runs: before a program is started that is to be watched over.

        Raises:
            OSError: it cannot be started.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._part()
        self._process = subprocess.Popen(  # noqa: S603 - all of it stands here
            [SHELL, "-c", _SCRIPT, "ztm-guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        for group in self._groups:
            self._tell(f"+ {group}\n")

    def watch(self, group: int) -> None:
        """From now on `group` ends with this process."""
        self._groups.add(group)
        self._tell(f"+ {group}\n")

    def release(self, group: int) -> None:
        """It has ended, or is somebody else's now; before its number can be used again."""
        self._groups.discard(group)
        self._tell(f"- {group}\n")

    async def close(self) -> None:
        """End it, and by its end what it still watches over; it is reaped when this returns."""
        self._part()
        if self._process is not None:
            process, self._process = self._process, None
            if not self._groups:
                process.kill()
            await asyncio.to_thread(process.wait)

    def _tell(self, line: str) -> None:
        """Write a line; a guard that has died or hangs is replaced when the next program is started."""
        if self._process is None or self._process.stdin is None or self._process.stdin.closed:
            return
        try:
            os.write(self._process.stdin.fileno(), line.encode())
        except OSError:
            with contextlib.suppress(OSError):
                self._process.kill()
            self._part()

    def _part(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
