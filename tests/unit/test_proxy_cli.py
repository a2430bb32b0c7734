"""`ztm proxy` on a real app: what it changes, and how all of it is shown (spec apps-network 2.1)."""

import json
import logging
from pathlib import Path

import pytest
from app_console import CannedApp, MemoryConsole
from app_mesh import LOOPBACK, Echo, MeshContext, free_port
from proxy_mesh import ProxyMesh, groups_app, proxies

from ztm.apps.command import Call, EndpointRef
from ztm.apps.proxy.cli import COMMANDS, NOTES

GROUPS = [{"id": "g1", "name": "dev", "users": ["bob"]}, {"id": "g2", "name": "ops", "users": []}]
PASSWORD = "correct horse"


async def run(
    mesh: ProxyMesh, name: str, line: str, status: int = 0, typed: bytes = b"", at: str = "", is_typed: bool = False
) -> str:
    """Run a command line in the agent of `name` for endpoint `at`; what it printed, or complained of."""
    target = at or name
    call = Call(
        program="ztm proxy",
        words=tuple(line.split()),
        endpoint=EndpointRef(mesh.place(target), target),
        environment={},
        is_typed=is_typed,
    )
    console = MemoryConsole(call, typed)
    ended = await mesh.apps[mesh.place(name)].command(console)
    assert ended == status, (console.out, console.err)
    return (console.err if status else console.out).decode()


async def test_the_configuration_is_shown_as_v1_shows_it_and_who_may_use_the_exit() -> None:
    async with proxies() as mesh:
        await mesh.join("one")
        end = f"Endpoint: one ({mesh.place('one')})\n"
        shown = await run(mesh, "one", "config")
        assert shown.startswith(end + "Listen: (not listening)\nTargets:\n  (not an exit)\nGenerate Certificate: Off\n")
        assert "Logging: Off" in shown
        shown = await run(mesh, "one", "config --add-target *.a.test 10.0.0.0/8 --add-exclusion 10.9.9.9")
        assert "Targets:\n  *.a.test\n  10.0.0.0/8\nExcluded Targets:\n  10.9.9.9\nUsers:\n  (owner only)\n" in shown
        shown = await run(mesh, "one", "config --remove-target 10.0.0.0/8 --users bob * --from-users carol")
        assert "Targets:\n  *.a.test\nExcluded" in shown
        assert "Users:\n  bob\n  (all users)\n" in shown
        assert "Also Exits Of:\n  carol\n" in shown
        shown = await run(mesh, "one", "config --users= --from-users=")
        assert "(owner only)" in shown
        assert "Also" not in shown
        assert json.loads(await run(mesh, "one", "config -o json"))["targets"] == ["*.a.test"]


async def test_the_port_is_opened_and_closed_and_a_busy_one_is_said() -> None:
    async with proxies() as mesh:
        await mesh.join("one")
        port = free_port()
        assert f"Listen: {LOOPBACK}:{port}\n" in await run(mesh, "one", f"config --set-listen {port}")
        assert "Listen: (not listening)\n" in await run(mesh, "one", "config --set-listen")
        blocker = Echo(mesh.network)
        busy = (await blocker.open()).port
        assert "tries again" in await run(mesh, "one", f"config --set-listen {busy}", status=1)
        assert f"{busy} (not open: the address" in await run(mesh, "one", "config")
        await blocker.close()


