"""Which files the process of an app may read at all: what Python and its libraries need, the package, its own data.

It grants nothing of the agent's. Whether that is so is tried out afterwards; see `confine.wall`.
"""

import os
import ssl
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

from ztm_app.confine.landlock import Rules

_SYSTEM = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/local/lib"),
    *("/usr/share/zoneinfo", "/usr/share/locale", "/usr/share/i18n", "/etc/ld.so.cache", "/etc/ld.so.conf"),
    *("/etc/ld.so.conf.d", "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/locale.alias"),
    *("/nix/store", "/gnu/store"),
)
"""Libraries, time zones and texts of the system."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_NET = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services"),
    *("/etc/protocols", "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs"),
    *("/etc/pki/ca-trust/extracted", "/etc/pki/tls/openssl.cnf", "/etc/ca-certificates", "/usr/share/ca-certificates"),
    *("/usr/local/share/ca-certificates", "/etc/crypto-policies"),
)
_PROGRAMS = ("/bin", "/sbin", "/usr", "/opt/homebrew")
_FOR_PROGRAMS = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/alternatives", "/etc/terminfo")


def rules(folder: Path, data: Path, permissions: Collection[str]) -> Rules:
    """What an app with `permissions`, its package in `folder` and its files in `data`, may reach."""
    readable = [*map(Path, (*_SYSTEM, "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat")), *_python()]
    executable: list[Path] = []
    if "net" in permissions:
        readable += [*map(Path, _NET), *_certificates()]
    if "exec" in permissions:
        readable += map(Path, _FOR_PROGRAMS)
        executable += [*map(Path, (*_PROGRAMS, *_SYSTEM[:8])), *_interpreters(), folder]
    return Rules(
        readable=(*readable, folder),
        writable=(data, *map(Path, _DEVICES)),
        executable=tuple(executable),
        may_connect="net" in permissions,
    )


def _python() -> list[Path]:
    """Where this Python finds modules and its own library."""
    paths = sysconfig.get_paths()
    named = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    library = sysconfig.get_config_var("LIBDIR")
    return [Path(place) for place in (*named, *sys.path, library, *_settings()) if place and Path(place) != Path("/")]


def _settings() -> list[str]:
    return [os.path.join(prefix, "pyvenv.cfg") for prefix in {sys.prefix, sys.base_prefix}]  # noqa: PTH118


def _interpreters() -> list[Path]:
    return [Path(prefix) / "bin" for prefix in {sys.prefix, sys.base_prefix}]


def _certificates() -> list[Path]:
    found = ssl.get_default_verify_paths()
    names = (found.cafile, found.capath, found.openssl_cafile, found.openssl_capath)
    return [Path(name) for name in names if name]
