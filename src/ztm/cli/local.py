"""HTTP to an agent's Unix socket, which needs no token: the kernel tells the agent who is asking.

It knows one socket and nothing of what is said on it.
"""

import http.client
import socket
from pathlib import Path


class LocalConnection(http.client.HTTPConnection):
    """An HTTP connection to the socket at `path`."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect.

        Raises:
            OSError: nobody listens there, or this user may not use it.
        """
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise
