"""Ordinary users who try to be others, and strangers who try to be users."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from intruder import Credential, Intruder, certificate, is_turned_away
from targets import Server, echo
from world import World, free_port, until

from ztm import pki
from ztm.store.hub import HubStore

YEAR = timedelta(days=365)


def authority_of(hub) -> pki.Authority:
    """The hub's CA with its key, as only its owner can read it."""
    store = HubStore(hub.data)
    try:
        found = store.authority()
    finally:
        store.close()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def mallory(mesh, tmp_path_factory: pytest.TempPathFactory) -> Credential:
    """A user whom root has invited, with a program of her own."""
    key = pki.new_key()
    permit = json.loads(mesh.home.ok("invite", "mallory", "-i", "-", stdin=pki.public_key(key)).out)
    return Credential.write(tmp_path_factory.mktemp("mallory"), permit["ca"], permit["agent"]["certificate"], key)


@pytest.fixture
def intruder(mesh, mallory: Credential) -> Iterator[Intruder]:
    with Intruder(mesh.hub.port, mallory.context()) as made:
        yield made


def test_anothers_endpoint_id_cannot_be_taken(mesh, intruder: Intruder) -> None:
    status, _ = intruder.connect(f"/api/endpoints/{mesh.home.id}?name=home")
    assert status == 403
    status, _ = intruder.connect(f"/api/endpoints/{mesh.home.id}?sid={uuid4()}")
    assert status == 403
    assert mesh.home.ok("describe", "ep", "home", "-o", "json").json["username"] == "root"
    assert mesh.home.mesh["state"] == "connected"


def test_what_a_caller_writes_about_itself_is_not_believed(mesh, intruder: Intruder) -> None:
    own = str(uuid4())
    status, _ = intruder.connect(f"/api/endpoints/{own}?name=fake&username=root&user=root&ip=1.2.3.4")
    assert status == 200
    listed = until(lambda: mesh.home.ok("get", "ep", "fake", "-o", "json").json, what="it is listed")
    assert (listed[0]["username"], listed[0]["ip"]) == ("mallory", "127.0.0.1")

    app = f"/api/endpoints/{mesh.home.id}/apps/ztm/tunnel"
    mesh.home.ok("tunnel", "get", "inbound")  # so that the app runs
    for forged in (f"src={mesh.home.id}", f"src={mesh.home.id}&src={own}", f"src={uuid4()}"):
        with Intruder(mesh.hub.port, intruder_context(intruder)) as other:
            other.connect(f"/api/endpoints/{uuid4()}?name=f2")
            assert other.connect(f"{app}?{forged}")[0] in (400, 403), forged
    for forged in ("username=root&", "", f"ip=127.0.0.1&x={quote('&username=root')}&"):
        status, stream = intruder.connect(f"{app}?{forged}src={own}&username=root&user=root")
        assert status == 200, forged
        answer = intruder.exchange(stream, b"GET /api/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 403"), (forged, answer)


def intruder_context(intruder: Intruder):
    """The TLS context an intruder came with."""
    return intruder.socket.context


def test_a_user_gets_at_nothing_of_others_by_way_of_the_hub(mesh, intruder: Intruder) -> None:
    own_key = pki.public_key(pki.new_key()).encode()
    hub_id = f"hub/{uuid4()}"
    refused = [
        ("POST", f"/api/forward/{mesh.home.id}/labels", b'["owned"]'),
        ("GET", f"/api/forward/{mesh.alice.id}/log", b""),
        ("POST", f"/api/forward/{mesh.home.id}/apps/ztm/tunnel", b'{"isRunning":false}'),
        ("POST", "/api/sign/root", own_key),
        ("POST", "/api/sign/alice", own_key),
        ("POST", "/api/sign/ca", own_key),
        ("POST", f"/api/sign/{quote(hub_id, safe='')}", own_key),
        ("POST", "/api/sign/mallory", own_key),
        ("POST", "/api/evictions/alice?time=9999999999", b""),
        ("DELETE", "/api/evictions/alice", b""),
        ("GET", "/api/log", b""),
    ]
    for method, path, body in refused:
        with Intruder(mesh.hub.port, intruder_context(intruder)) as other:
            assert other.request(method, path, body)[0] == 403, (method, path)
    assert mesh.home.ok("label").out == ""
    assert mesh.alice.mesh["state"] == "connected"


