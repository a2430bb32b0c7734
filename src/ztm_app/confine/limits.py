"""What a process may use of the machine: memory, open files, no cores, no capabilities, and its end with the agent's.

What a system does not have is left out; whether that is enough is said by `confine.wall`.
"""

import contextlib
import os
import signal
import struct
import sys
from pathlib import Path

from ztm_app.confine.system import IS_LINUX, buffer, prctl, syscall

_SET_PDEATHSIG, _SET_NO_NEW_PRIVS, _CAPBSET_DROP, _SET_DUMPABLE = 1, 38, 24, 4
_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = 64
NICE = 5
PROGRAMS = 256
"""Threads and processes that an app with ``exec`` may start beyond those that its user has."""


def end_with(agent: int) -> None:
    """Have this process killed when its parent, the agent, ends.

    Raises:
        ProcessLookupError: it has ended already.
    """
    if IS_LINUX:
        prctl(_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != agent:
        raise ProcessLookupError("the agent has ended")


def drop_privileges() -> None:
    """Give up every capability, and the way to gain any by starting a program.

    Raises:
        OSError: the kernel refused.
    """
    prctl(_SET_NO_NEW_PRIVS, 1)
    for capability in range(_CAPABILITIES):
        with contextlib.suppress(OSError):  # not root, or not one that this kernel knows
            prctl(_CAPBSET_DROP, capability)
    number = _CAPSET.get(os.uname().machine)
    if number is not None:
        header, nothing = struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)
        syscall(number, buffer(header), buffer(nothing))


def set_limits(*, memory: int, files: int, starts_programs: bool) -> None:
    """Bound address space (`memory` bytes beyond the present), open files, cores, and programs where it may start any.

    A lower limit is kept. The agent goes first where there is too little of a processor.
    """
    try:
        import resource
    except ImportError:
        return
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, files)
    os.nice(NICE)
    if starts_programs and IS_LINUX:  # counted over all of the user's processes; root is exempt (setrlimit(2))
        _lower(resource.RLIMIT_NPROC, _threads_of(os.getuid()) + PROGRAMS)
    if IS_LINUX:  # elsewhere the present size is not known, and the limit not kept
        _lower(resource.RLIMIT_AS, _present_size() + memory)


def _threads_of(user: int) -> int:
    """Threads of all processes of a user, as far as they can be seen."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == user:
                count += sum(1 for _ in (process / "task").iterdir())
    return count


def _lower(kind: int, value: int) -> None:
    import resource

    _, most = resource.getrlimit(kind)
    bound = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (bound, bound))


def _present_size() -> int:
    """Bytes of address space in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def platform_name() -> str:
    """For messages."""
    return f"{sys.platform} {os.uname().machine}"
