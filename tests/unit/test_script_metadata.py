"""What a script says that it needs (PEP 723), and with what it is run then."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.apps.script.interpreter import Interpreter, environment
from ztm.apps.script.metadata import Metadata, read_metadata
from ztm.errors import RefusedError, UsageError

FILE = Path("/x/s.py")
OURS = Interpreter("/usr/bin/python3", (3, 11, 7))
WITH_UV = Interpreter("/usr/bin/python3", (3, 11, 7), "/usr/bin/uv")


def block(*lines: str) -> str:
    return "\n".join(["import os", "# /// script", *(f"# {line}" if line else "#" for line in lines), "# ///", "pass"])


def test_a_script_without_a_block_needs_nothing() -> None:
    assert read_metadata("print(1)\n# comment") == Metadata()


def test_the_block_tells_python_and_packages() -> None:
    text = block('requires-python = ">=3.11"', "", "dependencies = [", '  "requests<3",', '  "rich",', "]", "[tool.x]")
    assert read_metadata(text) == Metadata(">=3.11", ("requests<3", "rich"))
    assert read_metadata(text.replace("\n", "\r\n")) == Metadata(">=3.11", ("requests<3", "rich"))


def test_the_last_closing_line_of_a_comment_counts_as_in_the_reference_implementation() -> None:
    text = '# /// script\n# dependencies = ["a"]\n# x = """\n# ///\n# """\n# ///\n'
    assert read_metadata(text).dependencies == ("a",)


@pytest.mark.parametrize(
    "text", ["# /// script\n# x = 1\n", "# /// script\nx = 1\n# ///\n", "## /// script\n# x=1\n# ///"]
)
def test_a_block_that_is_not_closed_is_a_comment(text: str) -> None:
    assert read_metadata(text) == Metadata()


@pytest.mark.parametrize(
    "text",
    [
        block("dependencies = 1"),
        block("dependencies = [1]"),
        block("requires-python = 3"),
        block("dependencies = ["),
        block("x = 1") + "\n" + block("y = 1"),
    ],
)
def test_a_malformed_block_is_an_error_and_not_a_guess(text: str) -> None:
    with pytest.raises(UsageError, match="script"):
        read_metadata(text)


@given(st.lists(st.sampled_from(["# /// script", "# ///", "#", "# x = 1", "x", '# y = """', "# ["]), max_size=12))
def test_whatever_stands_there_is_read_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(read_metadata("\n".join(lines)), Metadata)


@pytest.mark.parametrize(
    ("specifier", "fits"),
    [
        ("", True),
        (">=3.11", True),
        (">= 3.11, <4", True),
        (">=3.12", False),
        ("<3.11", False),
        ("<=3.11", False),
        ("<=3.11.7", True),
        (">3.11.7", False),
        ("~=3.11", True),
        ("~=3.11.0", True),
        ("~=3.10.0", False),
        ("~=3.12", False),
        ("==3.11.*", True),
        ("==3.11", False),
        ("==3.11.7", True),
        ("!=3.11.*", False),
        ("!=3.11.6,>=3", True),
        (">=3.11,", True),
    ],
)
def test_required_versions_are_compared_as_pep_440_says(specifier: str, fits: bool) -> None:
    assert Metadata(specifier).admits((3, 11, 7)) == fits


@pytest.mark.parametrize("specifier", ["3.11", ">=x", ">=3.*", "=>3", "~=3", ">=3.11 or <2"])
def test_what_is_no_version_specifier_is_an_error(specifier: str) -> None:
    with pytest.raises(UsageError, match="requires-python"):
        Metadata(specifier).admits((3, 11, 7))


def test_the_agents_python_runs_what_needs_no_more_than_that_alone_and_unbuffered() -> None:
    assert WITH_UV.command(Metadata(">=3.11"), FILE, ["a"]) == ["/usr/bin/python3", "-I", "-u", "/x/s.py", "a"]


def test_uv_runs_what_needs_packages_on_the_agents_python_where_that_will_do() -> None:
    command = WITH_UV.command(Metadata("", ("rich",)), FILE, ["-x"])
    assert command[:3] == ["/usr/bin/uv", "run", "--quiet"]
    assert command[-5:] == ["--python", "/usr/bin/python3", "--script", "/x/s.py", "-x"]
    assert "--python" not in WITH_UV.command(Metadata(">=3.12", ("rich",)), FILE, [])


def test_without_uv_the_refusal_says_what_is_needed_and_what_to_do() -> None:
    with pytest.raises(RefusedError, match=r"packages rich.*install uv"):
        OURS.command(Metadata("", ("rich",)), FILE, [])
    with pytest.raises(RefusedError, match=r"Python >=3\.12.*install uv"):
        OURS.command(Metadata(">=3.12"), FILE, [])


def test_of_the_environment_only_named_variables_are_passed_on() -> None:
    agent = {"PATH": "/p", "LANG": "C.UTF-8", "ZTM_AGENT": "x", "SECRET": "y", "TMPDIR": "/t", "HOME": "/h"}
    seen = environment(agent, Path("/run"))
    assert (seen["PATH"], seen["LANG"], seen["TMPDIR"]) == ("/p", "C.UTF-8", "/run")
    assert not {"ZTM_AGENT", "SECRET"} & seen.keys()
    assert environment({}, Path("/run"))["PATH"]