def test_malformed_requests_are_refused_and_harm_nobody(mesh, intruder: Intruder) -> None:
    own = str(uuid4())
    assert intruder.connect(f"/api/endpoints/{own}?name=clumsy")[0] == 200
    assert intruder.request("POST", "/api/status", b"{garbage")[0] == 400
    assert intruder.request("POST", "/api/status", b'{"name":"a/b"}')[0] == 400
    assert intruder.request("POST", "/api/sign/mallory", b"garbage")[0] == 400
    assert intruder.request("POST", "/api/filesystem", b"[1,2")[0] == 400
    assert intruder.request("GET", "/api/filesystem/%ff")[0] in (400, 404)
    assert intruder.request("GET", "/api/endpoints/../../etc/passwd")[0] in (400, 404)
    assert intruder.request("GET", "/nowhere")[0] == 404
    assert intruder.request("PATCH", "/api/status")[0] in (404, 405)
    assert intruder.connect("/api/endpoints/not-a-uuid?name=x")[0] == 400
    assert intruder.connect(f"/api/endpoints/{uuid4()}?name=a%2Fb")[0] == 400
    assert intruder.request("GET", "/api/status")[0] == 200


def test_strangers_are_turned_away(mesh, mallory: Credential, tmp_path: Path) -> None:
    authority, key = authority_of(mesh.hub), pki.new_key()
    ca = authority.certificate
    expired = certificate(authority, "root", key, begin=-YEAR, end=-timedelta(hours=1))
    early = certificate(authority, "root", key, begin=timedelta(days=2), end=YEAR)
    foreign = pki.Authority.create(datetime.now(UTC))
    stranger = certificate(foreign, "root", key, begin=-YEAR, end=YEAR)
    for name, shown in (("expired", expired), ("early", early), ("foreign", stranger)):
        credential = Credential.write(tmp_path / name, ca, shown, key)
        assert is_turned_away(mesh.hub.port, credential.context()), name
    assert is_turned_away(mesh.hub.port, mallory.context(shown=False))
    assert not is_turned_away(mesh.hub.port, mallory.context())


@contextmanager
def fake_hub(credential: Credential) -> Iterator[int]:
    """A TLS server with a user's certificate, which speaks as a hub would if it were let."""
    port = free_port()
    context = credential.context(server=True)
    shaken: list[str] = []
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                    connection.settimeout(2)
                    with context.wrap_socket(connection, server_side=True) as secured:
                        shaken.append(secured.recv(100).decode("latin-1"))
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            thread.join()
    assert "api/endpoints" not in "".join(shaken)


@pytest.mark.parametrize("kind", ["as ours signs users", "as v1 signed users"])
def test_a_user_cannot_play_the_hub(kind: str, mesh, mallory: Credential, tmp_path: Path) -> None:
    if kind == "as v1 signed users":
        key = pki.new_key()
        plain = certificate(authority_of(mesh.hub), "mallory", key, begin=-timedelta(days=1), end=YEAR)
        mallory = Credential.write(tmp_path / "m", (mallory.directory / "ca").read_text(), plain, key)
    permit = json.loads(mesh.hub.permit.read_text())
    with fake_hub(mallory) as port:
        (tmp_path / "p.json").write_text(json.dumps({**permit, "bootstraps": [f"127.0.0.1:{port}"]}))
        line = mesh.workplace.fails("join", "trap", "--as", "w", "--permit", tmp_path / "p.json", "--timeout", 2)
        mesh.workplace.ok("leave", "trap")
    assert "hub" in line
    assert "certificate" in line


