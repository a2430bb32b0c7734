"""The ways from a client to the same two targets that are laid side by side: what each one has to be able to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from processes import Sandbox, free_port, is_open, tool

ANSWER = "hello world\n"
"""The body of the small reply."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of the small web page and of the bulk server, at the target or at a way's entrance."""

    web: int
    bulk: int


class Way(Protocol):
    """One way; the processes between client and target are its hops."""

    name: str

    def open(self, box: Sandbox, targets: Ports) -> Ports:
        """Start the hops; their entrances.

        Raises:
            BenchError: a program is missing, or a hop does not come up.
        """

    @property
    def hops(self) -> list[int]:
        """Process ids whose cost counts, without their children."""


class Direct:
    """No hop at all: loopback TCP, the yardstick."""

    name = "direct"
    hops: list[int] = []  # noqa: RUF012 (there are none, and nobody adds any)

    def open(self, box: Sandbox, targets: Ports) -> Ports:  # noqa: ARG002
        """The targets themselves."""
        return targets


WEB = """
worker_processes 1; daemon off; pid {box}/web.pid; error_log {box}/web.err;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 300;
  client_body_temp_path {box}/t1; proxy_temp_path {box}/t2; fastcgi_temp_path {box}/t3;
  uwsgi_temp_path {box}/t4; scgi_temp_path {box}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "hello world\\n"; }} }}
}}
"""


def open_web(box: Sandbox) -> int:
    """Start nginx with one small static reply; its port.

    Raises:
        BenchError: nginx is not installed, or does not come up.
    """
    port, program = free_port(), tool("nginx")
    config = box.directory / "web.conf"
    config.write_text(WEB.format(box=box.directory, port=port))
    pid = box.start("web", [program, "-p", box.directory, "-c", config])
    box.wait_for("the target nginx", pid, lambda: is_open(port))
    return port


def open_bulk(box: Sandbox, python: str) -> int:
    """Start the bulk server of `bulk.py`; its port.

    Raises:
        BenchError: it does not come up.
    """
    port = free_port()
    pid = box.start("bulk", [python, Path(__file__).with_name("bulk.py"), str(port)])
    box.wait_for("the bulk server", pid, lambda: is_open(port))
    return port
