"""`ssh -L` through a jump host: what people use without a mesh.

client -TCP-> ssh -[ssh through the jump's sshd]-> sshd of the exit -TCP-> target. All keys are made for the run.
"""

import getpass
import os
import subprocess
from pathlib import Path

from processes import BenchError, Sandbox, free_port, is_open, tool
from ways import Ports

PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd does not start as root without this empty directory, which the ssh service makes at boot."""

SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {box}/host_key
AuthorizedKeysFile {box}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
"""
CLIENT_HOST = """
Host {name}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {box}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {box}/known_hosts
  StrictHostKeyChecking accept-new
  BatchMode yes
  ExitOnForwardFailure yes
"""


class SshJump:
    """One ssh client, a jump host and an exit host."""

    name = "ssh -J"

    def __init__(self) -> None:
        self.hops: list[int] = []

    def open(self, box: Sandbox, targets: Ports) -> Ports:
        """Start both sshd, then ssh with two forwarded ports."""
        client, server = tool("ssh"), tool("sshd")
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        _make_keys(box.directory)
        (box.directory / "ssh_config").write_text(
            self._start_host(box, server, "jump") + self._start_host(box, server, "exit")
        )
        own = Ports(free_port(), free_port())
        forwards = [
            f"-L127.0.0.1:{own.web}:127.0.0.1:{targets.web}",
            f"-L127.0.0.1:{own.bulk}:127.0.0.1:{targets.bulk}",
        ]
        command = [client, "-F", box.directory / "ssh_config", "-N", "-J", "jump", *forwards, "exit"]
        pid = box.start("ssh", command)
        box.wait_for("ssh", pid, lambda: is_open(own.web) and is_open(own.bulk))
        self.hops.append(pid)
        return own

    def _start_host(self, box: Sandbox, server: str, name: str) -> str:
        port, config = free_port(), box.directory / f"{name}.sshd"
        config.write_text(SERVER.format(port=port, box=box.directory))
        pid = box.start(name, [server, "-D", "-e", "-f", config])
        box.wait_for(f"sshd ({name})", pid, lambda: is_open(port))
        self.hops.append(pid)
        return CLIENT_HOST.format(name=name, port=port, box=box.directory, user=getpass.getuser())


def _make_keys(box: Path) -> None:
    for name in ("host_key", "user_key"):
        command = [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(box / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"ssh-keygen: {done.stderr.strip()}")
