"""Mesh files by the command line: exact bytes or a failure, bounded memory, and no part of a file left behind."""

import http.client
import os
import pty
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_failures import fill, small_disk
from world import ZTM, Agent, World, environment, until

from conftest import Mesh
from ztm.core.files import file_hash

CTIME = re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}")
CONTENTS = {"empty": b"", "text": b"hello world", "binary": bytes(range(256)) * 1000, "crlf": b"a\r\nb\n\x00\xff"}


def run(agent: Agent, *words: object, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """One run of `ztm` with bytes instead of text: its status, output and complaint."""
    env = environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}"})
    command = [str(ZTM), *map(str, words)]
    done = subprocess.run(command, input=stdin, capture_output=True, env=env, cwd=agent.home, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def publish(agent: Agent, path: str, content: bytes) -> None:
    assert run(agent, "publish", "file", path, "-i", "-", stdin=content) == (0, b"", "")


def fs(agent: Agent) -> list[str]:
    """Names of all that is in the directory of mesh files."""
    return sorted(one.name for one in (agent.data / "meshes" / "my-mesh" / "fs").iterdir())


@contextmanager
def visible(folder: Path) -> Iterator[None]:
    """Nothing is left in `folder` afterwards that was not there before."""
    before = set(folder.iterdir())
    yield
    assert set(folder.iterdir()) == before


# ---------------------------------------------------------------------- exact bytes


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_is_published_is_downloaded_byte_for_byte(mesh: Mesh, kind: str) -> None:
    content, path = CONTENTS[kind], f"/shared/root/bytes/{kind}"
    source = mesh.home.home / "source"
    source.write_bytes(content)
    mesh.home.ok("publish", "file", path, "--input", source)
    for agent in (mesh.home, mesh.workplace, mesh.alice):
        assert run(agent, "download", "file", path) == (0, content, "")
        target = agent.home / "target"
        target.write_bytes(b"older and longer" * 100_000)
        target.chmod(0o640)
        assert agent.ok("download", "file", path.lstrip("/"), "-o", target).out == ""
        assert (target.read_bytes(), target.stat().st_mode & 0o777) == (content, 0o640)
        assert run(agent, "download", "file", path, "--output=-")[:2] == (0, content)
    described = mesh.alice.ok("describe", "file", path, "-o", "json").json
    assert described["hash"] == file_hash(content, path)
    assert set(described["sources"]) == {mesh.home.id, mesh.workplace.id, mesh.alice.id}


def test_a_new_version_replaces_the_old_for_everybody(mesh: Mesh) -> None:
    path = "/shared/root/versions"
    for number in range(5):
        content = b"%d" % number
        publish((mesh.home, mesh.workplace)[number % 2], path, content)
        for agent in (mesh.home, mesh.workplace, mesh.alice):
            assert run(agent, "download", "file", path) == (0, content, "")


def test_a_download_into_a_pipe_or_a_device_works(mesh: Mesh) -> None:
    path = "/shared/root/piped"
    publish(mesh.home, path, b"x" * 300_000)
    mesh.home.ok("download", "file", path, "-o", "/dev/null")
    env = environment(mesh.home.home, {"ZTM_AGENT": f"127.0.0.1:{mesh.home.port}"})
    shown = subprocess.run(
        f"{ZTM} download file {path} | head -c 5", shell=True, capture_output=True, env=env, timeout=30, check=False
    )
    assert (shown.stdout, shown.stderr) == (b"xxxxx", b"")


# ---------------------------------------------------------------------- tables


def test_files_are_listed_and_described_as_the_command_line_has_it(mesh: Mesh) -> None:
    publish(mesh.home, "/users/root/listed.txt", b"hello world")
    publish(mesh.home, "/shared/root/listed.txt", b"hello")
    ran = mesh.home.ok("get", "file", "listed")
    assert ran.headings == ["PATH", "SIZE", "TIME"]
    assert [row[:2] for row in ran.rows] == [["/shared/root/listed.txt", "5"], ["/users/root/listed.txt", "11"]]
    assert all(CTIME.fullmatch(re.split(r"  +", line.strip())[-1]) for line in ran.out.splitlines()[1:])
    hashed = mesh.home.ok("get", "files", "listed", "--hash")
    assert hashed.headings[-1] == "HASH"
    assert [row[-1] for row in hashed.rows] == [
        file_hash(b"hello", "/shared/root/listed.txt"),
        file_hash(b"hello world", "/users/root/listed.txt"),
    ]
    assert mesh.home.ok("get", "--hash", "file", "listed").out == hashed.out
    assert mesh.alice.ok("get", "file", "listed", "-o", "name").out == "/shared/root/listed.txt\n"
    found = mesh.alice.ok("get", "file", "listed", "-o", "json").json
    assert [(one["path"], one["size"]) for one in found] == [("/shared/root/listed.txt", 5)]
    lines = mesh.home.ok("describe", "file", "users/root/listed.txt").out.splitlines()
    assert lines[:2] == ["Path: /users/root/listed.txt", "Size: 11"]
    assert CTIME.fullmatch(lines[2].removeprefix("Time: "))
    assert lines[3] == f"Hash: {file_hash(b'hello world', '/users/root/listed.txt')}"
    assert lines[4:5] == ["Sources:"]
    assert [line.split() for line in lines[5:]] == [["ENDPOINT", "ENDPOINT", "ID"], ["home", mesh.home.id]]


# ---------------------------------------------------------------------- other programs


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_moves_a_file_both_ways_and_resumes_it(mesh: Mesh, version: str) -> None:
    home, source, target = mesh.home, mesh.home.home / "by-curl", mesh.home.home / "resumed"
    source.write_bytes(os.urandom(3_000_000))
    url = f"http://127.0.0.1:{home.port}/api/meshes/my-mesh/file-data/users/root/by%20curl"
    token = f"Authorization: Bearer {home.token}"

    def curl(*words: object) -> str:
        command = ["curl", "-sS", "-w", "%{http_code}", version, "-H", token, *map(str, words), url]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert curl("--data-binary", f"@{source}", "-H", "Content-Type: application/octet-stream") == "201"
    assert curl("-o", target) == "200"
    assert same(source, target)
    with target.open("r+b") as file:
        file.truncate(1_000_000)
    assert curl("-C", "-", "-o", target) == "206"
    assert same(source, target)
    assert "content-length: 3000000" in curl("-I") or version != "--http1.1"


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize("path", ["home/x", "/users/alice/x", "/shared/alice/x", "/x", "/apps/ztm/tunnel/shared/bob/x"])
def test_publishing_or_erasing_where_the_user_may_not_fails_and_says_where_it_may(mesh: Mesh, path: str) -> None:
    before = fs(mesh.home)
    source = mesh.home.home / "refused"
    source.write_bytes(b"x" * 5_000_000)
    for words in (("publish", "file", path, "-i", source), ("erase", "file", path)):
        line = mesh.home.fails(*words)
        assert "/users/root/" in line
        assert path.strip("/") in line
    assert fs(mesh.home) == before


def test_what_does_not_exist_is_said_not_to_and_no_file_is_made(mesh: Mesh) -> None:
    target = mesh.home.home / "none"
    for words in (
        ("download", "file", "/shared/root/nope", "-o", target),
        ("download", "file", "/shared/root/nope"),
        ("describe", "file", "/shared/root/nope"),
        ("erase", "file", "/shared/root/nope"),
        ("erase", "file", "/shared/root/nope", "--yes"),
        ("unpublish", "file", "/shared/root/nope"),
    ):
        assert "/shared/root/nope" in mesh.home.fails(*words)
    assert not target.exists()
    assert mesh.alice.fails("download", "file", "/users/root/secret", "-o", target).startswith("ztm: file not found")


def test_a_missing_input_or_an_unusable_output_is_named(mesh: Mesh) -> None:
    home = mesh.home
    assert "--input" in home.fails("publish", "file", "/users/root/x", status=2)
    assert "missing.txt" in home.fails("publish", "file", "/users/root/x", "-i", "missing.txt")
    assert str(home.home) in home.fails("publish", "file", "/users/root/x", "-i", home.home)
    publish(home, "/users/root/out", b"x")
    for target in (home.home, home.home / "no" / "such" / "directory"):
        assert str(target) in home.fails("download", "file", "/users/root/out", "-o", target)
    for words in (("publish", "file"), ("download", "file", "/x", "y")):
        home.fails(*words, status=2)


def test_a_private_file_is_refused_to_another_user_who_knows_its_hash(mesh: Mesh) -> None:
    path, content = "/users/root/private", b"secret"
    publish(mesh.home, path, content)
    url = f"/api/meshes/my-mesh/endpoints/{mesh.home.id}/file-data/{file_hash(content, path)}"
    for agent, status in ((mesh.alice, 404), (mesh.workplace, 200)):
        connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=30)
        connection.request("GET", url, headers={"authorization": f"Bearer {agent.token}"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == status
        assert (content in body) is (status == 200)


def test_erasing_asks_on_a_terminal_and_unpublishing_keeps_the_copies_of_others(mesh: Mesh) -> None:
    path = "/shared/root/asked"
    publish(mesh.home, path, b"x")
    assert answered(mesh.home, "n\n", "erase", "file", path) == 1
    assert run(mesh.alice, "download", "file", path)[0] == 0
    mesh.home.ok("unpublish", "file", path)
    assert "not held" in mesh.home.fails("unpublish", "file", path)
    assert run(mesh.workplace, "download", "file", path) == (0, b"x", "")
    assert answered(mesh.home, "y\n", "erase", "file", path) == 0
    for agent in (mesh.home, mesh.workplace, mesh.alice):
        agent.fails("download", "file", path)
        assert agent.ok("get", "file", path, "--no-headers").out == ""


def answered(agent: Agent, answer: str, *words: object) -> int:
    """The exit status of a run on a terminal where a person answers so."""
    ours, theirs = pty.openpty()
    try:
        env = environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}"})
        os.write(ours, answer.encode())
        done = subprocess.run(
            [ZTM, *map(str, words)], stdin=theirs, capture_output=True, env=env, timeout=30, check=False
        )
        assert b"[y/N]" in done.stderr
        return done.returncode
    finally:
        os.close(ours)
        os.close(theirs)


# ---------------------------------------------------------------------- large files, cuts and full disks

LARGE = 64 << 20
SPARE = 24 << 20
"""Bytes of memory that moving a file may take at most, whatever its size."""


def large(path: Path, size: int = LARGE) -> Path:
    """A file of bytes that do not repeat within a piece."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["cmp", one, other], check=False).returncode == 0


@pytest.mark.long
def test_a_large_file_passes_in_bounded_memory_everywhere(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        hub = world.hub()
        home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
        publish(home, "/users/root/warm", b"x" * 1_000_000)
        run(workplace, "download", "file", "/users/root/warm")
        source, target = large(tmp_path / "source"), tmp_path / "target"
        idle = {process.name: process.rss for process in (hub, home, workplace)}
        for process in (hub, home, workplace):
            process.reset_peak()
        home.ok("publish", "file", "/users/root/large", "-i", source)
        workplace.ok("download", "file", "/users/root/large", "-o", target)
        grown = {process.name: process.peak_rss - idle[process.name] for process in (hub, home, workplace)}
        assert same(source, target)
        assert max(grown.values()) < SPARE, grown
    finally:
        world.close()


@pytest.mark.long
def test_a_source_killed_within_a_download_is_followed_by_another_or_leaves_a_clean_failure(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        hub = world.hub()
        home, workplace, third = (world.joined(hub, name) for name in ("home", "workplace", "third"))
        source, target = large(tmp_path / "source"), tmp_path / "out" / "target"
        target.parent.mkdir()
        home.ok("publish", "file", "/users/root/large", "-i", source)
        with downloading(third, "/users/root/large", target) as command:
            home.kill()
            assert command.wait(60) == 1
            assert command.stderr is not None
            said = command.stderr.read()
            assert said.startswith("ztm: /users/root/large cannot be fetched now")
        assert list(target.parent.iterdir()) == []
        assert fs(third) == []
        home.start()
        until(lambda: home.mesh["state"] == "connected", what="home is back")
        workplace.ok("download", "file", "/users/root/large", "-o", "/dev/null")
        with downloading(third, "/users/root/large", target) as command:
            home.kill()
            assert command.wait(60) == 0
        assert same(source, target)
    finally:
        world.close()


@contextmanager
def downloading(agent: Agent, path: str, target: Path) -> Iterator[subprocess.Popen[str]]:
    """A command whose agent is fetching the file just now."""
    env = environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}"})
    command = subprocess.Popen(
        [ZTM, "download", "file", path, "-o", target], env=env, stderr=subprocess.PIPE, text=True, cwd=agent.home
    )
    with command:
        try:
            until(lambda: any(name.endswith(".incoming") for name in fs(agent)), what="bytes come")
            yield command
        finally:
            command.kill()


@pytest.mark.long
def test_a_killed_agent_cuts_a_download_to_a_file_without_a_trace(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        hub = world.hub()
        home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
        home.ok("publish", "file", "/users/root/large", "-i", large(tmp_path / "source"))
        target = tmp_path / "out" / "target"
        target.parent.mkdir()
        target.write_bytes(b"older")
        with downloading(workplace, "/users/root/large", target) as command:
            workplace.kill()
            assert command.wait(60) == 1
        assert [one.name for one in target.parent.iterdir()] == ["target"]
        assert target.read_bytes() == b"older"
        workplace.start()
        assert fs(workplace) == []
    finally:
        world.close()


def test_a_full_disk_refuses_uploads_and_downloads_and_keeps_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "3m") as disk:
        world = World(tmp_path)
        try:
            hub = world.hub()
            home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace", data=disk / "agent")
            kept, path = b"k" * 100_000, "/shared/root/kept"
            publish(workplace, path, kept)
            source = large(tmp_path / "source", 4 << 20)
            home.ok("publish", "file", "/users/root/large", "-i", source)
            before = fs(workplace)
            for words in (
                ("publish", "file", path, "-i", source),
                ("download", "file", "/users/root/large", "-o", tmp_path / "target"),
            ):
                assert "disk is full" in workplace.fails(*words)
                assert fs(workplace) == before
            assert not (tmp_path / "target").exists()
            assert run(home, "download", "file", path) == (0, kept, "")
            fill(disk)
            assert "disk is full" in workplace.fails("erase", "file", path)
            assert "disk is full" in home_target_full(home, disk)
            (disk / "filler").unlink()
            workplace.ok("erase", "file", path)
        finally:
            world.close()


def home_target_full(home: Agent, disk: Path) -> str:
    """What is said of a download whose own target is on the full disk; nothing of it is left there."""
    with visible(disk):
        return home.fails("download", "file", "/users/root/large", "-o", disk / "target").replace(
            "No space left on device", "disk is full"
        )
