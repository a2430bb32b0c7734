"""Servers that people reach through proxies and tunnels: the web with and without TLS, git over it, and sshd.

All are on loopback, with keys made for the run, and end with their `with` blocks.
"""

import contextlib
import getpass
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from targets import PATIENCE
from world import free_port, until

PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd does not start as root without this empty directory, which the ssh service makes at boot."""
PAGE = "<!doctype html><title>page</title><p id=own>static</p><script src=/script.js></script>"
SCRIPT = "document.getElementById('own').textContent = 'changed by a script';"


def tool(name: str) -> str | None:
    """Where a command is, or None; also those that only root has on its path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: Path
    timeout = PATIENCE

    def do_GET(self) -> None:
        if ".git/" in self.path:
            self._git(b"")
        elif self.path == "/script.js":
            self._answer("text/javascript", SCRIPT.encode())
        elif self.path == "/big":
            self._answer("application/octet-stream", bytes(range(256)) * 8000)
        elif self.path == "/page":
            self._answer("text/html", PAGE.encode())
        else:
            self._answer("text/plain", f"{self.command} {self.path}".encode())

    def do_POST(self) -> None:
        body = self._body()
        if ".git/" in self.path:
            self._git(body)
        else:
            self._answer("text/plain", f"{len(body)} bytes".encode())

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, kind: str, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _git(self, body: bytes) -> None:
        """Smart HTTP, by git's own program (git-http-backend(1))."""
        path, _, query = self.path.partition("?")
        variables = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "REMOTE_USER": "tester",
            "REMOTE_ADDR": "127.0.0.1",
        }
        ran = subprocess.run(["git", "http-backend"], input=body, env=variables, capture_output=True, check=True)
        head, _, content = ran.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._answer(fields["Content-Type"], content, int(fields.get("Status", "200")[:3]))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Web:
    """A web server, with TLS if `certificate` is given."""

    def __init__(self, repositories: Path, certificate: Path | None = None) -> None:
        handler = type("Handler", (_Handler,), {"repositories": repositories})
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "Web":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def make_certificate(directory: Path) -> Path:
    """A certificate for localhost that signs itself, in ``localhost.pem``."""
    made = directory / "localhost.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(made.with_suffix(".key")), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return made


def make_repository(directory: Path) -> Path:
    """A bare repository ``project.git`` with one commit; anyone may push."""
    bare, work = directory / "project.git", directory / "work"
    who = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    for words in (
        ("git", "init", "-q", "--bare", "-b", "main", str(bare)),
        ("git", "-C", str(bare), "config", "http.receivepack", "true"),
        ("git", "init", "-q", "-b", "main", str(work)),
        ("git", "-C", str(work), *who, "commit", "-q", "--allow-empty", "-m", "the first commit"),
        ("git", "-C", str(work), "push", "-q", str(bare), "main"),
    ):
        subprocess.run(words, check=True, capture_output=True)
    return bare


@dataclass(frozen=True)
class Ssh:
    """A running sshd, and how its client is told of it."""

    port: int
    options: tuple[str, ...]
    user: str


@contextlib.contextmanager
def sshd(directory: Path) -> Iterator[Ssh]:
    """An sshd of the own user on loopback, which takes one key."""
    server = tool("sshd")
    assert server is not None
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(keygen, check=True, capture_output=True)
    port = free_port()
    lines = (
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {directory}/host_key", "PidFile none", "StrictModes no",
        f"AuthorizedKeysFile {directory}/user_key.pub", "UsePAM no", "PasswordAuthentication no",
        "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
    )  # fmt: skip
    config = directory / "sshd_config"
    config.write_text("\n".join((*lines, "")))
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen([server, "-D", "-e", "-f", str(config)], stderr=log, stdin=subprocess.DEVNULL)
    options = (
        "-F", "none", "-i", f"{directory}/user_key", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
        "-o", f"UserKnownHostsFile={directory}/known_hosts", "-o", "StrictHostKeyChecking=accept-new",
    )  # fmt: skip
    try:
        until(lambda: b"listening" in (directory / "sshd.log").read_bytes(), what="sshd listens")
        yield Ssh(port, options, getpass.getuser())
    finally:
        process.terminate()
        process.wait(5)
