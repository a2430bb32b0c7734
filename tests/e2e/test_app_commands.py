"""Commands of apps: whole output, the right exit status, and both forms of the stream they run on."""

import json
import re
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from targets import Server, echo, say, works
from world import ZTM, Agent, environment, free_port, one_line


def cli_path(agent: Agent, words: list[str], **query: str) -> str:
    """The path of ``CONNECT .../cli`` for the tunnel app of this agent."""
    fields = {"argv": json.dumps(["ztm tunnel", *words]), "cwd": "/", "ep_id": agent.id, "ep_name": agent.name, **query}
    asked = "&".join(f"{key}={quote(value)}" for key, value in fields.items() if value)
    return f"/api/meshes/my-mesh/apps/ztm/tunnel/cli?{asked}"


def raw(agent: Agent, method: str, path: str) -> tuple[str, str]:
    """What a client of v1's form gets: the head of the answer, and all bytes until the agent closes."""
    with socket.create_connection(("127.0.0.1", agent.port), timeout=20) as opened:
        opened.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {agent.token}\r\n\r\n".encode()
        )
        data = b""
        while more := opened.recv(65536):
            data += more
            if b"content-length" in data.partition(b"\r\n\r\n")[0]:
                break
    head, _, body = data.decode().partition("\r\n\r\n")
    return head, body


def test_a_v1_client_gets_plain_bytes_and_then_the_end(mesh) -> None:
    head, body = raw(mesh.home, "CONNECT", cli_path(mesh.home, ["get", "tunnel"]))
    assert head.startswith("HTTP/1.1 200")
    assert "content-length" not in head.lower()
    assert "transfer-encoding" not in head.lower()
    assert "ztm-console" not in head.lower()
    assert body.split("\n")[0].split() == ["NAME", "INBOUND", "OUTBOUND"]


def test_an_error_inside_the_app_is_a_line_for_a_v1_client(mesh) -> None:
    _, body = raw(mesh.home, "CONNECT", cli_path(mesh.home, ["bogus"]))
    assert body.startswith("ztm: unknown command: bogus")
    assert body.endswith("Type 'ztm tunnel help' for help info.\n")


@pytest.mark.parametrize("argv", ["", "nonsense", "{}", "[]", "[1]"])
def test_a_call_that_does_not_say_what_to_run_is_refused(mesh, argv: str) -> None:
    head, body = raw(mesh.home, "CONNECT", cli_path(mesh.home, [], argv=argv))
    assert head.startswith("HTTP/1.1 400"), head
    assert "argv" in json.loads(body)["message"]


def test_a_call_of_an_unknown_app_is_refused_with_a_reason(mesh) -> None:
    path = cli_path(mesh.home, ["help"]).replace("/tunnel/", "/nosuch/")
    head, _ = raw(mesh.home, "CONNECT", path)
    assert re.match(r"HTTP/1\.1 (404|503)", head), head


def test_the_command_acts_on_the_endpoint_that_a_prefix_or_an_option_names(mesh) -> None:
    mesh.workplace.ok("tunnel", "open", "outbound", "tcp/named", "--targets", 9)
    try:
        for words in (
            ("ep", "workplace", "tunnel", "get", "outbound"),
            ("--endpoint", "workplace", "tunnel", "get", "outbound"),
            ("tunnel", "get", "outbound", "--endpoint=my-mesh/workplace"),
            ("mesh", "my-mesh", "ep", "workplace", "ztm/tunnel", "get", "outbound"),
        ):
            assert "tcp/named" in mesh.home.ok(*words).out, words
    finally:
        mesh.workplace.ok("tunnel", "close", "outbound", "tcp/named")


def test_failures_are_told_by_status_on_standard_error(mesh) -> None:
    assert "not found" in mesh.home.fails("tunnel", "describe", "inbound", "tcp/nope")
    assert "unknown command: bogus" in mesh.home.fails("tunnel", "bogus", status=2)
    assert "nobody" in mesh.home.fails("ep", "nobody", "tunnel", "get", "inbound")
    assert "only user alice" in mesh.home.fails("ep", "alice", "tunnel", "get", "inbound")


def test_input_is_left_to_the_next_command(mesh) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{ZTM} tunnel get tunnel > /dev/null; cat"],
        input="for cat",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=environment(mesh.home.home, {"ZTM_AGENT": f"127.0.0.1:{mesh.home.port}"}),
    )
    assert done.stdout == "for cat"


