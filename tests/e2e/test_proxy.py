"""An agent behind a proxy: all that it says to hubs goes through it, and the proxy's password stays with it."""

import json

import pytest
from targets import Server, dead_port, echo, say
from world import Hub, World, open_tunnel, until

from proxies import in_thread

NAME = "hub.inside.example"
"""Resolves nowhere but at the proxy."""


def by_name(hub: Hub) -> None:
    """Have the permit name the hub by a name that only the proxy can resolve."""
    permit = json.loads(hub.permit.read_text())
    permit["bootstraps"] = [f"{NAME}:{hub.port}"]
    hub.permit.write_text(json.dumps(permit))


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_hubs_are_reached_through_the_proxy_alone_which_resolves_their_names(world: World, kind: str) -> None:
    hub = world.hub()
    by_name(hub)
    with in_thread(kind) as proxy, Server(echo) as target:
        home = world.joined(hub, "home", options=["--proxy", proxy.url])
        until(lambda: home.mesh["connected"], what="home is connected")
        assert proxy.targets[0] == (NAME, hub.port)
        workplace = world.joined(hub, "workplace", options=[f"--proxy={proxy.url}"])
        port = open_tunnel(home, workplace, target.port)
        assert say(port, b"hello") == b"hello"
        # streams to targets are no business of the proxy's
        assert {port for _, port in proxy.targets} == {hub.port}


def test_a_password_may_come_by_the_environment_and_is_never_logged(world: World) -> None:
    hub = world.hub()
    with in_thread("http", "me:open-sesame") as proxy:
        url = proxy.url.replace("://", "://me:open-sesame@")
        home = world.agent("home", prefix=["env", f"ZTM_PROXY={url}"], options=["--log-level", "debug"])
        home.ok("join", "my-mesh", "--as", "home", "--permit", hub.permit, "--no-wait")
        until(lambda: "connected" in home.log, what="home is connected")
        wrong = world.agent("wrong", options=["--proxy", proxy.url.replace("://", "://me:close-sesame@")])
        wrong.ztm("join", "my-mesh", "--as", "wrong", "--permit", hub.permit, "--no-wait")
        refused = (
            f"the proxy {proxy.url} does not lead to 127.0.0.1:{hub.port}: it does not take this user and password"
        )
        until(lambda: refused in wrong.log, what="the wrong password is told")
        assert proxy.targets
    assert "sesame" not in home.log + wrong.log


def test_a_proxy_that_is_gone_is_named(world: World) -> None:
    hub, port = world.hub(), dead_port()
    home = world.agent("home", options=["--proxy", f"socks://127.0.0.1:{port}"])
    home.ztm("join", "my-mesh", "--as", "home", "--permit", hub.permit, "--no-wait")
    until(lambda: f"cannot connect to the proxy socks://127.0.0.1:{port}" in home.log, what="the proxy is named")


def test_a_proxy_that_leads_elsewhere_is_found_out(world: World) -> None:
    """TLS to the hub is end to end: whoever is between sees and changes nothing."""
    hub, other = world.hub(), world.hub("other")
    with in_thread("http") as proxy:
        proxy.instead = other.port
        home = world.agent("home", options=["--proxy", proxy.url])
        home.ztm("join", "my-mesh", "--as", "home", "--permit", hub.permit, "--no-wait")
        until(lambda: "it is not signed by this mesh's CA" in home.log, what="the other hub is found out")
        assert home.mesh["connected"] is False
