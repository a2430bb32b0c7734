"""A Unix socket that only chosen OS users may connect to, by what the kernel says about each of them.

The file's mode keeps others out already; this does not rely on it. What is found at the path is replaced only
if it is a socket that nobody answers at.
"""

import asyncio
import errno
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from ztm.errors import ConflictError
from ztm.net.base import Accept
from ztm.net.listener import BACKLOG, Acceptor
from ztm.net.tcp import TcpStream

log = logging.getLogger("ztm.net")

_UCRED = "iII"
"""Process, user and group of a peer (Linux unix(7), SO_PEERCRED)."""
_XUCRED = "II"
"""The beginning of ``struct xucred``: version and user (BSD unix(4), LOCAL_PEERCRED)."""
_LOCAL_PEERCRED = 1
_NOBODY = 0xFFFFFFFF
"""What Linux says where there is no user to name."""
_PLATFORM: str = sys.platform
"""A text to mypy as well, which else checks the code of one platform only."""


class LocalSocket(Acceptor):
    """An open Unix socket; see `net.base.LocalListener`."""

    def __init__(self, path: Path, accept: Accept, admit: Callable[[int], bool]) -> None:
        super().__init__(accept)
        self.path = path
        self._admit = admit
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def open(self) -> None:
        """Listen, with mode 0600 from the first moment.

        Raises:
            ConflictError: somebody listens there, something else is there, or the system does not allow it.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            _drop_stale(self.path)
            os.fchmod(sock.fileno(), 0o600)  # on Linux the file gets the socket's mode, so that it is never wider
            sock.bind(str(self.path))
            self.path.chmod(0o600)
            self._inode = self.path.stat().st_ino
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(lambda: _Accepted(self), sock=sock, backlog=BACKLOG)
        except OSError as error:
            sock.close()
            raise ConflictError(f"cannot listen on {self.path}: {error.strerror or error}") from error
        except ConflictError:
            sock.close()
            raise

    def accepted(self, stream: TcpStream, sock: socket.socket | None) -> None:
        """Serve a connection of a user who is admitted, and cut any other."""
        user = peer_user(sock) if sock is not None else None
        if user is None or not self._admit(user):
            log.warning("user %s of this machine was refused at %s", "unknown" if user is None else user, self.path)
            stream.abort("this user is not admitted")
            return
        self.start(stream)

    async def close(self) -> None:
        """See `net.base.LocalListener`."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)
            if _inode(self.path) == self._inode:
                self.path.unlink(missing_ok=True)


class _Accepted(TcpStream):
    __slots__ = ("_owner",)

    def __init__(self, owner: LocalSocket) -> None:
        super().__init__()
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection was accepted."""
        super().connection_made(transport)
        self._owner.accepted(self, transport.get_extra_info("socket"))


def peer_user(sock: socket.socket) -> int | None:
    """The OS user at the other end of a Unix socket, as the kernel says; None where it does not say."""
    try:
        if _PLATFORM == "linux":
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_UCRED))
            user = int(struct.unpack(_UCRED, credentials)[1])
            return None if user == _NOBODY else user
        credentials = sock.getsockopt(0, _LOCAL_PEERCRED, 256)
        version, user = struct.unpack_from(_XUCRED, credentials)
        return int(user) if version == 0 else None
    except (OSError, struct.error):
        return None


def _drop_stale(path: Path) -> None:
    """Remove a socket that a killed process left behind.

    Raises:
        ConflictError: somebody answers there, or it is no socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConflictError(f"cannot listen on {path}: it exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise
            path.unlink(missing_ok=True)
            return
    raise ConflictError(f"cannot listen on {path}: another process listens there")


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return -1
