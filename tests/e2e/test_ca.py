"""A mesh whose certificates come from an external CA service, and one whose CA was brought along."""

import json
from pathlib import Path

from targets import Server, echo, say
from world import World, free_port, one_line, open_tunnel, run_ztm, until

from ca_server import ca_server


def test_a_whole_mesh_lives_by_an_external_ca(world: World, tmp_path: Path) -> None:
    with ca_server(token="open-sesame", directory=tmp_path) as ca, Server(echo) as target:
        trust, token = tmp_path / "trust.pem", tmp_path / "token"
        trust.write_text(ca.trust)
        token.write_text("open-sesame\n")
        options = ["--ca", ca.url, "--ca-cert", trust, "--ca-token-file", token]
        hub = world.hub(options=options)
        assert json.loads(hub.permit.read_text())["ca"] == ca.authority.certificate
        assert hub.permit.stat().st_mode & 0o777 == 0o600
        root = world.joined(hub, "home")
        alice = world.invited(hub, root, "alice")
        until(lambda: alice.mesh["connected"], what="alice is connected")
        port = open_tunnel(root, root, target.port)
        assert say(port, b"hello") == b"hello"
        names = [name for method, name in ca.asked if method == "POST"]
        assert [name.split("/")[0] for name in names] == ["root", "hub", "alice"]

        hub.stop()
        hub.start()
        until(lambda: alice.mesh["connected"], what="alice is connected again")
        again = [name for method, name in ca.asked if method == "POST"]
        assert [name.split("/")[0] for name in again[3:]] == ["hub"], "no second root credential is issued"
        assert "open-sesame" not in "".join(world.logs().values())


def test_a_hub_whose_ca_service_is_away_says_so_and_ends(world: World, tmp_path: Path) -> None:
    with ca_server() as ca:
        url = ca.url
    address = f"127.0.0.1:{free_port()}"
    words = ["run", "hub", "-d", tmp_path / "d", "-l", address, "-n", address, "--ca", url, "-p", tmp_path / "r.json"]
    assert f"cannot use the CA service {url}" in one_line(run_ztm(tmp_path, *words), 1)
    assert not (tmp_path / "r.json").exists()


def test_root_permits_come_from_the_service_too(tmp_path: Path) -> None:
    with ca_server() as ca:
        ran = run_ztm(tmp_path, "root", "-n", "h:1", "--ca", ca.url)
        assert ran.status == 0
        permit = json.loads(ran.out)
        assert permit["ca"] == ca.authority.certificate
        assert ca.asked == [("GET", "ca"), ("POST", "root")]
    words = ["root", "-n", "h:1", "--ca", "http://ca.example.com/x"]
    assert "--insecure-ca" in one_line(run_ztm(tmp_path, *words), 2)


def test_a_hub_with_an_imported_ca_serves_the_permits_of_that_ca(world: World, tmp_path: Path) -> None:
    old = world.hub()
    root = world.joined(old, "home")
    old.stop()
    files = ["--cert", tmp_path / "ca.crt", "--key", tmp_path / "ca.key"]
    assert run_ztm(tmp_path, "ca", "export", "-d", old.data, *files).status == 0
    moved = tmp_path / "moved"
    assert run_ztm(tmp_path, "ca", "import", "-d", moved, *files).status == 0
    old.words[old.words.index(str(old.data))] = str(moved)
    old.start()
    until(lambda: root.mesh["connected"], what="home is connected to the hub that took over")
