"""What sessions show is kept where the owner wants that, and nowhere else."""

import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from terminal_mesh import TerminalMesh

from ztm.apps.terminal import recording
from ztm.wire.console import Window


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[TerminalMesh]:
    """An endpoint that records."""
    made = TerminalMesh(tmp_path)
    await made.desk("desk", record=True)
    yield made
    await made.close()


def files(mesh: TerminalMesh) -> list[Path]:
    """The recordings, oldest first."""
    return sorted((mesh.directory("desk") / "recordings").glob("*"))


def events(file: Path) -> tuple[dict[str, Any], list[list[Any]]]:
    """The header and the events of one."""
    header, *lines = file.read_text().splitlines()
    return json.loads(header), [json.loads(line) for line in lines]


async def test_a_recording_holds_what_was_shown_and_no_input(mesh: TerminalMesh) -> None:
    seat = mesh.sit("desk", "open", "desk", window=Window(90, 30))
    seat.person.type("stty -echo; echo rea''dy; read secret; echo Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n; exit\n")
    await seat.person.sees("ready")
    seat.person.resize(100, 40)
    seat.person.type("hunter2\n")
    assert await seat.ended() == 0
    (file,) = files(mesh)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "-alice-" in file.name
    header, told = events(file)
    assert (header["version"], header["width"], header["height"]) == (2, 90, 30)
    assert header["env"] == {"TERM": "xterm-256color"}
    shown = "".join(data for _, kind, data in told if kind == "o")
    assert "ready\r\n" in shown
    assert "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n" in shown
    assert [data for _, kind, data in told if kind == "r"] == ["100x40"]
    assert {kind for _, kind, _ in told} == {"o", "r"}
    assert "hunter2" not in file.read_text()
    times = [time for time, _, _ in told]
    assert times == sorted(times)


async def test_nothing_is_kept_unless_the_owner_wants_it(mesh: TerminalMesh) -> None:
    await mesh.run("desk", "config", "--record", "off")
    assert await mesh.run("desk", "open", "desk", "--", "echo", "x") == (0, b"x\n", "")
    assert files(mesh) == []


async def test_a_command_without_a_terminal_is_recorded_too(mesh: TerminalMesh) -> None:
    await mesh.run("desk", "open", "desk", "--", "sh", "-c", "echo out; echo err >&2")
    _, told = events(files(mesh)[0])
    assert sorted(data for _, _, data in told) == ["err\n", "out\n"]


async def test_the_oldest_recording_goes_when_there_are_too_many(
    mesh: TerminalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_FILES", 3)
    for number in range(5):
        await mesh.run("desk", "open", "desk", "--", "echo", str(number))
    assert [events(file)[1][0][2] for file in files(mesh)] == ["2\n", "3\n", "4\n"]


async def test_a_long_recording_is_cut_and_says_so(mesh: TerminalMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_BYTES", 100_000)
    status, out, _ = await mesh.run("desk", "open", "desk", "--", "head", "-c", "1000000", "/dev/zero")
    assert (status, len(out)) == (0, 1_000_000)
    (file,) = files(mesh)
    assert file.stat().st_size < 1_000_000
    assert events(file)[1][-1][1:] == ["m", "more than 100000 bytes: cut here"]


async def test_what_cannot_be_recorded_does_not_run(mesh: TerminalMesh, tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir(exist_ok=True)
    (tmp_path / "desk" / "recordings").write_text("in the way")
    status, out, err = await mesh.run("desk", "open", "desk", "--", "touch", str(tmp_path / "ran"))
    assert (status, out) == (1, b"")
    assert "recordings cannot be used" in err
    assert not (tmp_path / "ran").exists()
