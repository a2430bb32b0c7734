"""The few calls of the kernel that Python has no name for; the only place here that knows `ctypes`.

It decides nothing: what is called with what is said by `landlock`, `seccomp` and `limits`.
"""

import ctypes
import os
import sys

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
IS_LINUX = sys.platform.startswith("linux")


def syscall(number: int, *arguments: object) -> int:
    """Call the kernel; the result.

    Raises:
        OSError: it refused, or this is no Linux.
    """
    if _libc is None or not IS_LINUX:
        raise OSError(f"no system call {number} on {sys.platform}")
    function = _libc.syscall
    function.restype = ctypes.c_long
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(function(ctypes.c_long(number), *plain))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, *arguments: object) -> int:
    """``prctl(2)``; the result.

    Raises:
        OSError: the kernel refused, or this is no Linux.
    """
    if _libc is None or not IS_LINUX:
        raise OSError(f"no prctl {option} on {sys.platform}")
    filled = [*arguments, 0, 0, 0, 0][:4]
    plain = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in filled]
    result = int(_libc.prctl(ctypes.c_int(option), *plain))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def buffer(data: bytes) -> object:
    """Bytes as the kernel takes them by address."""
    return ctypes.create_string_buffer(data, len(data))


def address_of(held: object) -> int:
    """Where a `buffer` lies, for structures that point to it."""
    return ctypes.addressof(held)  # type: ignore[arg-type]