def test_a_permit_of_another_mesh_says_so(mesh, world: World, tmp_path: Path) -> None:
    other = world.hub("other")
    permit = json.loads(other.permit.read_text()) | {"bootstraps": [f"127.0.0.1:{mesh.hub.port}"]}
    (tmp_path / "p.json").write_text(json.dumps(permit))
    agent = world.agent("lost")
    line = agent.fails("join", "m", "--as", "lost", "--permit", tmp_path / "p.json", "--timeout", 2)
    assert "certificate" in line
    assert "not signed by this mesh's CA" in line
    assert f"127.0.0.1:{mesh.hub.port}" in line

    mixed = permit | {"ca": json.loads(mesh.hub.permit.read_text())["ca"]}
    (tmp_path / "mixed.json").write_text(json.dumps(mixed))
    line = agent.fails("join", "m2", "--as", "lost", "--permit", tmp_path / "mixed.json")
    assert "certificate" in line
    assert [mesh["name"] for mesh in agent.ok("get", "mesh", "-o", "json").json] == ["m"]


def test_bad_permits_are_refused_and_nothing_is_stored(mesh, world: World, tmp_path: Path) -> None:
    agent = world.agent("new")
    good = json.loads(mesh.hub.permit.read_text())
    authority, key = authority_of(mesh.hub), pki.new_key()
    expired = certificate(authority, "root", key, begin=-YEAR, end=-timedelta(hours=1))
    of_hub = certificate(authority, f"hub/{uuid4()}", key, begin=-timedelta(days=1), end=YEAR)
    bad = {
        "garbage": "garbage",
        "a list": "[]",
        "no CA": json.dumps({**good, "ca": ""}),
        "a CA that is none": json.dumps({**good, "ca": "garbage"}),
        "no certificate": json.dumps({**good, "agent": {}}),
        "a certificate that is none": json.dumps({**good, "agent": {"certificate": "garbage"}}),
        "no bootstraps": json.dumps({**good, "bootstraps": []}),
        "a bootstrap that is none": json.dumps({**good, "bootstraps": ["hub:port"]}),
        "expired": json.dumps({**good, "agent": {"certificate": expired, "privateKey": key}}),
        "a hub's": json.dumps({**good, "agent": {"certificate": of_hub, "privateKey": key}}),
        "another key": json.dumps({**good, "agent": {**good["agent"], "privateKey": key}}),
        "a key that is none": json.dumps({**good, "agent": {**good["agent"], "privateKey": "garbage"}}),
        "no key": json.dumps({**good, "agent": {"certificate": good["agent"]["certificate"]}}),
    }
    for what, text in bad.items():
        (tmp_path / "bad.json").write_text(text)
        line = agent.fails("join", "m", "--as", "new", "--permit", tmp_path / "bad.json")
        assert key.splitlines()[1] not in line, what
        assert len(line) < 400, what
        if what == "expired":
            assert "expired" in line
    assert agent.fails("join", "m", "--as", "new", "--permit", tmp_path / "missing.json")
    assert agent.ok("get", "mesh").rows == []


def test_a_certificate_that_expires_while_joined_is_told_apart(mesh, world: World, tmp_path: Path) -> None:
    key = pki.new_key()
    short = certificate(authority_of(mesh.hub), "root", key, begin=-YEAR, end=timedelta(seconds=3))
    good = json.loads(mesh.hub.permit.read_text())
    (tmp_path / "short.json").write_text(json.dumps({**good, "agent": {"certificate": short, "privateKey": key}}))
    agent = world.agent("late")
    agent.ok("join", "m", "--as", "late", "--permit", tmp_path / "short.json")
    renewed = until(lambda: "renewed the certificate" in agent.log, within=5, what="it is renewed in time")
    assert renewed
    assert agent.mesh["state"] == "connected"
    with Server(echo) as server:
        agent.ok("tunnel", "open", "outbound", "tcp/x", "--targets", server.port)
