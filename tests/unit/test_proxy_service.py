"""The proxy's configuration: checked, bound, saved, published; shown without secrets, to whom it may be shown."""

import json
import socket
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from app_mesh import LOOPBACK, Echo, ask, free_port, read_exactly
from proxy_mesh import ProxyMesh, proxies

from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.forms import ConfigBody, LogForm, SplunkForm, own_fields
from ztm.apps.proxy.hosts import Host, Hosts, parse_target, serves
from ztm.apps.proxy.model import Config, FileLog, SplunkLog
from ztm.apps.proxy.stored import read_config, write_config
from ztm.errors import StorageError, UsageError
from ztm.model import Address

TOKEN = "8f7e-top-secret-token"
PASSWORD = "correct horse"
SECRETS: dict[str, Any] = {
    "targets": ["*.example.org", "10.0.0.0/8"],
    "exclusions": ["10.9.9.9"],
    "log": {"splunk": {"address": "splunk.test:8088", "token": TOKEN}},
    "auth": {"user": "ann", "password": PASSWORD},
    "rules": [{"users": ["bob"], "action": "deny"}],
}


async def reachable(port: int, mesh: ProxyMesh) -> bool:
    stream = await mesh.network.dial(Address(LOOPBACK, port))
    stream.abort()
    return True


# ---------------------------------------------------------------------- who sees what


async def test_nobody_is_shown_a_secret_and_others_see_targets_and_exclusions_only() -> None:  # P5
    async with proxies() as mesh:
        await mesh.join("exit")
        shown = await mesh.configure("exit", **SECRETS)
        status, _, to_owner = await mesh.ask_as("exit", "GET", "/api/config", "alice")
        assert status == 200
        assert json.loads(to_owner)["rules"][0]["users"] == ["bob"]
        _, _, to_others = await mesh.ask_as("exit", "GET", "/api/config", "bob")
        assert set(json.loads(to_others)) == {"targets", "exclusions"}
        secret = read_config(mesh.local["exit"]["config.json"]).credentials
        assert secret is not None
        for text in (
            json.dumps(shown),
            to_owner.decode(),
            to_others.decode(),
            *map(bytes.decode, mesh.shared.values()),
        ):
            assert TOKEN not in text
            assert PASSWORD not in text
            assert secret.secret not in text


async def test_a_secret_that_is_left_out_is_kept_and_goes_to_no_other_address() -> None:
    async with proxies() as mesh:
        await mesh.join("exit")
        shown = await mesh.configure("exit", **SECRETS)
        assert await mesh.configure("exit", **{name: shown[name] for name in ("targets", "log", "auth", "rules")})
        config = mesh.apps[mesh.place("exit")].proxy.config
        assert isinstance(config.log, SplunkLog)
        assert config.log.token == TOKEN
        assert config.credentials is not None
        assert await config.credentials.check("ann", PASSWORD)
        moved = {"splunk": {"address": "elsewhere.test:8088"}}
        status, _, answer = await mesh.ask("exit", "POST", "config", {"log": moved})
        assert (status, b"token" in answer) == (400, True)
        status, _, answer = await mesh.ask("exit", "POST", "config", {"auth": {"user": "bob"}})
        assert (status, b"password" in answer) == (400, True)


async def test_only_the_owner_changes_a_configuration() -> None:
    async with proxies() as mesh:
        await mesh.join("exit")
        status, _, answer = await mesh.ask_as("exit", "POST", "/api/config", "bob", {"targets": ["*"]})
        assert (status, b"only user alice" in answer) == (403, True)
        assert (await mesh.ask_as("exit", "POST", "/api/config", "alice", {"targets": ["*"]}))[0] == 201
        assert (await mesh.ask_as("exit", "GET", "/api/exits", "bob"))[0] == 403


async def test_another_endpoint_of_the_owner_is_configured_through_the_mesh() -> None:
    async with proxies() as mesh:
        await mesh.join("here")
        await mesh.join("there")
        path = f"/api/endpoints/{mesh.place('there')}/config"
        app = mesh.apps[mesh.place("here")]
        status, _, answer = await ask(
            app.user_api, "POST", path, json.dumps({"targets": ["*"], "users": ["bob"]}).encode()
        )
        assert (status, json.loads(answer)["users"]) == (201, ["bob"])
        assert mesh.apps[mesh.place("there")].proxy.config.users == ("bob",)


# ---------------------------------------------------------------------- what may be configured


