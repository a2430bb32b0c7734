"""Apps by others as their authors and owners meet them: packed, installed, used, updated and removed.

What keeps an app's process in its bounds is tested elsewhere.
"""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from world import ZTM, Agent, World, environment, until

EXAMPLES = Path(__file__).parents[2] / "examples"
MANIFEST = 'name = "{name}"\nversion = "{version}"\napi = 1\nentry = "app:app"\npermissions = {permissions}\n'
CODE = """\
import os
from ztm_app import App
app = App()
@app.user.get("/api/version")
def version(request):
    return {{"version": "{version}", "pid": os.getpid()}}
@app.user.post("/api/die")
def die(request):
    os._exit(3)
@app.on_start
async def started():
    print("this is {version}")
"""


@dataclass(frozen=True)
class Three:
    """Two endpoints of root and one of alice."""

    world: World
    home: Agent
    work: Agent
    alice: Agent


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """A mesh that the tests of this module share; each uses app names of its own."""
    world = World(tmp_path_factory.mktemp("apps"))
    try:
        hub = world.hub()
        home = world.joined(hub, "home")
        yield Three(world, home, world.joined(hub, "work"), world.invited(hub, home, "alice"))
    finally:
        world.close()


def ask(agent: Agent, path: str, body: object = None, method: str = "") -> tuple[int, Any]:
    """What the local API answers below the mesh's path, whatever its status."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{agent.port}/api/meshes/my-mesh{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {agent.token}", "content-type": "application/json"},
        method=method or None,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, data = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, data = error.code, error.read()
    return status, json.loads(data) if data[:1] in (b"{", b"[") else data


def develop(
    folder: Path, version: str = "1.0.0", permissions: list[str] | None = None, name: str = "", code: str = CODE
) -> Path:
    """Write an app of this version into the folder."""
    folder.mkdir(exist_ok=True)
    told = {"name": name or folder.name, "version": version, "permissions": json.dumps(permissions or [])}
    (folder / "ztm-app.toml").write_text(MANIFEST.format(**told))
    (folder / "app.py").write_text(code.format(version=version))
    return folder


def shown(agent: Agent, app: str) -> dict[str, Any]:
    """The app as the command line describes it."""
    found: dict[str, Any] = agent.ok("describe", "app", app, "-o", "json").json
    return found


# ------------------------------------------------------------------ the examples


def test_the_smallest_example_greets_another_endpoint_by_command_by_http_and_as_a_peer(three: Three) -> None:
    home, work = three.home, three.work
    package = home.home / "hello.ztm-app"
    assert "signed by user root" in home.ok("app", "pack", EXAMPLES / "hello", "-o", package).out
    for agent in (home, work):
        said = agent.ok("app", "install", package, "--yes").out
        assert "Publisher: root" in said
        assert "mesh.connect" in said
    assert home.ok("hello", "say", "work").out == "Hello from work\n"
    status, found = ask(work, f"/apps/root/hello/api/hello/{home.id}")
    assert (status, found) == (200, {"from": "work", "reply": {"name": "home", "you": "root"}})
    assert "no command" not in home.ok("hello", "help").out
    assert "unknown command" in home.fails("hello", "bogus", status=2)
    told = home.ok("describe", "app", "hello").out
    for line in ("Version: 1.0.0", "Publisher: root", "Process: running", "Restarts: 0", "Confinement: "):
        assert line in told
    assert "open streams to the same app on other endpoints" in told


def test_another_user_is_refused_by_default_and_let_in_where_the_app_says_so(three: Three) -> None:
    for example in ("hello", "talk"):
        package = three.home.home / f"{example}.ztm-app"
        three.home.ok("app", "pack", EXAMPLES / example, "-o", package)
        for agent in (three.home, three.alice):
            agent.ok("app", "install", package, "--yes")
            agent.ok("start", "app", f"root/{example}")
    assert "user alice may not use GET /whoami" in three.alice.fails("hello", "say", "home")
    three.alice.ok("talk", "tell", "home", "good morning")
    assert three.home.ok("talk", "inbox").out == "alice: good morning\n"
    three.alice.ok("talk", "say", "to all of you")
    until(lambda: "alice: to all of you" in three.home.ok("talk", "history").out, what="it is seen in the mesh")
    status, found = ask(three.home, "/apps/root/talk/api/history")
    assert (status, [one["user"] for one in found]) == (200, ["alice"])


def test_a_fastapi_application_is_an_app_with_a_page(three: Three) -> None:
    home = three.home
    home.ok("app", "install", EXAMPLES / "board", "--yes")
    notes = "/apps/root/board/api/notes"
    assert ask(home, notes) == (200, [])
    assert ask(home, notes, {"text": "milk"}) == (201, {"text": "milk"})
    assert ask(home, notes, {"text": ""})[0] == 422
    assert ask(home, f"{notes}/7", method="DELETE")[0] == 404
    status, page = ask(home, "/apps/root/board/")
    assert (status, b"<h1>Board</h1>" in page) == (200, True)
    assert ask(home, "/apps/root/board/openapi.json")[1]["info"]["title"] == "Board"
    home.ok("stop", "app", "board")
    assert ask(home, notes) == (200, [{"text": "milk"}])


# ------------------------------------------------------------------ the life of an app


def test_an_app_that_crashes_runs_again_and_the_agent_goes_on(three: Three, tmp_path: Path) -> None:
    home = three.home
    home.ok("app", "install", develop(tmp_path / "crashes"), "--yes")
    before = ask(home, "/apps/root/crashes/api/version")[1]["pid"]
    assert ask(home, "/apps/root/crashes/api/die", {})[0] in (502, 503)
    until(lambda: shown(home, "crashes")["process"]["restarts"] == 1, what="it is started again")
    until(lambda: shown(home, "crashes")["process"]["state"] == "running", what="it runs again")
    after = ask(home, "/apps/root/crashes/api/version")[1]["pid"]
    assert after != before
    assert "this is 1.0.0" in home.ok("log", "app", "crashes").out
    os.kill(after, signal.SIGKILL)
    until(lambda: shown(home, "crashes")["process"]["restarts"] == 2, what="it is started once more")
    assert home.exited() == ""
    home.ok("erase", "app", "crashes", "--yes")


def test_an_erased_app_leaves_neither_process_nor_files(three: Three, tmp_path: Path) -> None:
    home = three.home
    home.ok("app", "install", develop(tmp_path / "erased"), "--yes")
    process = ask(home, "/apps/root/erased/api/version")[1]["pid"]
    home.ok("erase", "app", "erased", "--yes")
    until(lambda: not Path(f"/proc/{process}").exists(), what="its process is gone")
    assert ask(home, "/apps/root/erased/api/version")[0] == 404
    assert "erased" not in home.ok("get", "app").out
    assert not [path for path in (home.data / "meshes").rglob("app.py") if "erased" in path.read_text()]


@pytest.mark.long
def test_a_running_app_runs_again_after_the_agent_and_a_disabled_one_does_not(world: World, tmp_path: Path) -> None:
    hub = world.hub()
    home = world.joined(hub, "home")
    for name in ("runs", "rests"):
        home.ok("app", "install", develop(tmp_path / name), "--yes")
        home.ok("start", "app", name)
    home.ok("disable", "app", "rests")
    home.stop()
    home.start()
    until(lambda: shown(home, "runs")["isRunning"], what="it runs again")
    assert shown(home, "rests")["isRunning"] is False
    assert ask(home, "/apps/root/rests/api/version")[0] == 503
    assert ask(home, "/apps/root/runs/api/version")[0] == 200


# ------------------------------------------------------------------ consent


def test_nothing_is_installed_without_a_word_of_its_owner(three: Three, tmp_path: Path) -> None:
    home = three.home
    folder = develop(tmp_path / "consent", permissions=["net"])
    ran = home.ztm("app", "install", folder)
    assert (ran.status, "It asks to:" in ran.out) == (1, True)
    assert "--yes" in ran.err
    assert "consent" not in home.ok("get", "app").out
    home.ok("app", "install", folder, "--yes")
    assert "Installed: 1.0.0" in home.ok("app", "install", develop(folder, "1.1.0", ["net"])).out
    ran = home.ztm("app", "install", develop(folder, "2.0.0", ["net", "exec"]))
    assert (ran.status, "start other programs (new)" in ran.out) == (1, True)
    assert shown(home, "consent")["version"] == "1.1.0"


def test_a_version_is_taken_back_with_what_it_was_granted(three: Three, tmp_path: Path) -> None:
    home = three.home
    folder = develop(tmp_path / "versions")
    home.ok("app", "install", folder, "--yes")
    assert "no earlier version" in home.fails("app", "rollback", "versions")
    assert ask(home, "/apps/root/versions/api/version")[1]["version"] == "1.0.0"
    home.ok("app", "install", develop(folder, "2.0.0", ["net"]), "--yes")
    assert ask(home, "/apps/root/versions/api/version")[1]["version"] == "2.0.0"
    assert "is 1.0.0 again (it was 2.0.0)" in home.ok("app", "rollback", "versions").out
    assert ask(home, "/apps/root/versions/api/version")[1]["version"] == "1.0.0"
    assert shown(home, "versions")["permissions"] == []
    assert "is 2.0.0 again" in three.work.ok("ep", "home", "app", "rollback", "versions").out


def test_what_was_changed_on_its_way_is_not_installed(three: Three, tmp_path: Path) -> None:
    package = tmp_path / "changed.ztm-app"
    three.home.ok("app", "pack", develop(tmp_path / "changed"), "-o", package)
    package.write_bytes(package.read_bytes().replace(b"1.0.0", b"1.0.1"))
    assert "cannot install" in three.home.fails("app", "install", package, "--yes")
    assert "changed" not in three.home.ok("get", "app").out


def test_an_app_comes_through_the_mesh_only_when_it_is_asked_for(three: Three, tmp_path: Path) -> None:
    home, alice = three.home, three.alice
    home.ok("app", "install", develop(tmp_path / "offered", permissions=["net"]), "--yes")
    home.ok("publish", "app", "offered")
    until(lambda: "root/offered" in alice.ok("get", "app").out, what="it is seen in the mesh")
    assert "'ztm download app root/offered' installs it" in alice.fails("offered", "help")
    assert ask(alice, "/apps/root/offered/api/version")[0] == 404
    ran = alice.ztm("download", "app", "offered")
    assert (ran.status, "open connections to the network" in ran.out, "--yes" in ran.err) == (1, True, True)
    alice.ok("download", "app", "offered", "--yes")
    assert ask(alice, "/apps/root/offered/api/version")[1]["version"] == "1.0.0"
    home.ok("unpublish", "app", "offered")


# ------------------------------------------------------------------ writing an app


def test_a_new_app_is_whole_and_its_own_test_passes(three: Three, tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    three.home.ok("app", "new", "fresh", folder)
    lines = [line for line in (folder / "fresh.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
    done = subprocess.run(
        [ZTM.with_name("python"), "-m", "unittest"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Ran 2 tests" in done.stderr) == (0, True), done.stderr
    said = three.home.ok("app", "check", folder).out
    for line in ("GET /api/hello/{endpoint}", "peer GET /whoami (owner)", "ztm fresh say <endpoint>", "mesh.connect"):
        assert line in said
    assert "not empty" in three.home.fails("app", "new", "fresh", folder)
    assert "not a name" in three.home.fails("app", "new", "a/b", status=2)


@pytest.mark.parametrize("example", ["hello", "talk", "board"])
def test_every_example_is_found_good_by_the_check(three: Three, example: str) -> None:
    assert "It runs on two endpoints" in three.home.ok("app", "check", EXAMPLES / example).out


def test_a_check_says_why_an_app_would_not_run(three: Three, tmp_path: Path) -> None:
    home = three.home
    ran = home.ztm("app", "check", develop(tmp_path / "broken", code="import nothing_like_this\n"))
    assert (ran.status, "would not run" in ran.err, "nothing_like_this" in ran.err) == (1, True, True)
    ran = home.ztm("app", "check", develop(tmp_path / "spies", code="open('/etc/shadow')\n"))
    assert (ran.status, "Permission" in ran.err) == (1, True)
    folder = develop(tmp_path / "needs")
    (folder / "ztm-app.toml").write_text((folder / "ztm-app.toml").read_text() + 'requires = ["nobody-has-this"]\n')
    ran = home.ztm("app", "check", folder)
    assert (ran.status, "pip install" in ran.err) == (1, True)
    assert "no app in" in home.fails("app", "check", tmp_path)


class Running:
    """One ``ztm app run`` and what it prints."""

    def __init__(self, agent: Agent, folder: Path) -> None:
        self.path = folder.with_suffix(".out")
        self.file = self.path.open("wb")
        self.process = subprocess.Popen(
            [ZTM, "app", "run", folder],
            stdout=self.file,
            stderr=subprocess.STDOUT,
            env={**environment(agent.home), "ZTM_AGENT": f"127.0.0.1:{agent.port}"},
        )

    @property
    def said(self) -> str:
        return self.path.read_text()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.file.close()
        return self.process.wait(20)


@pytest.mark.long
def test_an_app_runs_from_its_folder_follows_its_changes_and_is_gone_afterwards(three: Three, tmp_path: Path) -> None:
    home = three.home
    folder = develop(tmp_path / "drafted")
    running = Running(home, folder)
    until(lambda: "this is 1.0.0" in running.said, what="its log is shown")
    develop(folder, "1.0.1", ["net"])
    until(lambda: "this is 1.0.1" in running.said, what="the change is taken up")
    (folder / "app.py").write_text("1/0\n")
    until(lambda: "ZeroDivisionError" in running.said, what="a mistake is told")
    develop(folder, "1.0.2")
    until(lambda: "this is 1.0.2" in running.said, what="and mended")
    assert ask(home, "/apps/root/drafted/api/version")[1]["version"] == "1.0.2"
    assert running.end(signal.SIGINT) == 130
    assert "drafted" not in home.ok("get", "app").out


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_installed_before_is_put_back_after_a_run_from_the_folder(
    three: Three, tmp_path: Path, number: signal.Signals
) -> None:
    home, name = three.home, f"again{number:d}"
    home.ok("app", "install", develop(tmp_path / name, "1.0.0"), "--yes")
    home.ok("disable", "app", name)
    before = shown(home, name)
    running = Running(home, develop(tmp_path / name, "2.0.0"))
    until(lambda: "this is 2.0.0" in running.said, what="the folder's version runs")
    develop(tmp_path / name, "2.0.1")
    until(lambda: "this is 2.0.1" in running.said, what="the change is taken up")
    running.end(number)
    after = shown(home, name)
    assert {**after, "previous": ""} == {**before, "previous": ""}
    assert (after["version"], after["isDisabled"], after["isRunning"]) == ("1.0.0", True, False)


@pytest.mark.long
@pytest.mark.parametrize("earlier", ["", "1.0.0"])
def test_what_a_killed_run_leaves_is_shown_as_such_and_undone_by_the_next_run(
    three: Three, tmp_path: Path, earlier: str
) -> None:
    home, name = three.home, f"killed{earlier[:1]}"
    if earlier:
        home.ok("app", "install", develop(tmp_path / name, earlier), "--yes")
    folder = develop(tmp_path / name, "2.0.0", ["net"])
    running = Running(home, folder)
    until(lambda: "this is 2.0.0" in running.said, what="the folder's version runs")
    running.end(signal.SIGKILL)
    assert shown(home, name)["isDevelopment"] is True
    assert "development" in home.ok("get", "app", name).out
    assert "only for development, by 'ztm app run'" in home.ok("describe", "app", name).out
    running = Running(home, develop(tmp_path / name, "2.0.1", ["net"]))
    until(lambda: "this is 2.0.1" in running.said, what="it is replaced without a question")
    running.end(signal.SIGINT)
    if earlier:
        after = shown(home, name)
        assert (after["version"], after.get("isDevelopment"), after.get("previous")) == (earlier, None, None)
    else:
        assert name not in home.ok("get", "app").out
