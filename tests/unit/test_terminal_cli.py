"""`ztm terminal`: what is asked of the app, how settings are shown, and what words mean."""

import pytest
from app_console import CannedApp

from fake_agent import HOME_ID, WORK_ID
from ztm.apps.command import EndpointRef
from ztm.apps.grammar import Grammar
from ztm.apps.terminal.cli import COMMANDS, NOTES

HOME_EP, WORK_EP = EndpointRef(HOME_ID, "home"), EndpointRef(WORK_ID, "work")
CONFIG = f"/api/endpoints/{HOME_ID}/config"
PLAIN = {
    "shell": "", "users": [], "osUsers": {}, "idleTimeout": 0, "maxSessions": 32, "record": False,
    "account": "root", "sessions": 1,
}  # fmt: skip


@pytest.fixture
def app() -> CannedApp:
    made = CannedApp(HOME_EP, WORK_EP)
    made.answer("POST", CONFIG, None, 201)
    return made


async def run(app: CannedApp, words: str, status: int = 0) -> tuple[str, str]:
    ended, out, err = await app.run("ztm terminal", words, HOME_EP, COMMANDS, NOTES)
    assert ended == status, err
    return out, err


async def test_settings_are_shown_with_what_applies_where_none_are_made(app: CannedApp) -> None:
    app.answer("GET", CONFIG, PLAIN)
    assert (await run(app, "config"))[0] == (
        f"Endpoint: home ({HOME_ID})\nShell: (default)\nAllowed Users:\n  (owner only)\nRun As: root\n"
        "Idle Timeout: (none)\nSessions: 1 of at most 32\nRecorded: no\n"
    )


async def test_who_is_allowed_and_as_whom_they_run_is_shown(app: CannedApp) -> None:
    shown = {"shell": "/bin/zsh", "users": ["bob", "*"], "osUsers": {"bob": "robert"}, "idleTimeout": 60}
    app.answer("GET", CONFIG, PLAIN | shown | {"record": True})
    out, _ = await run(app, "config")
    assert "Shell: /bin/zsh\nAllowed Users:\n  bob\n  (every user)\nRun As:\n  bob = robert\nIdle Timeout: 60 s" in out
    assert "Recorded: yes" in out


@pytest.mark.parametrize(
    ("words", "before", "sent"),
    [
        ("--set-shell /bin/zsh", {}, {"shell": "/bin/zsh"}),
        ("--set-shell", {"shell": "x"}, {"shell": ""}),
        ("--add-user bob", {"users": ["al"]}, {"users": ["al", "bob"]}),
        ("--add-user bob", {"users": ["bob"]}, {"users": ["bob"]}),
        ("--del-user bob --add-user al", {"users": ["bob"]}, {"users": ["al"]}),
        ("--map-user bob=robert", {"osUsers": {"al": "x"}}, {"osUsers": {"al": "x", "bob": "robert"}}),
        ("--map-user a=b=robert", {}, {"osUsers": {"a=b": "robert"}}),
        ("--unmap-user al", {"osUsers": {"al": "x"}}, {"osUsers": {}}),
        ("--idle-timeout 30 --max-sessions 5", {}, {"idleTimeout": 30, "maxSessions": 5}),
        ("--record on", {}, {"record": True}),
        ("--record off", {"record": True}, {"record": False}),
    ],
)
async def test_an_option_changes_its_setting_and_no_other(
    app: CannedApp, words: str, before: dict[str, object], sent: dict[str, object]
) -> None:
    app.answer("GET", CONFIG, PLAIN | before)
    await run(app, f"config {words}")
    assert app.sent("POST") == [(CONFIG, sent)]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--del-user bob", 1, "user 'bob' is not among the allowed users"),
        ("--unmap-user bob", 1, "user 'bob' is not mapped"),
        ("--map-user bob", 2, "write MESHUSER=OSUSER"),
        ("--record perhaps", 2, "on or off"),
        ("--idle-timeout soon", 2, "a whole number from 0"),
        ("--max-sessions 0", 2, "a whole number from 1"),
    ],
)
async def test_what_cannot_be_set_is_an_error_and_nothing_is_sent(
    app: CannedApp, words: str, status: int, said: str
) -> None:
    app.answer("GET", CONFIG, PLAIN)
    _, err = await run(app, f"config {words}", status)
    assert said in err
    assert app.sent("POST") == []


async def test_a_refused_change_is_an_error(app: CannedApp) -> None:
    app.answer("GET", CONFIG, PLAIN)
    app.answer("POST", CONFIG, {"status": 403, "message": "only their owner may"}, 403)
    _, err = await run(app, "config --record on", 1)
    assert "only their owner may" in err


async def test_a_v1_endpoint_is_sent_the_whole_of_what_it_knows_and_nothing_else(app: CannedApp) -> None:
    app.answer("GET", CONFIG, {"shell": "bash", "users": ["al"]})
    assert "Run As" not in (await run(app, "config"))[0]
    await run(app, "config --add-user bob")
    assert app.sent("POST") == [(CONFIG, {"shell": "bash", "users": ["al", "bob"]})]
    _, err = await run(app, "config --idle-timeout 5", 1)
    assert "runs ZTM v1" in err
    assert len(app.sent("POST")) == 1


async def test_allowing_others_where_all_run_as_the_agent_is_pointed_out(app: CannedApp) -> None:
    app.answer("GET", CONFIG, PLAIN)
    assert "sessions of other users run as root there" in (await run(app, "config --add-user bob"))[0]
    app.answer("GET", CONFIG, PLAIN | {"osUsers": {"bob": "robert"}})
    assert await run(app, "config --add-user bob") == ("", "")


@pytest.mark.parametrize(
    ("line", "rest", "is_exact", "is_tty"),
    [
        ("open ep", (), False, False),
        ("open --tty ep", (), False, True),
        ("open ep --tty", (), False, True),
        ("open ep --", (), True, False),
        ("open ep -- ls -l --tty -- x", ("ls", "-l", "--tty", "--", "x"), True, False),
        ("open ep --tty -- top -b", ("top", "-b"), True, True),
        ("open ep ls -l --tty", ("ls", "-l", "--tty"), False, False),
        ("open -- ep rsync --server -- .", ("rsync", "--server", "--", "."), False, False),
        ("open --tty -- ep ls", ("ls",), False, True),
    ],
)
def test_what_follows_the_endpoint_is_the_command_untouched(
    line: str, rest: tuple[str, ...], is_exact: bool, is_tty: bool
) -> None:
    grammar = Grammar("ztm terminal", COMMANDS)
    _, found = grammar.parse(line.split())
    assert (found.word("endpoint"), found.rest, found.is_exact) == ("ep", rest, is_exact)
    assert found.flag("--tty") is is_tty


async def test_a_command_needs_an_endpoint_that_is_there(app: CannedApp) -> None:
    assert "missing argument <endpoint>" in (await run(app, "open", 2))[1]
