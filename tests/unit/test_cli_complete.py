"""Completion read from the tables of commands, and words that any shell reads back."""

import subprocess
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ztm.cli.commands import app_grammar, commands
from ztm.cli.completing.engine import complete
from ztm.cli.completing.shellwords import escaped, parse
from ztm.cli.shared import Target

asked: list[tuple[str, str, str]] = []


def names(target: Target, kind: str, begun: str) -> Iterable[tuple[str, str]]:
    """Names that say which kind and which mesh was asked for."""
    asked.append((kind, target.mesh, target.endpoint))
    return [(f"{kind}-1", "about"), (f"{begun}-{kind}", "")]


def offered(line: str) -> set[str]:
    """What may follow; the last word of `line` is the one begun."""
    *words, current = line.split(" ")
    asked.clear()
    return {word for word, _ in complete(words, current, names).names}


def test_every_command_and_app_is_offered_first_and_none_that_is_hidden() -> None:
    found = offered("")
    assert {command.words[0][0] for command in commands().commands} <= found
    assert {"help", "mesh", "ep", "tunnel"} <= found
    assert not any(word.startswith("_") for word in found)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("get m", {"mesh"}),
        ("get meshe", {"meshes"}),
        ("config s", {"show", "set"}),
        ("config set ", {"agent", "mesh"}),
        ("run ", {"hub", "agent"}),
        ("completion ", {"bash", "zsh", "fish"}),
        ("get mesh -o j", {"json"}),
        ("get mesh --output=j", {"--output=json"}),
        ("get mesh --no-h", {"--no-headers"}),
        ("help conf", {"config"}),
        ("help config u", {"unset"}),
        ("help tunnel cl", {"close"}),
        ("tunnel op", {"open"}),
        ("tunnel open in", {"inbound"}),
        ("tunnel close o", {"outbound", "out"}),
        ("script s.py --al", {"--all"}),
        ("script config --allow o", {"on", "off"}),
        ("proxy rules --action ", {"allow", "deny"}),
        ("terminal ", {"open", "config", "help"}),
        ("nosuchapp ", set()),
        ("leave m -- --", set()),
        ("permit sh", {"show"}),
    ],
)
def test_fixed_words_come_from_the_tables(line: str, expected: set[str]) -> None:
    assert offered(line) == expected
    assert asked == []


def test_a_script_may_stand_where_its_command_is_left_out() -> None:
    answer = complete(["script"], "", names)
    assert answer.kind == "files"
    assert {word for word, _ in answer.names} == {"run", "config", "help"}


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ("mesh ", ["mesh"]),
        ("ep ", ["endpoint"]),
        ("users group ", ["group"]),
        ("proxy rules --groups ", ["group"]),
        ("script s.py --on ", ["endpoint"]),
        ("terminal open ", ["endpoint"]),
        ("port set port --via ", ["endpoint"]),
        ("log audit ", ["endpoint"]),
        ("--mesh ", ["mesh"]),
        ("get ep --mesh=", ["mesh"]),
        ("get ep --endpoint ", ["endpoint"]),
        ("get hub ", ["hub"]),
        ("describe endpoints ", ["endpoint"]),
        ("describe file ", ["file"]),
        ("ping ", ["endpoint"]),
        ("ping ep ", ["endpoint"]),
        ("leave ", ["mesh"]),
        ("evict ", ["user"]),
        ("join ", []),
        ("invite ", []),
        ("start app ", ["app"]),
        ("download file ", ["file"]),
        ("attach ", ["hub"]),
        ("tunnel describe tunnel ", ["tunnel"]),
        ("tunnel close inbound ", ["inbound"]),
        ("tunnel open outbound tcp/x --entrances ", ["endpoint"]),
        ("tunnel open outbound tcp/x --entrances a ", ["endpoint"]),
        ("tunnel open outbound tcp/x --users ", ["user"]),
    ],
)
def test_live_names_are_asked_for_only_where_one_may_stand(line: str, kinds: list[str]) -> None:
    offered(line)
    assert [kind for kind, _, _ in asked] == kinds


@pytest.mark.parametrize(
    "line", ["mesh m describe ep ", "--mesh m describe ep ", "--mesh=m describe ep ", "describe ep --mesh m "]
)
def test_names_are_those_of_the_mesh_that_the_line_names(line: str) -> None:
    offered(line)
    assert asked == [("endpoint", "m", "")]


def test_names_are_those_of_the_endpoint_that_the_line_names() -> None:
    offered("ep m/e tunnel describe inbound ")
    assert asked == [("inbound", "m", "e")]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("permit show ", "files"),
        ("join m --permit ", "files"),
        ("join m -p ", "files"),
        ("join m --permit=x", "files"),
        ("run hub --data ", "dirs"),
    ],
)
def test_paths_are_left_to_the_shell(line: str, kind: str) -> None:
    *words, current = line.split(" ")
    assert complete(words, current, names).kind == kind


def test_an_option_that_was_given_is_not_offered_again_unless_it_takes_many() -> None:
    assert "--as" in offered("join m --")
    assert "--as" not in offered("join m --as x --")
    assert "--listen" in offered("tunnel open inbound tcp/x --listen 1 --")


def test_after_the_last_positional_options_are_offered() -> None:
    assert {"--as", "--permit", "--timeout"} <= offered("join m ")


COMMANDS = [*commands().commands, *app_grammar("tunnel").commands]
WORDS = st.sampled_from(
    sorted({word for one in COMMANDS for spellings in one.words for word in spellings})
    + sorted({option.name for one in COMMANDS for option in one.options})
    + ["", "-", "--", "-p", "-px", "mesh", "ep", "m/e", "--mesh=m", "--timeout", "--x", "x y", "--output="]
)


@given(st.lists(WORDS, max_size=6), WORDS)
@settings(deadline=None, max_examples=300)
def test_any_line_gets_words_that_begin_as_it_does(words: list[str], current: str) -> None:
    assert all(word.startswith(current) for word, _ in complete(words, current, names).names)


TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, blacklist_characters="\x7f"), min_size=1, max_size=8
)


@given(st.lists(TEXT, min_size=1, max_size=5))
@settings(deadline=None, max_examples=20)
def test_a_shell_reads_an_escaped_word_as_it_was(words: list[str]) -> None:
    line = " ".join(map(escaped, words))
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


@given(st.lists(TEXT, max_size=4), TEXT, TEXT)
@settings(deadline=None)
def test_a_line_is_split_as_it_was_put_together(words: list[str], begun: str, rest: str) -> None:
    line = parse(" ".join(["ztm", *map(escaped, words), escaped(begun)]))
    assert (list(line.words), line.current) == (["ztm", *words], begun)
    reply = line.reply(begun + rest)
    assert reply is not None
    assert parse(f"ztm {escaped(line.settled)}{reply}").current == begun + rest


@pytest.mark.parametrize(
    ("line", "whole", "reply"),
    [
        ("ztm 'a b", "a b c", "a b c"),
        ("ztm 'a", "a'b", None),
        ('ztm "a', 'a"$`\\', 'a\\"\\$\\`\\\\'),
        ("ztm h:8", "h:8888", "8888"),
        ("ztm --x=a", "--x=abc", "abc"),
        ("ztm --x='a", "--x=a b", "a b"),
        ("ztm a", "b", None),
    ],
)
def test_only_what_bash_replaces_is_replied(line: str, whole: str, reply: str | None) -> None:
    assert parse(line).reply(whole) == reply
