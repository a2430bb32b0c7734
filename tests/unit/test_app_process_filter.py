"""The filter of system calls, run as the kernel runs it, for every architecture that it knows."""

import errno
import struct

import pytest

from ztm_app.confine import seccomp
from ztm_app.confine.seccomp import Calls

PID = 4711
ALLOW, KILL = 0x7FFF0000, 0x80000000
GENERIC = {"read": 63, "openat": 56, "mmap": 222, "fchmod": 52, "exit_group": 94}
X86 = {"read": 0, "openat": 257, "mmap": 9, "fchmod": 91, "exit_group": 231}


def verdict(machine: str, name: str, *arguments: int, net: bool = False, exec_: bool = False) -> int | None:
    """The error number that a call gets; 0 if it is let through, -1 if it ends the process, None if there is none."""
    column, architecture = seccomp._TABLES[machine]
    others = GENERIC if column else X86
    number = others[name] if name in others else seccomp._NUMBERS[name][column]
    return None if number is None else run(machine, architecture, number, arguments, net=net, exec_=exec_)


def run(machine: str, architecture: int, number: int, arguments: tuple[int, ...], *, net: bool, exec_: bool) -> int:
    calls = Calls(net=net, exec=exec_, are_signals_scoped=True)
    program = seccomp._program(calls, *seccomp._TABLES[machine], pid=PID)
    filled = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(one & 0xFFFFFFFFFFFFFFFF for one in filled))
    word, at = 0, 0
    while True:
        code, if_so, if_not, value = struct.unpack("=HBBI", program[at])
        at += 1
        if code == 0x06:
            return {ALLOW: 0, KILL: -1}.get(value, value & 0xFFFF)
        if code == 0x20:
            (word,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            word &= value
        else:
            is_so = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[code]
            at += if_so if is_so else if_not


@pytest.mark.parametrize("machine", list(seccomp._TABLES))
def test_what_an_app_needs_is_let_through_and_what_it_must_not_have_is_refused(machine: str) -> None:
    for name in (*GENERIC, "kill"):
        assert verdict(machine, name) == 0, name
    for name in ("ptrace", "process_vm_readv", "mount", "bpf", "io_uring_setup", "fchmodat", "fchownat", "setxattr"):
        for granted in (False, True):
            assert verdict(machine, name, net=granted, exec_=granted) == errno.EPERM, name
    assert verdict(machine, "utimensat", 5, 0) == 0
    for pointer in (0x1000, 0x7F00_0000_0000):
        assert verdict(machine, "utimensat", -100, pointer) == errno.EPERM
    for name in ("chmod", "mknod", "iopl"):
        assert verdict(machine, name) in (None, errno.EPERM)


@pytest.mark.parametrize("machine", list(seccomp._TABLES))
def test_programs_and_the_network_are_for_who_was_granted_them(machine: str) -> None:
    thread, process, namespace = 0x10F00, 17, 0x10000011
    for name in ("execve", "execveat", "fork", "vfork"):
        assert verdict(machine, name) in (None, errno.EPERM), name
        assert verdict(machine, name, exec_=True) in (None, 0), name
    assert verdict(machine, "clone3") == errno.ENOSYS
    assert verdict(machine, "clone", thread) == verdict(machine, "clone", thread, exec_=True) == 0
    assert (verdict(machine, "clone", process), verdict(machine, "clone", process, exec_=True)) == (errno.EPERM, 0)
    assert verdict(machine, "clone", namespace, exec_=True) == errno.EPERM
    for family, is_allowed in ((1, False), (2, True), (10, True), (16, True), (17, False), (40, False)):
        assert verdict(machine, "socket", family, 1) == errno.EACCES
        assert verdict(machine, "socket", family, 1, net=True) == (0 if is_allowed else errno.EACCES)
    assert verdict(machine, "socketpair", 1, 0x80801) == 0
    assert verdict(machine, "socketpair", 1, 0x80802, net=True) == errno.EACCES


@pytest.mark.parametrize("machine", list(seccomp._TABLES))
def test_it_reaches_itself_and_no_other_process(machine: str) -> None:
    for name in ("kill", "tgkill", "prlimit64", "sched_setaffinity", "rt_sigqueueinfo"):
        assert verdict(machine, name, PID, 9) == verdict(machine, name, 0, 9) == 0, name
        for other in (1, PID + 1, -1, -PID):
            assert verdict(machine, name, other, 9) == errno.EPERM, name
    assert (verdict(machine, "setpriority", 0, PID), verdict(machine, "setpriority", 0, 1)) == (0, errno.EPERM)
    assert verdict(machine, "kill", 1, 9, exec_=True) == 0  # held by Landlock then
    for name in ("tkill", "setsid", "setpgid"):
        assert verdict(machine, name, PID, exec_=True) == errno.EPERM


@pytest.mark.parametrize("machine", list(seccomp._TABLES))
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    own = seccomp._TABLES[machine][1]
    assert run(machine, 0x40000003, 1, (), net=True, exec_=True) == -1
    assert run(machine, own, 0x40000000 | 59, (), net=True, exec_=True) == -1
