"""Whole sessions as people type them, held against what they must see: the files in ``transcripts``."""

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from world import ZTM, Agent, World, environment, free_port

TRANSCRIPTS = Path(__file__).parent / "transcripts"
PATIENCE = 15.0
"""Seconds for what is awaited to come about."""
_COMMAND = re.compile(r"([\w-]+)(~?)\$ (.*)")
_STATUS = re.compile(r"\[(\d+)\]")


@dataclass
class Step:
    """One command, and what it must give."""

    line: int
    machine: str
    is_awaited: bool
    command: str
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    status: int = 0


def read_steps(path: Path) -> Iterator[Step]:
    step: Step | None = None
    for number, text in enumerate(path.read_text().splitlines(), 1):
        found = _COMMAND.fullmatch(text)
        if found:
            if step:
                yield _trimmed(step)
            step = Step(number, found[1], bool(found[2]), found[3])
        elif step is None or text.startswith("# "):
            continue
        elif text.startswith("! "):
            step.err.append(text[2:])
        elif status := _STATUS.fullmatch(text):
            step.status = int(status[1])
        else:
            step.out.append(text)
    if step:
        yield _trimmed(step)


def _trimmed(step: Step) -> Step:
    while step.out and not step.out[-1]:
        step.out.pop()
    return step


def pattern(lines: list[str]) -> re.Pattern[str]:
    """What `lines` of a transcript stand for."""
    parts = []
    for line in lines:
        text = re.escape(even(line)).replace(r"\*", ".*")
        parts.append("(?:.*\n)*" if line == "..." else f"{text}\n")
    return re.compile("".join(parts))


def even(text: str) -> str:
    """`text` with runs of blanks as two, and none at the ends of lines."""
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.split("\n"))


class Stage:
    """The machines of a transcript."""

    def __init__(self, world: World) -> None:
        self.hub = world.hub()
        self.agents: dict[str, Agent] = {name: world.agent(name) for name in ("ep-1", "ep-2", "ep-3")}
        self._words = {
            "{hub}": f"127.0.0.1:{self.hub.port}",
            "{permit}": str(self.hub.permit),
            "{port}": str(free_port()),
            "{other}": str(free_port()),
            "{third}": str(free_port()),
            "{busy}": str(self.agents["ep-2"].port),
        }

    def fill(self, text: str) -> str:
        for word, value in self._words.items():
            text = text.replace(word, value)
        return text

    def last_failure(self, step: Step) -> str:
        """The same, once it is right or the patience is over."""
        deadline = time.monotonic() + PATIENCE
        while (failure := self.failure(step)) and time.monotonic() < deadline:
            pass
        return failure

    def failure(self, step: Step) -> str:
        """What is wrong with what a step gives now; empty if nothing is."""
        agent = self.agents[step.machine]
        variables = {"ZTM_AGENT": f"127.0.0.1:{agent.port}", "TZ": "UTC"}
        env = environment(agent.home, variables)
        env["PATH"] = f"{ZTM.parent}:{env['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", self.fill(step.command)],
            cwd=agent.home,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        out = done.stdout if not done.stdout or done.stdout.endswith("\n") else f"{done.stdout}\n"
        wanted = [self.fill(line) for line in step.out], [self.fill(line) for line in step.err]
        is_right = (
            done.returncode == step.status
            and pattern(wanted[0]).fullmatch(even(out))
            and pattern(wanted[1]).fullmatch(even(done.stderr))
        )
        said = f"status {done.returncode}\n{done.stdout}{done.stderr}"
        return "" if is_right else f"line {step.line}: {step.machine}$ {step.command}\n{said}"


def play(stage: Stage, transcript: str) -> None:
    """Type all of a transcript, and say all that went otherwise."""
    steps = read_steps(TRANSCRIPTS / transcript)
    given = ((stage.last_failure if step.is_awaited else stage.failure)(step) for step in steps)
    wrong = [failure for failure in given if failure]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.long
def test_every_command_of_a_meshs_life_gives_its_table_its_state_and_its_status(world: World) -> None:
    play(Stage(world), "commands.txt")


@pytest.mark.long
def test_every_command_of_every_app_gives_its_table_its_message_and_its_status(world: World) -> None:
    play(Stage(world), "apps.txt")
