"""A filter of system calls: what Landlock does not hold a process from.

It is a second wall, not the first: it refuses what an app has no use for (other processes, mounts, keys; modes,
owners and times by path; watching files, shared memory and such as no limit counts, Unix sockets, ports to listen on,
signals about files, outliving the agent), and programs and the network where they were not granted.
Source: seccomp(2); https://docs.kernel.org/userspace-api/seccomp_filter.html; numbers from the kernel's tables.
"""

import errno
import os
import platform
import struct
from dataclasses import dataclass

from ztm_app.confine.system import address_of, buffer, prctl

_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "acct": (163, 89), "quotactl": (179, 60), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "iopl": (172, None), "ioperm": (173, None),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "kcmp": (312, 272), "fsopen": (430, 430),
    "fsmount": (432, 432), "fsconfig": (431, 431), "fspick": (433, 433), "open_tree": (428, 428),
    "move_mount": (429, 429), "mount_setattr": (442, 442), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "process_mrelease": (448, 448), "syslog": (103, 116), "vhangup": (153, 58), "personality": (135, 92),
    "chmod": (90, None), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "lchown": (94, None),
    "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "setxattrat": (463, 463), "removexattrat": (466, 466), "mknod": (133, None),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "inotify_init": (253, None),
    "inotify_init1": (294, 26), "fanotify_init": (300, 262), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "listen": (50, 201), "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "clone3": (435, 435), "execve": (59, 221),
    "execveat": (322, 281), "socket": (41, 198), "socketpair": (53, 199), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "prlimit64": (302, 261), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "setsid": (112, 157), "setpgid": (109, 154),
    "utimensat": (280, 88), "fcntl": (72, 25), "ioctl": (16, 29), "prctl": (157, 167),
}  # fmt: skip
"""Numbers on x86-64, and in the generic table of the younger architectures."""
_ALWAYS = tuple(_NUMBERS)[: tuple(_NUMBERS).index("fork")]
"""Refused whatever was granted: all of the table above ``fork``."""
_TABLES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "riscv64": (1, 0xC00000F3)}
"""Column of the table, and the kernel's name of the architecture (linux/audit.h)."""

_LOAD, _EQUAL, _ABOVE, _SET, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
"""Of classic BPF: a word, three conditional jumps, a mask, the verdict."""
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_THREAD = 0x00010000
_NAMESPACES, _SIBLING = 0x7E020080, 0x00008000
"""Flags of clone that make namespaces (cgroup, uts, ipc, user, pid, net, mount, time), or a child of the agent."""
_SET_OWNER = (8, 10, 15)
"""What `fcntl` does to have the kernel signal somebody about a file: F_SETOWN, F_SETSIG, F_SETOWN_EX."""
_SET_OWNER_TOO = (0x8901, 0x8902)
"""And `ioctl`: FIOSETOWN, SIOCSPGRP."""
_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG, by which a process ends with its parent."""
_INET, _INET6, _NETLINK = 2, 10, 16
_STREAM, _TYPE_MASK = 1, 0xF
_SECCOMP, _FILTER = 22, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What is granted beyond the least."""

    net: bool
    exec: bool
    are_signals_scoped: bool
    """Whether Landlock keeps signals within the app, so that it may send them to programs it started."""


def is_known() -> bool:
    """Whether there is a filter for this architecture."""
    return platform.machine() in _TABLES and struct.calcsize("P") == 8


def restrict(calls: Calls) -> None:
    """Hold this process, and all that it starts, to `calls`; ``no_new_privs`` must be set before.

    Raises:
        OSError: the kernel refused.
    """
    program = _program(calls, *_TABLES[platform.machine()], pid=os.getpid())
    code = buffer(b"".join(program))
    prctl(_SECCOMP, _FILTER, buffer(struct.pack("@HxxxxxxQ", len(program), address_of(code))))


