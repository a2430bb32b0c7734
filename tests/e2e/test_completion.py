"""Completion in real shells, with the names that exist now; the promises of `cli.md` section 14, row 24."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shells import Shell, fish_completions, has
from world import Agent, World, free_port, run_ztm

SPACED = "living room"
QUOTED = 'o\'brien "x" $y'
PATIENT = {"ZTM_COMPLETION_TIMEOUT": "30"}
"""A loaded machine may take its time; how long it takes is measured elsewhere."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent in a mesh with endpoints of difficult names."""
    world = World(tmp_path_factory.mktemp("completion"))
    try:
        hub = world.hub()
        home = world.joined(hub, "home")
        world.joined(hub, SPACED)
        world.joined(hub, QUOTED)
        home.ok("tunnel", "open", "outbound", "tcp/web", "--targets", f"127.0.0.1:{free_port()}")
        yield home
    finally:
        world.close()


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, agent: Agent) -> Iterator[Shell]:
    if not has(request.param):
        pytest.skip(f"{request.param} is not installed")
    opened = Shell(request.param, agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}", **PATIENT})
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("ztm vers", ["version"]),
        ("ztm get mes", ["get", "mesh"]),
        ("ztm join m --perm", ["join", "m", "--permit"]),
        ("ztm get mesh --output=ya", ["get", "mesh", "--output=yaml"]),
        ("ztm get mesh -o ya", ["get", "mesh", "-o", "yaml"]),
        ("ztm ep hom", ["ep", "home"]),
        ("ztm ep liv", ["ep", SPACED]),
        ("ztm ep living\\ r", ["ep", SPACED]),
        ("ztm ep 'living r", ["ep", SPACED]),
        ('ztm ep "living r', ["ep", SPACED]),
        ("ztm ep o", ["ep", QUOTED]),
        ("ztm --endpoint=liv", [f"--endpoint={SPACED}"]),
        ("ztm ep my-mesh/hom", ["ep", "my-mesh/home"]),
        ("ztm mesh my", ["mesh", "my-mesh"]),
        ("ztm mesh my-mesh describe ep liv", ["mesh", "my-mesh", "describe", "ep", SPACED]),
        ("ztm tunnel describe outbound tcp/w", ["tunnel", "describe", "outbound", "tcp/web"]),
        ("ztm attach 127.0.0.", None),
    ],
)
def test_a_line_is_completed_to_words_that_mean_what_exists(
    shell: Shell, agent: Agent, typed: str, words: list[str] | None
) -> None:
    assert shell.words(typed) == (words or ["attach", agent.mesh["bootstraps"][0]])


def test_files_are_offered_where_a_file_is_named(shell: Shell, agent: Agent) -> None:
    (agent.home / "my permit.json").write_text("{}")
    assert shell.words("ztm permit show my") == ["permit", "show", "my permit.json"]
    assert shell.words("ztm join m --permit my") == ["join", "m", "--permit", "my permit.json"]
    assert shell.words("ztm join m --permit=my") == ["join", "m", "--permit=my permit.json"]


def test_without_an_answer_the_line_stays_as_it_is(shell: Shell) -> None:
    assert shell.words("ztm ep nosuchendpoint") == ["ep", "nosuchendpoint"]
    assert shell.words("ztm nosuchapp x") == ["nosuchapp", "x"]


@pytest.mark.skipif(not has("fish"), reason="fish is not installed")
def test_fish_offers_the_same(agent: Agent) -> None:
    variables = {"ZTM_AGENT": f"127.0.0.1:{agent.port}", **PATIENT}

    def offered(line: str) -> list[str]:
        return fish_completions(line, agent.home, variables)

    assert offered("ztm vers") == ["version"]
    assert sorted(offered("ztm ep ")) == sorted(["home", SPACED, QUOTED])
    assert offered("ztm ep 'living r") == [SPACED]
    assert offered("ztm get mesh --output=ya") == ["--output=yaml"]
    (agent.home / "fishy.json").write_text("{}")
    assert offered("ztm permit show fis") == ["fishy.json"]
    assert offered("ztm join m --permit=fis") == ["--permit=fishy.json"]


def test_the_mark_of_the_local_endpoint_is_no_candidate(agent: Agent) -> None:
    ran = agent.ztm("__complete", "zsh", "--", "ep", "", env=PATIENT)
    assert SPACED in ran.out
    assert "(local)" not in ran.out


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of an agent that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_agent_that_hangs_ends_completion_all_the_same_without_a_word(hanging: str, tmp_path: Path) -> None:
    begin = time.monotonic()
    ran = run_ztm(tmp_path, "__complete", "zsh", "--", "ep", "", env={"ZTM_AGENT": hanging})
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert time.monotonic() - begin < 10  # it would hang for half a minute; the very time is measured by the benchmark


@pytest.mark.parametrize(
    "words", [["--", "ep", ""], ["--", "\udcff", ""], [], ["--"], ["x"], ["--", "mesh", "", "get"]]
)
def test_completion_is_never_an_error(words: list[str], tmp_path: Path) -> None:
    ran = run_ztm(
        tmp_path, "__complete", "zsh", *[os.fsencode(word) for word in words], env={"ZTM_AGENT": "127.0.0.1:1"}
    )
    assert (ran.status, ran.err) == (0, "")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_scripts_are_valid(name: str, tmp_path: Path) -> None:
    if not has(name):
        pytest.skip(f"{name} is not installed")
    script = tmp_path / "script"
    script.write_text(run_ztm(tmp_path, "completion", name.upper()).out)
    done = subprocess.run([name, "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_another_shell_is_refused_by_name(tmp_path: Path) -> None:
    ran = run_ztm(tmp_path, "completion", "tcsh")
    assert ran.status == 2
    assert "unsupported shell 'tcsh'. Supported shells: bash, zsh, fish" in ran.err
