"""What people use, through the proxy and through tunnels of a real mesh: curl, nc, ssh, git and Chromium."""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from foreign_servers import Ssh, Web, make_certificate, make_repository, sshd, tool
from targets import Server, UdpEcho, dead_port, echo, greet, read_exactly
from world import Agent, World, free_port, open_tunnel, until

SCHEMES = ["http", "socks4", "socks4a", "socks5", "socks5h"]
NC = tool("nc.openbsd") or tool("nc")
CHROMIUM = tool("chromium")
needs_curl = pytest.mark.skipif(tool("curl") is None, reason="curl is not installed")
needs_ssh = pytest.mark.skipif(
    None in (tool("sshd"), tool("ssh"), tool("ssh-keygen")), reason="OpenSSH is not installed"
)
needs_git = pytest.mark.skipif(tool("git") is None, reason="git is not installed")


def speaks_socks(nc: str | None) -> bool:
    """Whether this is OpenBSD's nc: others know no proxies."""
    return nc is not None and b"-X" in subprocess.run([nc, "-h"], capture_output=True, check=False).stderr


needs_nc = pytest.mark.skipif(not speaks_socks(NC), reason="OpenBSD's nc is not installed")


@dataclass(frozen=True)
class Place:
    """A mesh whose proxy leads from home to the workplace, and what is to be reached there."""

    world: World
    home: Agent
    workplace: Agent
    proxy: str
    web: Web
    secure: Web
    certificate: Path
    directory: Path

    def tunnel(self, port: int) -> int:
        """A tunnel from home to a port at the workplace; the port at home."""
        return open_tunnel(self.home, self.workplace, port)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("proxied")
    world = World(directory)
    certificate = make_certificate(directory)
    if tool("git"):
        make_repository(directory)
    try:
        hub = world.hub()
        home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
        proxy = f"127.0.0.1:{free_port()}"
        targets = ("--add-target", "*", "--add-target", "127.0.0.0/8")
        workplace.ok("proxy", "config", *targets, "--add-exclusion", "127.77.0.0/16")
        denied = ("--targets", "denied.test", "127.66.0.0/16", "--action", "deny")
        workplace.ok("proxy", "rules", "--index", 0, "--insert", *denied)
        home.ok("proxy", "config", "--set-listen", proxy)
        until(lambda: knows_exit(home, workplace), what="home knows the exit")
        with Web(directory) as web, Web(directory, certificate) as secure:
            yield Place(world, home, workplace, proxy, web, secure, certificate, directory)
    finally:
        world.close()


def knows_exit(home: Agent, workplace: Agent) -> bool:
    path = f"/api/meshes/{home.mesh['name']}/apps/ztm/proxy/api/endpoints/{home.id}/exits"
    return any(one["endpoint"] == workplace.id for one in home.api(path) or ())


def run(*words: object, stdin: bytes = b"", **env: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program without the machine's own proxy settings."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [str(word) for word in words], input=stdin, capture_output=True, timeout=60, env={**kept, **env}, check=False
    )


def ok(*words: object, stdin: bytes = b"", **env: str) -> bytes:
    """What a program printed, which must succeed."""
    ran = run(*words, stdin=stdin, **env)
    assert ran.returncode == 0, ran
    return ran.stdout