def _program(calls: Calls, column: int, architecture: int, *, pid: int) -> list[bytes]:
    code = [
        _word(_ARCH_AT),
        _jump(_EQUAL, architecture, 1, 0),
        _verdict(_KILL),
        _word(_NUMBER_AT),
        _jump(_ABOVE, _X32, 0, 1),
        _verdict(_KILL),
    ]
    for name, block in _blocks(calls, pid):
        number = _NUMBERS[name][column]
        if number is not None:
            code += [_jump(_EQUAL, number, 0, len(block)), *block]
    return [*code, _verdict(_ALLOW)]


def _blocks(calls: Calls, pid: int) -> list[tuple[str, list[bytes]]]:
    """What is done about each call of the table: the rest of the program if it is that one."""
    refused, own = [_refuse(errno.EPERM)], (0, pid)
    blocks = [(name, refused) for name in (*_ALWAYS, "tkill", "setpgid", "setsid")]
    blocks += [("fcntl", _but(1, _SET_OWNER)), ("ioctl", _but(1, _SET_OWNER_TOO)), ("prctl", _but(0, (_DEATH_SIGNAL,)))]
    blocks += [("utimensat", _without(1, errno.EPERM)), ("clone3", [_refuse(errno.ENOSYS)])]
    blocks += [("socketpair", _only(1, (_STREAM,), errno.EACCES, _TYPE_MASK))]
    families = (_INET, _INET6, _NETLINK) if calls.net else ()
    blocks.append(("socket", _only(0, families, errno.EACCES)))
    blocks += [(name, _only(0, own, errno.EPERM)) for name in ("prlimit64", *_SCHEDULING)]
    blocks += [(name, _only(1, own, errno.EPERM)) for name in ("setpriority", "ioprio_set")]
    if not (calls.exec and calls.are_signals_scoped):
        blocks += [(name, _only(0, own, errno.EPERM)) for name in _SIGNALS]
        blocks.append(("pidfd_send_signal", refused))
    if calls.exec:
        blocks.append(("clone", [_argument(0), _jump(_SET, _NAMESPACES | _SIBLING, 0, 1), *refused, _verdict(_ALLOW)]))
    else:
        blocks += [(name, refused) for name in ("fork", "vfork", "execve", "execveat")]
        blocks.append(("clone", [_argument(0), _jump(_SET, _THREAD, 1, 0), *refused, _verdict(_ALLOW)]))
    return blocks


_SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_SCHEDULING = ("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")


def _only(argument: int, values: tuple[int, ...], code: int, mask: int = 0) -> list[bytes]:
    """Allow the call if an argument is one of `values`."""
    masked = [struct.pack("=HBBI", _AND, 0, 0, mask)] if mask else []
    jumps = [_jump(_EQUAL, value, len(values) - at, 0) for at, value in enumerate(values)]
    return [_argument(argument), *masked, *jumps, _refuse(code), _verdict(_ALLOW)]


def _but(argument: int, values: tuple[int, ...]) -> list[bytes]:
    """Allow the call unless an argument is one of `values`."""
    jumps = [_jump(_EQUAL, value, len(values) - at, 0) for at, value in enumerate(values)]
    return [_argument(argument), *jumps, _verdict(_ALLOW), _refuse(errno.EPERM)]


def _without(argument: int, code: int) -> list[bytes]:
    """Allow the call if an address among its arguments is none: it is then about an open file, not a path."""
    low, high = _argument(argument), _word(_ARGUMENTS_AT + 8 * argument + 4)
    return [low, _jump(_EQUAL, 0, 0, 3), high, _jump(_EQUAL, 0, 0, 1), _verdict(_ALLOW), _refuse(code)]


def _word(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD, 0, 0, offset)


def _argument(index: int) -> bytes:
    """The lower half of an argument: all that the kernel reads of those that are looked at here."""
    return _word(_ARGUMENTS_AT + 8 * index)


def _jump(kind: int, value: int, if_so: int, if_not: int) -> bytes:
    return struct.pack("=HBBI", kind, if_so, if_not, value)


def _verdict(value: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, value)


def _refuse(code: int) -> bytes:
    return _verdict(_ERRNO | code)