@pytest.mark.parametrize(
    "body",
    [
        {"listen": "nowhere"}, {"listen": "localhost:80"}, {"listen": "127.0.0.1:0"}, {"targets": ["a b"]},
        {"targets": ["10.0.0.0/64"]}, {"targets": [""]}, {"exclusions": ["*.*.x"]}, {"rules": [{"action": "maybe"}]},
        {"rules": [{}]}, {"rules": [{"action": "deny", "users": ["a/b"]}]}, {"log": {"splunk": {"address": "x:1"}}},
        {"log": {"splunk": {"address": "ftp://x", "token": "t"}}},
        {"log": {"splunk": {"address": "x/y", "token": "t"}}},
        {"log": {"file": {"name": "../../etc/passwd"}}},
        {"log": {"file": {}, "splunk": {"address": "x", "token": "t"}}},
        {"auth": {"user": "a:b", "password": "x"}}, {"auth": {"user": "a", "password": ""}}, {"users": ["../x"]},
        {"fromUsers": "alice"}, {"originCa": "/nowhere/ca.pem"},
    ],
)  # fmt: skip
async def test_a_malformed_configuration_is_refused_and_changes_nothing(body: dict[str, Any], tmp_path: Path) -> None:
    async with proxies(tmp_path) as mesh:
        await mesh.join("exit")
        before = await mesh.configure("exit", targets=["*"])
        status, _, answer = await mesh.ask("exit", "POST", "config", body)
        assert status == 400, answer
        assert json.loads((await mesh.ask("exit", "GET", "config"))[2]) == before


async def test_v1_fields_that_are_left_out_are_reset_and_ours_are_kept() -> None:
    async with proxies() as mesh:
        await mesh.join("exit")
        await mesh.configure("exit", **{**SECRETS, "users": ["bob"], "fromUsers": ["carol"]})
        shown = await mesh.configure("exit", targets=["*"])
        assert (shown["rules"], shown["exclusions"], shown["log"]) == ([], [], None)
        assert (shown["users"], shown["fromUsers"], shown["auth"]) == (["bob"], ["carol"], {"user": "ann"})
        shown = await mesh.configure("exit", targets=["*"], users=[], auth=None)
        assert (shown["users"], shown["auth"]) == ([], None)


async def test_a_configuration_of_v1_is_taken_up_and_open_to_its_owner_alone() -> None:
    async with proxies() as mesh:
        mesh.local["exit"] = {
            "config.json": b'{"listen":"","targets":["*"],"exclusions":[],"generateCert":false,"log":null,"rules":[]}'
        }
        await mesh.join("exit")
        config = mesh.apps[mesh.place("exit")].proxy.config
        assert (config.targets.entries, config.users) == (("*",), ())


async def test_what_is_configured_survives_a_restart() -> None:
    async with proxies() as mesh:
        await mesh.join("exit")
        listen = f"{LOOPBACK}:{free_port()}"
        before = await mesh.configure("exit", listen=listen, **SECRETS)
        app = await mesh.restart("exit")
        after = json.loads((await mesh.ask("exit", "GET", "config"))[2])
        assert after.pop("revision") != before.pop("revision")  # what was seen before is not the state of this life
        assert after == before
        assert app.proxy.config.credentials is not None
        assert await app.proxy.config.credentials.check("ann", PASSWORD)


async def test_a_damaged_configuration_starts_nothing() -> None:
    async with proxies() as mesh:
        mesh.local["exit"] = {"config.json": b"{"}
        with pytest.raises(StorageError, match="damaged"):
            await mesh.join("exit")


async def test_what_cannot_be_saved_changes_nothing() -> None:
    async with proxies() as mesh:
        await mesh.join("exit")
        port = free_port()
        mesh.context("exit").disk.is_full = True
        status, _, _ = await mesh.ask("exit", "POST", "config", {"listen": f"{LOOPBACK}:{port}", "targets": ["*"]})
        assert status == 507
        assert not mesh.shared
        with socket.socket() as probe:
            probe.bind((LOOPBACK, port))


# ---------------------------------------------------------------------- the port


async def test_a_busy_port_is_shown_tried_again_and_keeps_no_other_change_from_being_made() -> None:  # P10
    async with proxies() as mesh:
        await mesh.join("entry")
        blocker = Echo(mesh.network)
        busy = (await blocker.open()).port
        shown = await mesh.configure("entry", listen=f"{LOOPBACK}:{busy}")
        assert "in use" in shown["listening"][0]["error"]
        assert shown["lastError"]
        shown = await mesh.configure("entry", listen=f"{LOOPBACK}:{busy}", targets=["*"])
        assert shown["targets"] == ["*"]
        other = free_port()
        shown = await mesh.configure("entry", listen=f"{LOOPBACK}:{other}")
        assert shown["listening"] == [{"ip": LOOPBACK, "port": other, "open": True}]
        assert await reachable(other, mesh)
        await mesh.configure("entry", listen=f"{LOOPBACK}:{busy}")
        mesh.network.opened.clear()
        await blocker.close()
        await mesh.network.opened.wait()
        assert await reachable(busy, mesh)
        await mesh.configure("entry", listen="")
        assert json.loads((await mesh.ask("entry", "GET", "config"))[2])["listening"] == []