def curl(place: Place, scheme: str, *words: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    base = ("curl", "-q", "-sS", "--noproxy", "", "--max-time", "20", "--cacert", place.certificate)
    return run(*base, "-x", f"{scheme}://{place.proxy}", *words, stdin=stdin)


# ---------------------------------------------------------------------- curl


@needs_curl
@pytest.mark.parametrize("scheme", SCHEMES)
def test_curl_gets_http_and_https(place: Place, scheme: str) -> None:
    for web in (place.web, place.secure):
        ran = curl(place, scheme, f"{web.url}/hello")
        assert (ran.returncode, ran.stdout) == (0, b"GET /hello"), ran


@needs_curl
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_curl_moves_much_both_ways(place: Place, scheme: str) -> None:
    body = os.urandom(3_000_000)
    for words in ((), ("-H", "Transfer-Encoding: chunked")):
        ran = curl(place, scheme, *words, "-H", "Expect:", "--data-binary", "@-", f"{place.web.url}/", stdin=body)
        assert (ran.returncode, ran.stdout) == (0, b"3000000 bytes"), ran
    assert curl(place, scheme, f"{place.web.url}/big").stdout == bytes(range(256)) * 8000


@needs_curl
def test_curl_learns_why_not_and_goes_on_afterwards(place: Place) -> None:
    dead = f"http://127.0.0.1:{dead_port()}/"
    shown = ("-w", "[%{http_code}]", "-o", "/dev/null")
    for url, status in (
        ("http://denied.test/", "403"),
        (dead, "502"),
        ("http://127.66.0.1:80/", "403"),
        ("http://127.77.0.1:80/", "502"),
        ("http://no-such-name.invalid/", "502"),
        (f"{place.web.url}/", "200"),
    ):
        assert curl(place, "http", *shown, url).stdout.decode() == f"[{status}]", url
    assert curl(place, "http", "-p", "-w", "[%{http_connect}]", "-o", "/dev/null", dead).stdout == b"[502]"
    for scheme, words in (("socks5h", b"(5)"), ("socks4a", b"rejected")):
        ran = curl(place, scheme, dead)
        assert ran.returncode == 97, ran
        assert words in ran.stderr
    assert b"(2)" in curl(place, "socks5h", "http://denied.test/").stderr
    assert curl(place, "socks5h", f"{place.web.url}/again").stdout == b"GET /again"


@needs_curl
def test_curl_shows_the_password_that_was_set(place: Place) -> None:
    place.home.ok("proxy", "config", "--set-auth", "me", stdin="p@ss word\n")
    try:
        for scheme in ("http", "socks5h"):
            refused = curl(place, scheme, "-f", f"{place.web.url}/")
            assert (refused.returncode != 0, refused.stdout) == (True, b""), refused
            ran = curl(place, scheme, "--proxy-user", "me:p@ss word", f"{place.web.url}/in")
            assert ran.stdout == b"GET /in", ran
        assert curl(place, "socks4a", f"{place.web.url}/").returncode == 97
    finally:
        place.home.ok("proxy", "config", "--unset-auth")
    assert curl(place, "socks4a", f"{place.web.url}/open").stdout == b"GET /open"


@needs_curl
def test_curl_through_a_tunnel(place: Place) -> None:
    port, secure = place.tunnel(place.web.port), place.tunnel(place.secure.port)
    assert ok("curl", "-q", "-sS", f"http://127.0.0.1:{port}/hello") == b"GET /hello"
    assert ok("curl", "-q", "-sS", "--cacert", place.certificate, f"https://localhost:{secure}/x") == b"GET /x"


# ---------------------------------------------------------------------- nc, and datagrams


@needs_nc
@pytest.mark.parametrize("protocol", ["5", "4", "connect"])
def test_nc_through_the_proxy(place: Place, protocol: str) -> None:
    with Server(echo) as target:
        words = (NC, "-N", "-w", "10", "-X", protocol, "-x", place.proxy, "127.0.0.1", target.port)
        assert ok(*words, stdin=b"hello " * 10_000) == b"hello " * 10_000


@needs_nc
def test_nc_hears_a_server_that_speaks_first(place: Place) -> None:
    with Server(greet) as target:
        for protocol in ("5", "connect"):
            words = (NC, "-N", "-w", "10", "-X", protocol, "-x", place.proxy, "127.0.0.1", target.port)
            assert ok(*words) == b"SSH-2.0-test\r\n"


@needs_nc
def test_nc_through_a_tunnel(place: Place) -> None:
    with Server(echo) as target:
        assert ok(NC, "-N", "-w", "10", "127.0.0.1", place.tunnel(target.port), stdin=b"hello") == b"hello"


def test_datagrams_through_the_proxy(place: Place) -> None:
    host, _, port = place.proxy.partition(":")
    with UdpEcho() as target, socket.create_connection((host, int(port)), 10) as control:
        control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        answer = read_exactly(control, 12)
        assert answer[:6] == b"\x05\x00\x05\x00\x00\x01", answer
        relay = socket.inet_ntoa(answer[6:10]), int.from_bytes(answer[10:12], "big")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            for size in (5, 1400, 20_000):
                head = b"\x00\x00\x00\x01\x7f\x00\x00\x01" + target.port.to_bytes(2, "big")
                client.sendto(head + b"x" * size, relay)
                assert client.recv(1 << 16) == head + b"x" * size


# ---------------------------------------------------------------------- ssh


@pytest.fixture(scope="module")
def ssh(place: Place) -> Iterator[Ssh]:
    with sshd(place.directory) as running:
        yield running


@needs_ssh
@needs_nc
@pytest.mark.parametrize("protocol", ["5", "connect"])
def test_ssh_by_a_proxy_command(place: Place, ssh: Ssh, protocol: str) -> None:
    command = f"ProxyCommand={NC} -X {protocol} -x {place.proxy} %h %p"
    words = ("ssh", *ssh.options, "-o", command, "-p", ssh.port, f"{ssh.user}@127.0.0.1", "cat; echo done; exit 3")
    ran = run(*words, stdin=b"typed " * 50_000)
    assert (ran.returncode, ran.stdout) == (3, b"typed " * 50_000 + b"done\n"), ran.stderr


@needs_ssh
def test_ssh_through_a_tunnel(place: Place, ssh: Ssh) -> None:
    port = place.tunnel(ssh.port)
    assert ok("ssh", *ssh.options, "-p", port, f"{ssh.user}@127.0.0.1", "echo from afar") == b"from afar\n"


# ---------------------------------------------------------------------- git


def clone(place: Place, tmp_path: Path, url: str, *settings: str, **env: str) -> None:
    """Clone, commit, push, and see the commit in what is fetched anew."""
    options = [word for setting in settings for word in ("-c", setting)]
    ids = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    variables = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", **env}
    copy = tmp_path / "copy"
    ok("git", *options, "clone", "-q", url, copy, **variables)
    assert b"the first commit" in ok("git", "-C", copy, "log", "--oneline", **variables)
    ok("git", "-C", copy, *ids, "commit", "-q", "--allow-empty", "-m", f"from {tmp_path.name}", **variables)
    ok("git", "-C", copy, *options, "push", "-q", "origin", f"HEAD:refs/heads/{tmp_path.name}", **variables)
    there = ok("git", "-C", place.directory / "project.git", "log", "--oneline", tmp_path.name)
    assert f"from {tmp_path.name}".encode() in there


@needs_git
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_git_over_http_and_https_through_the_proxy(place: Place, tmp_path: Path, scheme: str) -> None:
    proxy = f"http.proxy={scheme}://{place.proxy}"
    for number, web in enumerate((place.web, place.secure)):
        path = tmp_path / f"{scheme}{number}"
        path.mkdir()
        clone(place, path, f"{web.url}/project.git", proxy, GIT_SSL_CAINFO=str(place.certificate))


@pytest.mark.long
@needs_git
@needs_ssh
@needs_nc
def test_git_over_ssh_through_the_proxy(place: Place, ssh: Ssh, tmp_path: Path) -> None:
    command = f'ssh {" ".join(ssh.options)} -o "ProxyCommand={NC} -X 5 -x {place.proxy} %h %p"'
    url = f"ssh://{ssh.user}@127.0.0.1:{ssh.port}{place.directory}/project.git"
    clone(place, tmp_path, url, GIT_SSH_COMMAND=command)


@pytest.mark.long
@needs_git
def test_git_through_a_tunnel(place: Place, tmp_path: Path) -> None:
    clone(place, tmp_path, f"http://127.0.0.1:{place.tunnel(place.web.port)}/project.git")


# ---------------------------------------------------------------------- a browser


def page_in_chromium(tmp_path: Path, url: str, *options: str) -> str:
    """The page as the browser sees it once its scripts have run."""
    assert CHROMIUM is not None
    words = (
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--ignore-certificate-errors",        f"--user-data-dir={tmp_path / 'profile'}", *options, "--dump-dom", url,
    )  # fmt: skip
    return ok(*words, HOME=str(tmp_path)).decode()


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_chromium_shows_pages_through_the_proxy(place: Place, tmp_path: Path, scheme: str) -> None:
    proxied = (f"--proxy-server={scheme}://{place.proxy}", "--proxy-bypass-list=<-loopback>")
    for web in (place.web, place.secure):
        assert "changed by a script" in page_in_chromium(tmp_path, f"{web.url}/page", *proxied)


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_chromium_shows_a_page_through_a_tunnel(place: Place, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{place.tunnel(place.web.port)}/page"
    assert "changed by a script" in page_in_chromium(tmp_path, url, "--no-proxy-server")
