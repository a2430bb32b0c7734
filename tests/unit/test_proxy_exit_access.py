"""Who is led where by an exit of the proxy: users, patterns, exclusions, rules, groups; and what is refused how."""

import pytest
from app_mesh import LOOPBACK, read_all, read_exactly
from proxy_mesh import ProxyMesh, groups_app, proxies

from ztm.apps.proxy.groups import Groups
from ztm.errors import BrokenStreamError, ForbiddenError, NotFoundError, RefusedError, UnreachableError
from ztm.model import Address
from ztm.net.base import Stream, TlsConfig

ALL = ["*", "0.0.0.0/0", "::/0"]


async def pair(mesh: ProxyMesh, user: str = "alice", **exit_: object) -> None:
    """An entry of alice, and an exit of `user` that serves everything unless told otherwise."""
    await mesh.join("entry")
    await mesh.join("exit", user)
    await mesh.configure("exit", **{"targets": ALL, **exit_})
    await mesh.configure("entry", fromUsers=["*"])


async def passes(mesh: ProxyMesh, host: str, port: int) -> bool:
    try:
        stream, _ = await mesh.reach("entry", host, port)
    except ForbiddenError:
        return False
    stream.abort()
    return True


async def test_bytes_go_both_ways_with_half_close_and_early_bytes() -> None:
    async with proxies() as mesh:
        await pair(mesh)
        stream, exit_ = await mesh.reach("entry", LOOPBACK, await mesh.echo(), b"early ")
        assert exit_ == mesh.place("exit")
        await stream.write(b"late")
        stream.end()
        assert await read_all(stream) == b"early late<end>"
        await mesh.audited("exit", 1)
        (trail,) = mesh.trails("exit")
        assert (trail.side, trail.peer.user, trail.action) == ("exit", "alice", "connect")
        assert trail.target == trail.subject
        assert (trail.is_allowed, trail.meter.sent, trail.meter.received) == (True, 10, 15)


async def test_a_server_that_speaks_first_is_heard_before_the_client_says_a_word() -> None:  # P3
    async with proxies() as mesh:
        await pair(mesh)
        stream, _ = await mesh.reach("entry", LOOPBACK, await mesh.echo(b"220 hello\r\n"))
        assert await stream.read() == b"220 hello\r\n"
        stream.abort()


async def test_an_exit_of_another_user_is_used_only_if_that_user_is_named() -> None:  # P1
    async with proxies() as mesh:
        port = await mesh.echo()
        await pair(mesh, "mallory", users=["*"])
        await mesh.configure("entry", fromUsers=[])
        with pytest.raises(NotFoundError, match="no exit is known"):
            await mesh.reach("entry", LOOPBACK, port)
        await mesh.configure("entry", fromUsers=["mallory"])
        assert await passes(mesh, LOOPBACK, port)


async def test_an_exit_serves_its_owner_alone_unless_it_names_others() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await pair(mesh, "bob")
        target = f"/api/targets/{LOOPBACK}:{port}"
        assert (await mesh.ask_as("exit", "CONNECT", target, "alice"))[0] == 403
        with pytest.raises(NotFoundError):
            await mesh.reach("entry", LOOPBACK, port)
        await mesh.configure("exit", targets=ALL, users=["alice"])
        assert await passes(mesh, LOOPBACK, port)


async def test_one_refusal_harms_no_later_connection() -> None:  # P2
    async with proxies() as mesh:
        first, second = await mesh.echo(), await mesh.echo()
        mesh.names["denied.test"] = mesh.names["fine.test"] = [LOOPBACK]
        await pair(mesh, rules=[{"targets": ["denied.test"], "action": "deny"}])
        for _ in range(3):
            assert not await passes(mesh, "denied.test", first)
            assert await passes(mesh, "fine.test", second)


async def test_a_group_without_members_or_unknown_matches_nobody() -> None:  # P6
    async with proxies() as mesh:
        port = await mesh.echo()
        mesh.neighbours["users"] = groups_app([{"id": "g1", "name": "empty", "users": []}])
        rules = [{"groups": ["g1"], "action": "allow"}, {"groups": ["g2"], "action": "allow"}, {"action": "deny"}]
        await pair(mesh, rules=rules)
        assert not await passes(mesh, LOOPBACK, port)


async def test_rules_with_groups_follow_the_members() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        groups = [{"id": "g1", "name": "team", "users": ["alice"]}]
        mesh.neighbours["users"] = groups_app(groups)
        await pair(mesh, rules=[{"groups": ["g1"], "action": "allow"}, {"action": "deny"}])
        stream, _ = await mesh.reach("entry", LOOPBACK, port)
        groups[0]["users"] = []
        await members_of(mesh).refresh()
        with pytest.raises(BrokenStreamError):
            await stream.read()
        assert not await passes(mesh, LOOPBACK, port)


async def test_nobody_passes_a_rule_with_groups_while_their_members_cannot_be_known() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await pair(mesh, rules=[{"groups": ["g1"], "action": "deny"}])
        with pytest.raises(UnreachableError, match="members are not known"):
            await mesh.reach("entry", LOOPBACK, port)


def members_of(mesh: ProxyMesh) -> Groups:
    return mesh.apps[mesh.place("exit")].proxy._groups