async def test_a_password_is_read_from_input_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with proxies() as mesh:
        await mesh.join("one")
        shown = await run(mesh, "one", "config --set-auth ann", typed=PASSWORD.encode() + b"\nmore")
        assert "Clients Sign In As: ann\n" in shown
        credentials = mesh.apps[mesh.place("one")].proxy.config.credentials
        assert credentials is not None
        assert await credentials.check("ann", PASSWORD)
        assert "Clients Sign In As: ann\n" in await run(mesh, "one", "config --add-target *")
        shown = await run(mesh, "one", "config --set-auth bob", typed=b"typoo\x7f!\r", is_typed=True)
        credentials = mesh.apps[mesh.place("one")].proxy.config.credentials
        assert credentials is not None
        assert await credentials.check("bob", "typo!")
        assert "typo!" not in shown
        assert PASSWORD not in caplog.text
        assert "Sign In" not in await run(mesh, "one", "config --unset-auth")
        assert "nothing was given" in await run(mesh, "one", "config --set-auth ann", status=2)
        assert "cancelled" in await run(mesh, "one", "config --set-auth ann", status=2, typed=b"abc\x03", is_typed=True)


async def test_the_log_goes_to_splunk_a_file_or_nowhere(tmp_path: Path) -> None:
    async with proxies(tmp_path) as mesh:
        await mesh.join("one")
        shown = await run(mesh, "one", "config --set-log splunk --log-address s.test:8088 --log-token t0k3n")
        assert "Logging:\n  Target: splunk\n  Address: https://s.test:8088\n  Token: (set)\n" in shown
        assert "t0k3n" not in shown
        shown = await run(mesh, "one", "config --set-log splunk --log-address s.test:8088")
        assert "Token: (set)" in shown
        await run(mesh, "one", "config --set-log splunk --log-address x.test:1 --log-token", typed=b"t2\n")
        assert "Target: file\n  File: requests.log\n" in await run(mesh, "one", "config --set-log file")
        assert "File: a.log\n" in await run(mesh, "one", "config --set-log file --log-file a.log")
        assert "Logging: Off\n" in await run(mesh, "one", "config --set-log off")


async def test_certificates_are_turned_on_plainly_and_their_authority_is_printed() -> None:
    async with proxies() as mesh:
        await mesh.join("one")
        assert "generates no certificates" in await run(mesh, "one", "ca", status=1)
        assert "Certificate: On (TLS is opened at this exit)" in await run(mesh, "one", "config --gen-cert on")
        assert (await run(mesh, "one", "ca")).startswith("-----BEGIN CERTIFICATE-----\n")
        assert "Certificate: Off\n" in await run(mesh, "one", "config --gen-cert off")


