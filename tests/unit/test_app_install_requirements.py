"""What an app requires of the Python environment: said in words, and never fetched."""

from importlib import metadata

import pytest

from ztm.agent.apps.requirements import missing

HAVE = {"one": "1.4.2", "two": "2.0", "pre": "3.0rc1", "dev": "1.0.dev3", "odd": "weekly", "local": "1.2+cu118"}


def installed(name: str) -> str:
    if name not in HAVE:
        raise metadata.PackageNotFoundError(name)
    return HAVE[name]


FULFILLED = (
    *("one", "one>=1.4", "one >= 1.4, < 2", "one==1.4.*", "one~=1.4", "one~=1.4.1", "one!=1.5", "one[extra,more]>1"),
    *("two==2", "two==2.0.0", "two<=2", "one (>=1)", "pre<3", "pre>=3.0b1", "dev<1", "odd===weekly", "local==1.2"),
    "local>=1.2",
)
MISSING = (
    *("one>=1.5", "one<1.4.2", "one>1.4.2", "one==1.5.*", "one!=1.4.*", "one~=1.5", "one~=2", "one==1.4.3", "pre>=3"),
    *("dev>=1", "odd>=1", "three", "two>2"),
)
STRANGE = ("", "-r x", "one @ https://example.com", "one; python_version>'3'", "one>=", "a b")


@pytest.mark.parametrize("requirement", FULFILLED)
def test_what_is_there_is_fulfilled(requirement: str) -> None:
    assert missing([requirement], installed) == []


@pytest.mark.parametrize("requirement", MISSING)
def test_what_is_not_there_is_said_with_what_to_type(requirement: str) -> None:
    (said,) = missing([requirement], installed)
    assert f"pip install {requirement!r}" in said


@pytest.mark.parametrize("requirement", STRANGE)
def test_what_is_not_understood_is_said_and_not_taken_for_fulfilled(requirement: str) -> None:
    (said,) = missing([requirement], installed)
    assert "not understood" in said


def test_what_this_environment_has_is_looked_up() -> None:
    assert missing(["msgspec>=0.18", "h2"]) == []
    assert len(missing(["surely-nobody-has-this"])) == 1