async def test_changed_rules_cut_streams_that_they_no_longer_allow_and_no_others() -> None:  # P7
    async with proxies() as mesh:
        port = await mesh.echo()
        mesh.names["a.test"] = mesh.names["b.test"] = [LOOPBACK]
        await pair(mesh)
        cut, _ = await mesh.reach("entry", "a.test", port)
        kept, _ = await mesh.reach("entry", "b.test", port)
        await mesh.configure("exit", targets=ALL, exclusions=["a.test"])
        with pytest.raises(BrokenStreamError):
            await cut.read()
        await kept.write(b"still")
        assert await read_exactly(kept, 5) == b"still"
        kept.abort()
        await mesh.audited("exit", 2)


async def test_rules_that_change_while_a_destination_is_dialled_hold_for_it() -> None:  # P7
    async with proxies() as mesh:
        port = await mesh.echo()
        await pair(mesh)
        dial = mesh.network.dial

        async def slowly(address: Address, tls: TlsConfig | None = None, *, timeout: float = 10.0) -> Stream:
            stream = await dial(address, tls, timeout=timeout)
            if address.port == port:
                await mesh.configure("exit", targets=ALL, exclusions=[LOOPBACK])
            return stream

        mesh.network.dial = slowly  # type: ignore[method-assign]
        with pytest.raises(ForbiddenError, match="no longer allow"):
            await mesh.reach("entry", LOOPBACK, port)
        await mesh.audited("exit", 1)
        assert not mesh.trails("exit")[0].is_allowed


async def test_an_excluded_network_is_not_reached_by_a_name_that_leads_into_it() -> None:  # P8
    async with proxies() as mesh:
        port = await mesh.echo()
        mesh.names["inside.test"] = [LOOPBACK]
        await pair(mesh, exclusions=["127.0.0.0/8"])
        assert not await passes(mesh, "inside.test", port)
        (trail,) = mesh.trails("exit")
        assert "excludes inside.test, which is at 127.0.0.1" in trail.reason
        assert not trail.is_allowed


@pytest.mark.parametrize("host", ["::ffff:127.0.0.1", "0.0.0.0", "::"])
async def test_an_excluded_address_is_not_reached_by_another_way_to_write_it(host: str) -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        mesh.names["odd.test"] = [host]
        await pair(mesh, exclusions=["127.0.0.0/8"])
        target = f"[{host}]" if ":" in host else host
        status, headers, _ = await mesh.ask_as("exit", "CONNECT", f"/api/targets/{target}:{port}", "alice")
        assert status == 403, headers
        assert not await passes(mesh, "odd.test", port)


async def test_what_was_resolved_and_judged_is_what_is_dialled() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        mesh.names["once.test"] = ["127.0.0.2", LOOPBACK]
        await pair(mesh, exclusions=["127.0.0.2"])
        assert await passes(mesh, "once.test", port)
        assert mesh.resolved == ["once.test"]
        await mesh.audited("exit", 1)
        assert mesh.trails("exit")[0].target == f"{LOOPBACK}:{port}"


async def test_a_rule_about_a_network_is_about_names_that_lead_into_it() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        mesh.names["inside.test"] = [LOOPBACK]
        await pair(mesh, rules=[{"targets": ["127.0.0.0/8"], "users": ["alice"], "action": "deny"}])
        assert not await passes(mesh, "inside.test", port)
        assert mesh.trails("exit")[0].rule.endswith("rule #0 deny")


async def test_names_are_compared_without_regard_to_case() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        mesh.names["www.example.org"] = [LOOPBACK]
        await pair(mesh, targets=["*.Example.ORG"])
        assert await passes(mesh, "WWW.example.org.", port)
        with pytest.raises(NotFoundError):
            await mesh.reach("entry", "example.org", port)


async def test_refusals_say_why_in_status_and_words() -> None:
    async with proxies() as mesh:
        await pair(mesh)
        with pytest.raises(NotFoundError, match="does not resolve"):
            await mesh.reach("entry", "nowhere.test", 80)
        with pytest.raises(RefusedError, match="cannot be reached from this exit"):
            await mesh.reach("entry", LOOPBACK, 1)
        for malformed in ("x", ":80", "a b:80", "::1:80", "x:0", "x:99999"):
            path = f"/api/targets/{malformed.replace(' ', '%20')}"
            assert (await mesh.ask_as("exit", "CONNECT", path, "alice"))[0] == 400


async def test_the_own_endpoint_is_an_exit_under_the_same_rules() -> None:
    async with proxies() as mesh:
        port = await mesh.echo()
        await mesh.join("entry")
        await mesh.configure("entry", targets=["127.0.0.0/8"])
        stream, exit_ = await mesh.reach("entry", LOOPBACK, port)
        assert exit_ == mesh.place("entry")
        await stream.write(b"late")
        stream.end()
        assert await read_all(stream) == b"late<end>"
        await mesh.audited("entry", 1)
        with pytest.raises(RefusedError):
            await mesh.reach("entry", LOOPBACK, 1)
        await mesh.configure("entry", targets=["127.0.0.0/8"], rules=[{"action": "deny"}])
        assert not await passes(mesh, LOOPBACK, port)


async def test_a_path_may_be_percent_encoded_and_an_ipv6_address_is_in_brackets() -> None:
    async with proxies() as mesh:
        await pair(mesh, targets=["10.0.0.0/8"])
        for target in ("127.0.0.1%3A80", "%5B%3A%3A1%5D:80", "[::1]:80"):
            status, headers, _ = await mesh.ask_as("exit", "CONNECT", f"/api/targets/{target}", "alice")
            assert (status, "does not serve" in headers["ztm-error"]) == (403, True)
