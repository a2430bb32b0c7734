"""Signing browsers in and out: links, sessions, and how long and how many."""

import pytest

from ztm.agent.local.login import (
    FAILURE_SECONDS,
    FAILURES,
    LINK_SECONDS,
    LINKS,
    SESSION_SECONDS,
    SESSIONS,
    Login,
    is_csrf,
)
from ztm.errors import ForbiddenError, LimitError, UnauthorizedError

TOKEN = "the token"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def login(clock: Clock) -> Login:
    return Login(TOKEN, 7777, clock)


def cookie(login: Login, id_: str) -> list[str]:
    return [f"x=y; {login.cookie}={id_}; z"]


def test_a_link_signs_in_once(login: Login) -> None:
    code = login.link()
    assert login.session(cookie(login, login.enter_by_link(code)))
    with pytest.raises(ForbiddenError, match="used already"):
        login.enter_by_link(code)


def test_a_link_is_too_old_after_a_minute(login: Login, clock: Clock) -> None:
    code, other = login.link(), login.link()
    clock.now += LINK_SECONDS - 0.1
    login.enter_by_link(other)
    clock.now += 0.1
    with pytest.raises(ForbiddenError):
        login.enter_by_link(code)


def test_only_the_latest_links_wait(login: Login) -> None:
    codes = [login.link() for _ in range(LINKS + 1)]
    with pytest.raises(ForbiddenError):
        login.enter_by_link(codes[0])
    for code in codes[1:]:
        login.enter_by_link(code)


def test_the_token_signs_in_and_nothing_else_does(login: Login) -> None:
    assert login.session(cookie(login, login.enter_by_token(TOKEN)))
    for wrong in ("", "the toke", "the token ", "\ud800"):
        with pytest.raises(UnauthorizedError):
            login.enter_by_token(wrong)


def test_many_wrong_tokens_are_not_heard_for_a_minute(login: Login, clock: Clock) -> None:
    for _ in range(FAILURES):
        with pytest.raises(UnauthorizedError):
            login.enter_by_token("wrong")
    with pytest.raises(LimitError):
        login.enter_by_token(TOKEN)
    clock.now += FAILURE_SECONDS
    login.enter_by_token(TOKEN)


def test_who_guesses_keeps_nobody_from_signing_in_by_a_link(login: Login) -> None:
    code = login.link()
    for _ in range(FAILURES * 2):
        with pytest.raises((UnauthorizedError, LimitError)):
            login.enter_by_token("wrong")
        with pytest.raises(ForbiddenError):
            login.enter_by_link("wrong")
    assert login.session(cookie(login, login.enter_by_link(code)))


def test_a_session_ends_after_a_working_day(login: Login, clock: Clock) -> None:
    shown = cookie(login, login.enter_by_token(TOKEN))
    clock.now += SESSION_SECONDS - 1
    assert login.session(shown)
    clock.now += 1
    assert login.session(shown) is None


def test_signing_out_ends_this_session_and_no_other(login: Login) -> None:
    first, second = (cookie(login, login.enter_by_token(TOKEN)) for _ in range(2))
    login.leave(first)
    assert login.session(first) is None
    assert login.session(second)


def test_sessions_are_bounded_and_the_oldest_ends(login: Login) -> None:
    shown = [cookie(login, login.enter_by_token(TOKEN)) for _ in range(SESSIONS + 1)]
    assert [login.session(each) is None for each in shown] == [True] + [False] * SESSIONS


def test_another_agents_cookie_of_the_same_browser_is_not_looked_at(login: Login, clock: Clock) -> None:
    other = Login(TOKEN, 7778, clock)
    shown = f"{login.cookie}={login.enter_by_token(TOKEN)}"
    both = [f"{other.cookie}={other.enter_by_token(TOKEN)}; {shown}"]
    assert login.session(both)
    assert other.session([shown]) is None


def test_each_session_has_its_own_value_for_changes(login: Login) -> None:
    first, second = (login.session(cookie(login, login.enter_by_token(TOKEN))) for _ in range(2))
    assert first is not None
    assert second is not None
    assert is_csrf(first, [first.csrf])
    for wrong in ([], [second.csrf], [""], [first.csrf, first.csrf], ["é"]):
        assert not is_csrf(first, wrong)


def test_scripts_and_other_sites_never_see_the_cookie(login: Login) -> None:
    for text in (login.set_cookie("x"), login.drop_cookie()):
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(text.split("; "))
    assert login.drop_cookie().endswith("Max-Age=0")


def test_no_secret_of_a_session_is_printed(login: Login) -> None:
    session = login.session(cookie(login, login.enter_by_token(TOKEN)))
    assert session is not None
    assert session.csrf not in repr(session)