async def test_rules_are_appended_inserted_replaced_and_deleted_with_groups_by_name() -> None:
    async with proxies() as mesh:
        mesh.neighbours["users"] = groups_app(list(GROUPS))
        await mesh.join("one")
        await run(mesh, "one", "rules --index 0 --groups dev ops --action allow")
        await run(mesh, "one", "rules --index 1 --action deny")
        shown = await run(
            mesh, "one", "rules --index #1 --insert --users bob --targets *.a.test 10.0.0.0/8 --action deny"
        )
        assert shown == (
            "INDEX  TARGETS               USERS  GROUPS    ACTION  \n"
            "#0     (all)                        dev, ops  allow   \n"
            "#1     *.a.test, 10.0.0.0/8  bob              deny    \n"
            "#2     (all)                 (all)            deny    \n"
        )
        stored = mesh.apps[mesh.place("one")].proxy.config.rules
        assert stored[0].groups == ("g1", "g2")
        await run(mesh, "one", "rules --index 0 --users carol --action allow")
        shown = await run(mesh, "one", "rules --index 1 --delete --no-headers")
        assert shown.split() == ["#0", "(all)", "carol", "allow", "#1", "(all)", "(all)", "deny"]


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("rules --index 5 --action deny", 1, "there is no rule #5"),
        ("rules --index x --action deny", 2, "invalid value 'x'"),
        ("rules --index 0", 2, "--action"),
        ("rules --index 0 --action maybe", 2, "allow or deny"),
        ("rules --action deny", 2, "--index is required"),
        ("rules --index 0 --delete --action deny", 2, "alone"),
        ("rules --index 0 --groups none --action deny", 1, "group 'none' not found"),
        ("config --gen-cert maybe", 2, "on or off"),
        ("config --set-log syslog", 2, "splunk, file or off"),
        ("config --set-log splunk", 2, "--log-address"),
        ("config --log-token x", 2, "--set-log"),
        ("config --remove-target none.test", 1, "not one of the targets"),
        ("config --add-target a/b", 2, "not a"),
        ("config --set-auth a --unset-auth", 2, "exclude each other"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(line: str, status: int, said: str) -> None:
    async with proxies() as mesh:
        mesh.neighbours["users"] = groups_app(list(GROUPS))
        await mesh.join("one")
        before = mesh.apps[mesh.place("one")].proxy.config
        assert said in await run(mesh, "one", line, status=status)
        assert mesh.apps[mesh.place("one")].proxy.config == before


async def test_exits_are_listed_with_time_hold_off_and_last_error() -> None:
    async with proxies() as mesh:
        echo = await mesh.echo()
        for name in ("entry", "fine", "gone"):
            await mesh.join(name)
        await run(mesh, "entry", "config --add-target 127.0.0.0/8", at="fine")
        await mesh.reach("entry", LOOPBACK, echo)
        await mesh.configure("gone", targets=["10.0.0.0/8"])
        mesh.refusing[mesh.place("gone")] = 503
        with pytest.raises(Exception, match="503"):
            await mesh.reach("entry", "10.0.0.1", 80)
        heading, fine, gone = (await run(mesh, "entry", "get exits")).splitlines()
        assert heading.split() == ["EXIT", "USER", "TARGETS", "TIME", "HELD", "OFF", "LAST", "ERROR"]
        assert fine.split()[:3] == ["fine", "alice", "127.0.0.0/8"]
        assert fine.split()[4] == "ms"
        assert gone.split()[0] == "gone"
        assert "10 s      refused with 503" in gone


async def test_an_endpoint_of_v1_is_not_asked_for_what_it_would_ignore() -> None:
    """Weakness T3 of the tunnel app: v1 says yes, and its exit stays open to everybody."""

    async with proxies() as mesh:
        await mesh.join("one")
        await mesh.join("old", factory=v1_app)
        said = await run(mesh, "one", "config --users bob", at="old", status=1)
        assert "does not know users; nothing changed" in said
        await run(mesh, "one", "config --add-target *", at="old")
        sent = mesh.apps[mesh.place("old")].peer_api.sent("POST")  # type: ignore[attr-defined]
        assert [(path, body["targets"]) for path, body in sent] == [("/api/config", ["*"])]


class V1App:
    """A proxy of v1, as far as its configuration goes."""

    def __init__(self, context: MeshContext) -> None:
        self.peer_api = CannedApp()
        self.peer_api.answer("GET", "/api/config", {"listen": "", "targets": [], "exclusions": [], "rules": []})
        self.peer_api.answer("POST", "/api/config", None, 201)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def v1_app(context: MeshContext) -> object:
    return V1App(context)


async def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    app = CannedApp()
    _, out, _ = await app.run("ztm proxy", "help", EndpointRef("x", "x"), COMMANDS, NOTES)
    assert all(command.name in out for command in COMMANDS)


async def test_a_typed_password_is_asked_for_and_hidden_before_the_size_of_the_terminal_is_told() -> None:
    async with proxies() as mesh:
        await mesh.join("one")
        call = Call(
            program="ztm proxy",
            words=("config", "--set-auth", "bob"),
            endpoint=EndpointRef(mesh.place("one"), "one"),
            environment={},
        )
        console = HidingConsole(call, b"geheim\r")
        assert await mesh.apps[mesh.place("one")].command(console) == 0
        assert console.err == b"Password for proxy user bob: \n"
        assert console.was_raw == [True, False]


class HidingConsole(MemoryConsole):
    """Keeps when keys were passed through."""

    def __init__(self, call: Call, typed: bytes) -> None:
        super().__init__(call, typed)
        self.was_raw: list[bool] = []

    async def pass_keys(self, raw: bool) -> None:
        self.was_raw.append(raw)
