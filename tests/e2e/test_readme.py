"""Every shell block of the README and the guides is run as it stands; see `machines` for where.

A block is preceded by a comment that says on which machines it is typed, and whether it keeps running. On
``checkout`` it is typed in the checkout, and `make` only says what it would do.
"""

import re
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from machines import Machine, machines
from world import until

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(
    r"(?:<!-- on: (?P<where>[\w ]+?)(?P<keeps>, keeps running)? -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL
)
SHELLS = ("sh", "bash", "shell", "console")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
DRY = 'make() { command make --dry-run "$@"; }\n'
GREETING = "Hello from workplace"


@dataclass(frozen=True)
class Block:
    """One shell block."""

    where: tuple[str, ...]
    keeps_running: bool
    text: str


def blocks(document: Path) -> list[Block]:
    """The shell blocks of a document, in order."""
    return [
        Block(tuple((found["where"] or "").split()), bool(found["keeps"]), found["text"])
        for found in BLOCK.finditer(document.read_text(encoding="utf-8"))
        if found["kind"] in SHELLS
    ]


def relative(document: Path) -> str:
    return str(document.relative_to(ROOT))


WITH_BLOCKS = [document for document in DOCUMENTS if blocks(document)]


@pytest.mark.parametrize("document", WITH_BLOCKS, ids=relative)
def test_every_shell_block_says_where_it_is_typed(document: Path) -> None:
    for block in blocks(document):
        assert block.where, f"no '<!-- on: MACHINE -->' before:\n{block.text}"


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("document", WITH_BLOCKS, ids=relative)
def test_every_shell_block_works_when_typed_in_order(document: Path, tmp_path: Path) -> None:
    found = blocks(document)
    names = sorted({name for block in found for name in block.where} - {"checkout"}, key=lambda name: name != "hub")
    with machines(tmp_path, names) as made, ExitStack() as stack:
        checkout = Machine("checkout", tmp_path, ROOT)
        for number, block in enumerate(found):
            for name in block.where:
                machine = made.get(name, checkout)
                if block.keeps_running:
                    stack.enter_context(machine.running(block.text, tmp_path / f"{number}-{name}.log"))
                else:
                    type_in(machine, block.text)
        if "ztm evict alice" in "".join(block.text for block in found):
            until(
                lambda: "evicted" in made["guest"].run("ztm get mesh").stdout, what="alice is told that she is evicted"
            )


def type_in(machine: Machine, text: str) -> None:
    """Run a block; one that fetches the page is repeated for a while, as news of an exit take about a second."""
    if machine.name == "checkout":
        ran = machine.run(DRY + text)
        assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"
    elif "curl" in text:
        until(lambda: GREETING in machine.run(text).stdout, what=text)
    else:
        ran = machine.run(text)
        assert (ran.returncode, ran.stderr) == (0, ""), f"{machine.name}: {text}\n{ran.stdout}{ran.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_link_leads_to_a_file(document: Path) -> None:
    linked = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in linked if not (document.parent / link).exists()] == []


def test_the_continuous_check_runs_commands_of_the_readme() -> None:
    typed = {line for block in blocks(ROOT / "README.md") for line in block.text.splitlines()}
    run = set(re.findall(r"^step (make [\w-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    assert run == {"make setup", "make check", "make test-all"}
    assert run <= typed
