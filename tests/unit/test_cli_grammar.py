"""The grammar of command lines: v1's rules, and what ours accepts beyond them (spec cli 2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.apps.grammar import Arguments, Command, Grammar, Option, wants_help
from ztm.apps.help import help_text
from ztm.errors import UsageError


def nothing(context: object, arguments: Arguments) -> None:
    pass


OPTIONS = (
    Option("--as", "<ep name>", "Name"),
    Option("--permit", "<file>", "Permit", "-p"),
    Option("--listen", "<[ip:]port ...>", "Where", "-l"),
    Option("--color", "[when]", "Colour"),
    Option("--quick", "", "Fast"),
)
GRAMMAR: Grammar[object, object] = Grammar(
    "ztm",
    (
        Command(usage="join <mesh name> [note]", title="Join it", run=nothing, options=OPTIONS),
        Command(usage="open inbound|in <name>", title="Open one", run=nothing),
        Command(usage="open outbound|out <name>", title="Open another", run=nothing),
        Command(usage="leave", title="Leave it", run=nothing),
    ),
)


def parsed(line: str) -> Arguments:
    return GRAMMAR.parse(line.split(" "))[1]


@pytest.mark.parametrize(
    "line",
    [
        "join m --as home -p x",
        "join --as home -p x m",
        "join --as=home m -px",
        "join -p x m --as home",
        "join --as home --permit=x -- m",
    ],
)
def test_options_may_stand_anywhere_and_be_spelled_in_every_way(line: str) -> None:
    arguments = parsed(line)
    assert (arguments.word("mesh name"), arguments.value("--as"), arguments.value("--permit")) == ("m", "home", "x")
    assert arguments.word("note") == ""


def test_a_variadic_option_takes_words_up_to_the_next_option_and_appends_when_repeated() -> None:
    arguments = parsed("join m --listen 1 2 --quick --listen 3 -l4 5")
    assert arguments.values("--listen") == ("1", "2", "3", "4", "5")


def test_a_variadic_option_written_with_equals_takes_that_value_only() -> None:
    arguments = parsed("join --listen=1 m --listen=2 note")
    assert arguments.values("--listen") == ("1", "2")
    assert (arguments.word("mesh name"), arguments.word("note")) == ("m", "note")


def test_a_lone_dash_is_a_value_and_two_dashes_end_the_options() -> None:
    assert parsed("join m -p -").value("--permit") == "-"
    assert parsed("join -- --quick").word("mesh name") == "--quick"


def test_an_optional_value_may_be_absent() -> None:
    assert parsed("join m --color --quick").value("--color") == ""
    assert parsed("join m --color=red").value("--color") == "red"
    assert parsed("join m").value("--color") is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("join", "missing argument <mesh name>. Type 'ztm help join' for help info."),
        (
            "join --listen 1 m",
            "missing argument <mesh name> (write it before --listen, which takes every word after it)",
        ),
        ("join m note more", "excessive positional argument: more"),
        ("join m --as", "option --as needs a value: <ep name>"),
        ("join m --as --quick", "option --as needs a value"),
        ("join m --listen", "option --listen needs a value"),
        ("join m --as a --as b", "option --as is given twice"),
        ("join m --quick=1", "option --quick takes no value"),
        ("join m --permt x", "unknown option: --permt (did you mean '--permit'?)"),
        ("join m -x", "unknown option: -x"),
        ("jion m", "unknown command: jion (did you mean 'join'?). Type 'ztm help' for help info."),
        ("open outbond x", "invalid object type 'outbond' for command 'open' (did you mean 'outbound'"),
        ("open", "'ztm open' must be followed by inbound or outbound. Type 'ztm help open' for help info."),
    ],
)
def test_an_error_says_in_one_line_what_is_wrong_and_which_help_to_read(line: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parsed(line)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert "Type 'ztm help" in str(error.value)


def test_the_longest_command_wins_and_spellings_are_one_word() -> None:
    command, arguments = GRAMMAR.parse(["open", "out", "x"])
    assert (command.name, arguments.word("name")) == ("open outbound", "x")


def test_help_is_seen_anywhere_before_two_dashes() -> None:
    assert wants_help(["join", "-h", "m"])
    assert wants_help(["--help"])
    assert not wants_help(["join", "--", "-h"])


def test_help_of_a_command_shows_usage_and_options() -> None:
    assert help_text(GRAMMAR, ["join", "whatever"]) == (
        "\nJoin it\n\nUsage: ztm join <mesh name> [note] [options...]\n\nOptions:\n\n"
        "      --as      <ep name>         Name\n"
        "  -p, --permit  <file>            Permit\n"
        "  -l, --listen  <[ip:]port ...>   Where\n"
        "      --color   [when]            Colour\n"
        "      --quick                     Fast\n"
    )


def test_help_of_a_word_that_begins_several_commands_shows_them_all() -> None:
    text = help_text(GRAMMAR, ["open"])
    assert "ztm open inbound <name>" in text
    assert "ztm open outbound <name>" in text
    assert "Join it" not in text


def test_help_of_nothing_or_of_an_unknown_word_lists_every_command_once() -> None:
    text = help_text(GRAMMAR, ["nosuch"], usage="USAGE", notes="NOTES")
    assert text == help_text(GRAMMAR, usage="USAGE", notes="NOTES")
    assert text.index("USAGE") < text.index("Commands:") < text.index("NOTES") < text.index("Type 'ztm help <command>'")
    assert text.count("ztm join") == 1


VOCABULARY = st.sampled_from(
    ["join", "open", "in", "m", "-", "--", "--as", "--as=x", "--listen", "-l8", "-l", "-p", "--quick", "--x", "", "-h"]
)


@given(st.lists(VOCABULARY | st.text(max_size=4), max_size=8))
def test_any_words_are_either_understood_or_refused_in_one_line(words: list[str]) -> None:
    try:
        command, arguments = GRAMMAR.parse(words)
    except UsageError as error:
        message = str(error)
        assert message
    else:
        required = [name[1:-1] for name in command.positionals if name.startswith("<")]
        assert all(name in arguments.words for name in required)
        assert set(arguments.options) <= {option.name for option in command.options}


VALUES = st.text(min_size=1, max_size=6).filter(lambda text: not text.startswith("-"))
GIVEN = st.fixed_dictionaries({}, optional={"--as": VALUES, "--permit": VALUES, "--quick": st.none()})


@given(mesh=VALUES, given_options=GIVEN, listens=st.lists(VALUES, max_size=3), data=st.data())
def test_what_is_written_is_what_is_read_in_any_order(
    mesh: str, given_options: dict[str, str | None], listens: list[str], data: st.DataObject
) -> None:
    pieces = [[name] if value is None else [f"{name}={value}"] for name, value in given_options.items()]
    pieces += [[f"--listen={value}"] for value in listens]
    order = data.draw(st.permutations([*pieces, [mesh]]))
    arguments = GRAMMAR.parse(["join", *(word for piece in order for word in piece)])[1]
    assert arguments.word("mesh name") == mesh
    assert sorted(arguments.values("--listen")) == sorted(listens)
    for name, value in given_options.items():
        assert arguments.value(name) == (value or "")


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (["run", "a", "--args", "-x", "--flag", "--"], ("-x", "--flag", "--")),
        (["run", "a", "--", "--args", "b"], ("--args", "b")),
        (["run", "--flag", "a", "--args=b", "c"], ("b", "c")),
        (["run", "a"], ()),
    ],
)
def test_an_option_of_all_that_follows_takes_it_untouched(words: list[str], rest: tuple[str, ...]) -> None:
    options = (Option("--args", "..."), Option("--flag"))
    grammar = Grammar("p", (Command(usage="run <file>", title="", run=lambda _c, _a: None, options=options),))
    _, arguments = grammar.parse(words)
    assert (arguments.rest, arguments.word("file")) == (rest, "a")


def test_help_is_not_asked_for_by_what_belongs_to_somebody_else() -> None:
    assert wants_help(["a", "-h"])
    assert not wants_help(["a", "--args", "-h"])
    assert not wants_help(["a", "--", "--help"])
