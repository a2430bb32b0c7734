"""A chain of nginx stream proxies with mutual TLS between them: what two hops of TLS cost in well-kept C.

client -TCP-> entrance -TLS-> middle -TLS-> exit -TCP-> target: three processes and two TLS legs, as an agent, a hub and
an agent are. Nothing is multiplexed: each connection costs a (resumed) TLS handshake on each leg.
"""

from datetime import UTC, datetime
from pathlib import Path

from processes import BenchError, Sandbox, free_port, is_open, tool
from ways import Ports
from ztm import pki

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Where Debian's libnginx-mod-stream puts it."""
HUB = "00000000-0000-4000-8000-000000000000"

HEAD = """
{module}
worker_processes 1; daemon off; pid {box}/{name}.pid; error_log {box}/{name}.err;
events {{ worker_connections 8192; }}
stream {{
  tcp_nodelay on;
  proxy_buffer_size 64k;
{servers}
}}
"""
TLS_IN = """ ssl;
    ssl_certificate {box}/chain.pem; ssl_certificate_key {box}/chain.key; ssl_client_certificate {box}/chain.ca;
    ssl_verify_client on; ssl_protocols TLSv1.3; ssl_session_cache shared:{name}:4m"""
TLS_OUT = """
    proxy_ssl on; proxy_ssl_certificate {box}/chain.pem; proxy_ssl_certificate_key {box}/chain.key;
    proxy_ssl_trusted_certificate {box}/chain.ca; proxy_ssl_verify on; proxy_ssl_name hub/{hub};
    proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse on;"""


class NginxChain:
    """Three nginx processes in a row."""

    name = "nginx"

    def __init__(self) -> None:
        self.hops: list[int] = []

    def open(self, box: Sandbox, targets: Ports) -> Ports:
        """Start exit, middle and entrance, in this order."""
        program = tool("nginx")
        _write_certificates(box.directory)
        to = targets
        for hop in ("exit", "middle", "entrance"):
            to = self._start(box, program, hop, to)
        return to

    def _start(self, box: Sandbox, program: str, hop: str, to: Ports) -> Ports:
        own = Ports(free_port(), free_port())
        config = box.directory / f"{hop}.conf"
        config.write_text(_config(box.directory, hop, own, to))
        pid = box.start(hop, [program, "-p", box.directory, "-c", config])
        box.wait_for(f"nginx ({hop})", pid, lambda: is_open(own.web) and is_open(own.bulk))
        self.hops.append(pid)
        return own


def _config(box: Path, hop: str, own: Ports, to: Ports) -> str:
    servers = ""
    for listen, target in ((own.web, to.web), (own.bulk, to.bulk)):
        tls_in = "" if hop == "entrance" else TLS_IN.format(box=box, name=hop)
        tls_out = "" if hop == "exit" else TLS_OUT.format(box=box, hub=HUB)
        servers += f"  server {{ listen 127.0.0.1:{listen}{tls_in}; proxy_pass 127.0.0.1:{target};{tls_out} }}\n"
    return HEAD.format(module=_module(), box=box, name=hop, servers=servers)


def _module() -> str:
    if not MODULE.exists():
        raise BenchError("nginx stream module (libnginx-mod-stream): not installed")
    return f"load_module {MODULE};"


def _write_certificates(box: Path) -> None:
    """One certificate for all hops: a hub's, which may stand on either side of TLS."""
    now = datetime.now(UTC)
    authority = pki.Authority.create(now)
    key = pki.new_key()
    certificate = authority.sign_hub(HUB, pki.public_key(key), now)
    (box / "chain.ca").write_text(authority.certificate)
    (box / "chain.pem").write_text(certificate)
    (box / "chain.key").touch(mode=0o600)
    (box / "chain.key").write_text(key)
