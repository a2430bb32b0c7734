"""`ztm gui`: a link that signs in, and a browser only where there is a screen."""

import stat
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from fake_agent import HOME_ID, FakeAgent, running_agent
from ztm.cli.main import main

URL = "http://127.0.0.1:7777/api/login/links/code"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.answer("POST", "/api/login/links", {"url": URL}, 201)
        yield running


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    urls: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: urls.append(url) or True)
    return urls


def test_without_a_screen_the_link_is_shown_and_nothing_opened(
    agent: FakeAgent, opened: list[str], capsys: Captured
) -> None:
    assert main(["gui"]) == 0
    assert URL in capsys.readouterr().out
    assert opened == []
    assert [(method, path) for method, path, _ in agent.requests] == [("POST", "/api/login/links")]


def test_on_a_desktop_the_page_is_opened_unless_told_otherwise(
    agent: FakeAgent, opened: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["gui"]) == 0
    assert main(["gui", "--no-open"]) == 0
    assert main(["gui", "--print"]) == 0
    assert len(opened) == 1
    assert capsys.readouterr().out.endswith(f"\n{URL}\n{URL}\n")


def test_no_program_is_given_the_link_as_an_argument(
    agent: FakeAgent, opened: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert main(["gui"]) == 0
    assert "code" not in opened[0]
    page = Path(url2pathname(urlsplit(opened[0]).path))
    assert URL in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_a_script_gets_the_link_alone(agent: FakeAgent, opened: list[str], capsys: Captured) -> None:
    assert main(["gui", "--print"]) == 0
    assert capsys.readouterr().out == URL + "\n"
    assert opened == []


def test_a_browser_that_does_not_start_is_no_failure(
    agent: FakeAgent, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_url: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", broken)
    assert main(["gui"]) == 0
    assert URL in capsys.readouterr().out


def app_object(provider: str, name: str, **states: bool) -> dict[str, object]:
    return {"provider": provider, "name": name, "tag": "", "isBuiltin": False, "isDownloaded": False, **states}


def test_the_page_of_an_app_is_asked_for_in_the_link(agent: FakeAgent, capsys: Captured) -> None:
    agent.joined()
    apps = [app_object("eve", "chat", isDownloaded=True), app_object("ztm", "tunnel", isBuiltin=True)]
    agent.answer("GET", f"/api/meshes/m/endpoints/{HOME_ID}/apps", apps)
    agent.answer("GET", "/api/meshes/m/apps", [app_object("eve", "other")])
    assert main(["gui", "--app", "chat", "--print"]) == 0
    assert capsys.readouterr().out == f"{URL}?mesh=m&app=eve%2Fchat\n"
    asked = len(agent.sent("POST"))
    for name, why in (("tunnel", "is built in"), ("other", "is not installed here"), ("none", "app not found")):
        assert main(["gui", "--app", name]) == 1
        assert why in capsys.readouterr().err
    assert len(agent.sent("POST")) == asked  # no link is made for nothing


def test_what_the_browser_is_given_is_well_formed(
    agent: FakeAgent, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.joined()
    agent.answer("GET", f"/api/meshes/m/endpoints/{HOME_ID}/apps", [app_object("eve", "chat", isDownloaded=True)])
    agent.answer("GET", "/api/meshes/m/apps", [])
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["gui", "--app", "chat"]) == 0
    page = Path(url2pathname(urlsplit(opened[0]).path)).read_text()
    assert f'href="{URL}?mesh=m&amp;app=eve%2Fchat"' in page