def test_a_command_without_a_reader_ends_by_itself(mesh) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {ZTM} tunnel help | true"],
        capture_output=True,
        timeout=30,
        check=False,
        env=environment(mesh.home.home, {"ZTM_AGENT": f"127.0.0.1:{mesh.home.port}"}),
    )
    assert done.stderr == b""


def test_an_agent_that_dies_under_a_command_is_a_failure(world) -> None:
    agent = world.agent("lonely")
    agent.kill()
    line = one_line(agent.ztm("tunnel", "get", "tunnel"), 3)
    assert "cannot reach the agent" in line


@pytest.mark.long
def test_a_thousand_runs_into_a_pipe_give_the_same_output_a_thousand_times(mesh) -> None:
    for name in ("a", "b", "c"):
        mesh.home.ok("tunnel", "open", "inbound", f"tcp/{name}", "--listen", free_port())
    expected = mesh.home.ok("tunnel", "get", "inbound").out
    assert expected.count("\n") == 4
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: mesh.home.ztm("tunnel", "get", "inbound"), range(1000)))
    assert {(ran.status, ran.out, ran.err) for ran in runs} == {(0, expected, "")}
    for name in ("a", "b", "c"):
        mesh.home.ok("tunnel", "close", "inbound", f"tcp/{name}")


# ------------------------------------------------------------------ forward


class Forwarding:
    """One ``ztm forward`` that runs, and the port that it says it listens on."""

    def __init__(self, agent: Agent, *words: object) -> None:
        self.process = subprocess.Popen(
            [ZTM, "forward", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}"}),
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+) to", self.said)
        assert found, (self.said, self.process.stderr.read() if self.process.poll() is not None else "")
        self.port = int(found.group(1))

    def __enter__(self) -> "Forwarding":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=15)
        return self.process.returncode, err


def test_a_port_of_another_endpoint_is_here_with_one_command_until_it_ends(mesh) -> None:
    with Server(echo) as server, Forwarding(mesh.home, "workplace", f"127.0.0.1:{server.port}", 0) as forwarding:
        assert say(forwarding.port, b"hello") == b"hello"
        big = b"x" * 3_000_000
        assert say(forwarding.port, big) == big
        assert forwarding.end(2) == (0, "")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", forwarding.port), timeout=5)
    assert mesh.workplace.ok("tunnel", "get", "outbound", "-o", "json").json == []


def test_a_forward_to_the_own_endpoint_works_too(mesh) -> None:
    with Server(echo) as server, Forwarding(mesh.home, "home", server.port, 0) as forwarding:
        assert say(forwarding.port, b"me") == b"me"


def test_a_forwarded_connection_that_fails_says_why_and_harms_no_other(mesh) -> None:
    closed = free_port()
    with Forwarding(mesh.home, "workplace", f"127.0.0.1:{closed}", 0) as forwarding:
        assert not works(forwarding.port)
        with Server(echo, closed) as server:
            assert say(forwarding.port, b"now") == b"now"
            assert server.port == closed
        status, err = forwarding.end(15)
        assert status == 0
        assert f"127.0.0.1:{closed}" in err
        assert "refused" in err.lower()


def test_only_ones_own_endpoints_forward(mesh) -> None:
    with Forwarding(mesh.home, "alice", "127.0.0.1:9", 0) as forwarding:
        assert not works(forwarding.port)
        assert "only user alice" in forwarding.end(15)[1]
    assert "nobody" in mesh.home.fails("forward", "nobody", 9)
    assert "not a port" in mesh.home.fails("forward", "workplace", "x", status=2)


def test_a_busy_local_port_is_a_failure_at_once(mesh) -> None:
    with Server(echo) as server:
        assert str(server.port) in mesh.home.fails("forward", "workplace", "127.0.0.1:9", server.port)


def test_killing_the_command_ends_its_streams(mesh) -> None:
    is_over = threading.Event()

    def serve(connection: socket.socket) -> None:
        echo(connection)
        is_over.set()

    with Server(serve) as server, Forwarding(mesh.home, "workplace", server.port, 0) as forwarding:
        with socket.create_connection(("127.0.0.1", forwarding.port), timeout=10) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            forwarding.process.kill()
            assert client.recv(1) == b""
        assert is_over.wait(10), "the target's connection ended"
