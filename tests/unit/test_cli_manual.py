"""The manual says what the tables of commands say, all of it, in a form that man programs read."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ztm.build import Build, built
from ztm.cli.commands import app_grammar, commands
from ztm.cli.manual.__main__ import documents, main
from ztm.cli.manual.page import Literal, Page, Section, Terms, Text
from ztm.cli.manual.roff import roff

DOCUMENTS = documents()


@pytest.mark.parametrize("name", ["cli.md", "man/ztm.1"])
def test_every_command_and_option_is_in_the_manual(name: str) -> None:
    text = DOCUMENTS[name].replace("\\-", "-").replace("\\(ti", "~")
    for grammar in (commands(), app_grammar("tunnel")):
        for command in grammar.commands:
            assert f"{grammar.program} {command.name}" in text
            for option in command.options:
                assert option.name in text


def test_hub_and_agent_have_their_options_in_their_own_pages() -> None:
    for name, page in (("run hub", "man/ztm-hub.8"), ("run agent", "man/ztm-agent.8")):
        (command,) = [one for one in commands().commands if one.name == name]
        text = DOCUMENTS[page].replace("\\-", "-")
        assert not [option.name for option in command.options if option.name not in text]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.startswith("man/")])
def test_man_pages_are_well_formed(name: str, tmp_path: Path) -> None:
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    page = tmp_path / Path(name).name
    page.write_text(DOCUMENTS[name])
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_text_cannot_be_taken_for_a_command_of_the_typesetter() -> None:
    page = Page(
        "x", 1, "t", (Section("s", (Text(".de a\\b 'c'"), Literal(".so /etc/passwd"), Terms(((".x", "-y"),)))),)
    )
    lines = roff(page).splitlines()
    assert "\\&.de a\\eb \\(aqc\\(aq" in lines
    assert "\\&.so /etc/passwd" in lines
    assert "\\fB\\&.x\\fR" in lines
    assert "\\-y" in lines


def test_a_stale_or_missing_page_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "cli.md").write_text("old")
    (tmp_path / "man" / "ztm.1").unlink()
    assert main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / name} is stale: run 'make docs'" for name in ("cli.md", "man/ztm.1")
    ]


def test_the_build_is_told_where_it_is_known_and_else_nothing(tmp_path: Path) -> None:
    assert built(tmp_path) == Build()
    (tmp_path / "build.json").write_text('{"commit": "abc", "date": "2026-11-23T00:00:00+00:00"}')
    assert built(tmp_path) == Build("abc", "2026-11-23T00:00:00+00:00")
    (tmp_path / "build.json").write_text("[]")
    assert built(tmp_path) == Build()
