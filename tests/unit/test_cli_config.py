"""The command line's own settings: the value in force, and where it comes from (`cli.md` section 14, row 16)."""

import json
import os
import pwd
from pathlib import Path

import pytest

from ztm.cli import settings
from ztm.cli.main import main
from ztm.errors import UsageError

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZTM_AGENT", "ZTM_MESH", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def shown(capsys: Captured, *words: str) -> str:
    assert main(["config", *words]) == 0
    return capsys.readouterr().out


def test_what_is_shown_is_what_is_in_force(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert shown(capsys) == "Current agent: localhost:7777\nDefault mesh: (none)\n"
    assert main(["config", "--agent", "box:1"]) == 0
    assert shown(capsys) == "Current agent: box:1\nDefault mesh: (none)\n"
    monkeypatch.setenv("ZTM_AGENT", "other:2")
    monkeypatch.setenv("ZTM_MESH", "m")
    assert shown(capsys) == "Current agent: other:2 (from ZTM_AGENT)\nDefault mesh: m (from ZTM_MESH)\n"


def test_each_value_has_its_origin(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def origins() -> dict[str, tuple[str, str]]:
        found = json.loads(shown(capsys, "show", "-o", "json"))
        return {one["name"]: (one["value"], one["origin"]) for one in found}

    assert origins() == {"agent": ("localhost:7777", "default"), "mesh": ("", "default")}
    assert main(["config", "set", "mesh", "work"]) == 0
    assert origins()["mesh"] == ("work", "file")
    assert f"file {home / '.ztm.conf'}" in shown(capsys, "show")
    monkeypatch.setenv("ZTM_MESH", "home")
    assert origins()["mesh"] == ("home", "env")
    assert "env ZTM_MESH" in shown(capsys, "show")


def test_a_forgotten_setting_has_its_default_again(home: Path, capsys: Captured) -> None:
    (home / ".ztm.conf").write_text('{"agent": "a:1", "mesh": "m", "trial": "kept"}')
    assert main(["config", "unset", "mesh"]) == 0
    assert json.loads((home / ".ztm.conf").read_text()) == {"agent": "a:1", "trial": "kept"}
    assert main(["config", "unset", "agent", "mesh"]) == 0
    assert shown(capsys) == "Current agent: localhost:7777\nDefault mesh: (none)\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("set agent x:y", "not a port"),
        ("set agent http://h:1", "without a scheme"),
        ("set agent unix:relative", "write unix:/path"),
        ("set mesh a/b", "invalid character '/'"),
        ("set colour red", "no such setting: colour (agent or mesh)"),
        ("unset colour", "no such setting: colour (agent or mesh)"),
        ("set agent", "missing argument <value>"),
        ("--agent x:y", "not a port"),
        ("nonsense", "excessive positional argument: nonsense"),
    ],
)
def test_a_value_that_cannot_work_is_refused_and_nothing_is_stored(
    home: Path, capsys: Captured, words: str, said: str
) -> None:
    assert main(["config", *words.split()]) == 2
    assert said in capsys.readouterr().err
    assert not (home / ".ztm.conf").exists()


@pytest.mark.parametrize(
    ("text", "path"), [("unix:/run/ztm.sock", "/run/ztm.sock"), ("unix:~/s", "{home}/s"), ("h:1", None), ("7777", None)]
)
def test_an_agent_may_be_a_unix_socket(home: Path, text: str, path: str | None) -> None:
    assert settings.checked("agent", text) == text
    found = settings.socket_path(text)
    assert found == (Path(path.format(home=home)) if path else None)


def test_a_bad_address_in_the_environment_is_told_with_its_source(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ZTM_AGENT", "nonsense")
    assert main(["get", "mesh"]) == 2
    assert "(set by ZTM_AGENT)" in capsys.readouterr().err
    with pytest.raises(UsageError, match="ZTM_AGENT"):
        settings.agent_address()


def test_settings_are_in_the_home_that_the_environment_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.path() == home / ".ztm.conf"
    monkeypatch.delenv("HOME")
    assert settings.path() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ztm.conf"


def test_the_standard_place_is_used_where_the_file_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = home / ".config" / "ztm" / "ztm.conf"
    usual.parent.mkdir(parents=True)
    usual.write_text('{"mesh": "usual"}')
    assert settings.effective("mesh") == settings.Setting("usual", str(usual))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert settings.path() == home / ".ztm.conf"
    (home / "elsewhere" / "ztm").mkdir(parents=True)
    (home / "elsewhere" / "ztm" / "ztm.conf").write_text("{}")
    assert main(["config", "set", "mesh", "moved"]) == 0
    assert json.loads((home / "elsewhere" / "ztm" / "ztm.conf").read_text()) == {"mesh": "moved"}
    assert not (home / ".ztm.conf").exists()


def test_settings_are_private(home: Path) -> None:
    assert main(["config", "set", "mesh", "m"]) == 0
    assert (home / ".ztm.conf").stat().st_mode & 0o777 == 0o600