async def test_clients_of_the_port_reach_destinations_and_a_wrong_password_reaches_nothing() -> None:
    async with proxies() as mesh:
        port, echo = free_port(), await mesh.echo()
        await mesh.join("entry")
        await mesh.join("exit")
        await mesh.configure("exit", targets=["127.0.0.0/8"])
        await mesh.configure("entry", listen=f"{LOOPBACK}:{port}", auth={"user": "ann", "password": PASSWORD})
        basic = {"ann:correct horse": b"200", "ann:wrong": b"407"}
        for pair, status in basic.items():
            stream = await mesh.network.dial(Address(LOOPBACK, port))
            sign_in = b64encode(pair.encode()).decode()
            head = f"CONNECT {LOOPBACK}:{echo} HTTP/1.1\r\nhost: x\r\nproxy-authorization: Basic {sign_in}\r\n\r\n"
            await stream.write(head.encode())
            assert (await read_exactly(stream, 12)).split(b" ")[1] == status
            stream.abort()


# ---------------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("entry", "host", "is_meant"),
    [
        ("*", "example.org", True), ("*", "10.0.0.1", False), ("*.example.org", "www.example.org", True),
        ("*.example.org", "example.org", False), ("*.example.org", "badexample.org", False),
        ("example.org", "EXAMPLE.org.", True), ("*test", "latest", True), ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False), ("10.1.2.3", "10.1.2.3", True), ("10.1.2.3/8", "10.9.9.9", True),
        ("[::1]", "::1", True), ("::1", "[::1]", True), ("::/0", "10.0.0.1", False), ("0.0.0.0/0", "::1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True), ("bücher.example", "xn--bcher-kva.example", True),
    ],
)  # fmt: skip
def test_what_an_entry_means(entry: str, host: str, is_meant: bool) -> None:
    assert Hosts.parse([entry]).has(Host.parse(host)) is is_meant


def test_exclusions_go_before_targets() -> None:
    targets, exclusions = Hosts.parse(["*", "0.0.0.0/0"]), Hosts.parse(["*.corp", "10.0.0.0/8"])
    assert serves(targets, exclusions, Host.parse("a.b"))
    assert not serves(targets, exclusions, Host.parse("a.corp"))
    assert not serves(targets, exclusions, Host.parse("10.0.0.1"))


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.1", "2130706433", "0x7f000001", "10.0.0.1.", "127.0.0.0x1", "１２７.1"]
)
def test_what_only_a_lenient_resolver_takes_for_an_address_is_no_target_of_an_exit(host: str) -> None:
    with pytest.raises(UsageError, match="four decimal numbers"):
        parse_target(f"{host}:80")


@pytest.mark.parametrize("text", ["", ":1", "a", "a:", "a:0", "a:70000", "a:1x", "::1:80", "a b:1", "a/b:1", "[x]:1"])
def test_what_is_no_target_is_refused(text: str) -> None:
    if text == "[x]:1":
        assert parse_target(text)[0].name == "x"
        return
    with pytest.raises(UsageError):
        parse_target(text)


async def test_a_password_is_kept_as_a_hash_and_shown_nowhere() -> None:
    made = Credentials.create("ann", PASSWORD)
    assert PASSWORD not in made.secret
    assert made.secret not in repr(made)
    again = Credentials.parse("ann", made.secret)
    for _ in range(2):
        assert await again.check("ann", PASSWORD)
        assert not await again.check("ann", PASSWORD + "!")
        assert not await again.check("bob", PASSWORD)
        assert not await again.check("ann", "x" * 1000)
    assert Credentials.create("ann", PASSWORD).secret != made.secret
    with pytest.raises(UsageError):
        Credentials.parse("ann", "md5$1$2$3$4$5")


def test_a_configuration_is_read_as_it_was_written_and_never_shown_with_its_secrets() -> None:
    config = Config(
        listen=Address("::1", 1080),
        targets=Hosts.parse(["*"]),
        log=SplunkLog.parse("splunk.test:8088", TOKEN),
        credentials=Credentials.create("ann", PASSWORD),
        users=("bob",),
        origin_ca="/etc/ca.pem",
        generate_cert=True,
    )
    assert read_config(write_config(config)) == config
    assert TOKEN not in repr(config)
    assert read_config(write_config(Config(log=FileLog("x.log")))).log == FileLog("x.log")


def test_a_collector_is_spoken_to_in_tls_unless_http_was_written() -> None:
    assert SplunkLog.parse("splunk.test:8088", "t").url == "https://splunk.test:8088"
    assert SplunkLog.parse("http://splunk.test:8088", "t").url == "http://splunk.test:8088"
    assert SplunkLog.parse("https://[::1]:1/", "t").address == Address("::1", 1)


def test_fields_that_v1_does_not_know_are_told_apart() -> None:
    assert own_fields(ConfigBody(targets=["*"])) == []
    assert own_fields(ConfigBody(users=[], log=LogForm(splunk=SplunkForm("x")))) == ["users"]
