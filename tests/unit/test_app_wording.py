"""What people read of apps names endpoints as people do, and says why."""

import pytest
from app_console import CannedApp

from fake_agent import HOME_ID, WORK_ID
from ztm.agent.api.description import describe
from ztm.apps.builtin import BUILTIN
from ztm.apps.catalog import TITLES
from ztm.apps.command import EndpointRef
from ztm.apps.port import cli as port_cli
from ztm.apps.proxy import cli as proxy_cli
from ztm.apps.text import with_names
from ztm.apps.tunnel import cli as tunnel_cli
from ztm.rest.router import Router

HOME_EP, WORK_EP = EndpointRef(HOME_ID, "home"), EndpointRef(WORK_ID, "work")
STRANGER = "00000000-0000-4000-8000-000000000009"
BUSY = "cannot listen on 127.0.0.1:81: the address is in use by another program"
TABLES = {"port": port_cli, "proxy": proxy_cli, "tunnel": tunnel_cli}


@pytest.fixture
def app() -> CannedApp:
    return CannedApp(HOME_EP, WORK_EP)


async def run(app: CannedApp, line: str, status: int = 0, at: EndpointRef = HOME_EP) -> str:
    name, _, rest = line.partition(" ")
    table = TABLES[name]
    ended, out, err = await app.run(f"ztm {name}", rest, at, table.COMMANDS, table.NOTES)
    assert ended == status, (out, err)
    return err if status else out


def test_endpoints_are_named_where_they_are_known_and_other_ids_are_left() -> None:
    names = {HOME_ID: "home", WORK_ID: ""}
    said = f"endpoint {HOME_ID}: exit {WORK_ID} of endpoint {STRANGER}; use one of the ids {HOME_ID}"
    assert with_names(said, names) == said.replace(f"endpoint {HOME_ID}", "endpoint home")


async def test_a_refusal_names_the_endpoint_instead_of_its_id(app: CannedApp) -> None:
    refused = {"status": 403, "message": f"endpoint {WORK_ID}: only user root may do this here, and you are alice"}
    app.answer("GET", f"/api/endpoints/{WORK_ID}/ports", refused, 403)
    assert await run(app, "port get port", 1, WORK_EP) == (
        "ztm: endpoint work: only user root may do this here, and you are alice\n"
    )


async def test_a_refusal_about_a_third_endpoint_names_it_too(app: CannedApp) -> None:
    refused = {"status": 503, "message": f"endpoint {WORK_ID} is offline, and endpoint {STRANGER} as well"}
    app.answer("GET", f"/api/endpoints/{HOME_ID}/ports", refused, 503)
    assert await run(app, "port get port", 1) == f"ztm: endpoint work is offline, and endpoint {STRANGER} as well\n"


async def test_the_last_error_of_a_port_names_endpoints(app: CannedApp) -> None:
    last = {"time": "T", "message": f"exit {WORK_ID}: user alice on endpoint {HOME_ID} may not"}
    one = {"listen": "127.0.0.1:1", "via": WORK_ID, "target": "h:1", "open": True, "lastError": last}
    app.answer("GET", f"/api/endpoints/{HOME_ID}/ports", [one])
    assert "T exit work: user alice on endpoint home may not" in await run(app, "port get port")


async def test_the_last_error_of_a_tunnel_end_and_of_a_proxy_names_endpoints(app: CannedApp) -> None:
    last = {"time": "T", "message": f"exit {WORK_ID} refused"}
    end = {"protocol": "tcp", "name": "t", "listens": [{"ip": "127.0.0.1", "port": 81}], "exits": [], "lastError": last}
    app.answer("GET", f"/api/endpoints/{HOME_ID}/inbound/tcp/t", end)
    assert "Last Error: T exit work refused\n" in await run(app, "tunnel describe inbound tcp/t")
    app.answer("GET", f"/api/endpoints/{HOME_ID}/config", {"listen": "", "targets": [], "lastError": last})
    assert "Last Error: T exit work refused\n" in await run(app, "proxy config")


async def test_an_address_that_is_not_open_is_written_once(app: CannedApp) -> None:
    listen = {"ip": "127.0.0.1", "port": 81, "open": False, "error": BUSY}
    end = {"protocol": "tcp", "name": "t", "listens": [listen], "exits": []}
    app.answer("GET", f"/api/endpoints/{HOME_ID}/inbound", [end])
    shown = await run(app, "tunnel get inbound")
    assert "127.0.0.1:81 (not open: the address is in use by another program)" in shown
    config = {"listen": "127.0.0.1:81", "targets": [], "listening": [{"address": "127.0.0.1:81", "error": BUSY}]}
    app.answer("GET", f"/api/endpoints/{HOME_ID}/config", config)
    shown = await run(app, "proxy config")
    assert "Listen: 127.0.0.1:81 (not open: the address is in use by another program)\n" in shown


async def test_what_only_the_owner_of_a_proxy_sees_is_not_shown_as_absent(app: CannedApp) -> None:
    app.answer("GET", f"/api/endpoints/{WORK_ID}/config", {"targets": ["*"], "exclusions": []})
    assert await run(app, "proxy config", at=WORK_EP) == (
        f"Endpoint: work ({WORK_ID})\nTargets:\n  *\n(its owner sees more of it)\n"
    )
    refusal = await run(app, "proxy rules", 1, WORK_EP)
    assert refusal == "ztm: endpoint work shows its proxy's rules to its owner only\n"


async def test_names_printed_for_scripts_tell_objects_apart(app: CannedApp) -> None:
    rules = [{"address": "h", "users": ["a"]}, {"address": "h", "port": 80, "users": ["b"]}]
    app.answer("GET", f"/api/endpoints/{HOME_ID}/config", {"ports": [], "acl": rules})
    assert await run(app, "port get acl -o name") == "tcp/h\ntcp/h:80\n"
    app.answer("GET", f"/api/endpoints/{HOME_ID}/exits", [{"endpoint": WORK_ID, "user": "root", "targets": ["*"]}])
    assert await run(app, "proxy get exits -o name") == "work\n"


NAMED_ROUTES = {
    "tunnel": {"tunnels", "tunnels/{proto}/{name}", "endpoints/{ep}/inbound", "endpoints/{ep}/outbound"},
    "proxy": {"endpoints/{ep}/config"},
    "terminal": {"endpoints", "endpoints/{ep}/config"},
    "script": {"endpoints", "endpoints/{ep}/script"},
    "users": {"groups", "groups/{id}", "users", "users/{name}"},
    "port": {"endpoints", "endpoints/{ep}/config", "endpoints/{ep}/ports"},
}
"""What the local user may ask of each app, as other programs know it. Source: spec apps-network."""


@pytest.mark.parametrize("name", TITLES)
def test_every_route_that_others_know_is_served_and_described(name: str) -> None:
    document = describe(Router(), {name: BUILTIN[name]})
    prefix = f"/api/meshes/{{mesh}}/apps/ztm/{name}/api/"
    described = {path.removeprefix(prefix) for path in document["paths"] if path.startswith(prefix)}
    assert NAMED_ROUTES[name] | {"appinfo"} <= described
