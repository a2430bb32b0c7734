"""A client made from the description of the local API can do what the command line does."""

import http.client
import json

import pytest
from api_client import Client, RefusedError
from targets import Server, echo, works
from world import Agent, World, free_port, until


def client_of(agent: Agent) -> Client:
    return Client(agent.api("/api/openapi.json"), agent.port, agent.token)


def test_a_generated_client_joins_lists_labels_invites_and_tunnels(world: World) -> None:
    hub = world.hub()
    agent, guest = world.agent("home"), world.agent("guest")
    home, other = client_of(agent), client_of(guest)
    permit = json.loads(hub.permit.read_text())

    joined = home.post_meshes_mesh({**permit, "agent": {**permit["agent"], "name": "home"}}, mesh="m")
    assert (joined["name"], joined["agent"]["username"]) == ("m", "root")
    until(lambda: home.get_meshes_mesh(mesh="m")["connected"], what="connected")

    invited = home.post_meshes_mesh_permits_permit(other.get_identity(), mesh="m", permit="bob")
    settings = {**invited, "agent": {**invited["agent"], "name": "guest"}}
    guest_id = other.post_meshes_mesh(settings, mesh="m")["agent"]["id"]
    until(lambda: other.get_meshes_mesh(mesh="m")["connected"], what="connected")

    names = [each["name"] for each in home.get_meshes_mesh_endpoints(mesh="m")]
    assert names == ["home", "guest"]
    assert [each["name"] for each in home.get_meshes_mesh_endpoints(mesh="m", user="bob", limit=5)] == ["guest"]
    other.post_meshes_mesh_endpoints_ep_labels(["a b", "c=d"], mesh="m", ep=guest_id)
    assert other.get_meshes_mesh_endpoints_ep_labels(mesh="m", ep=guest_id) == ["a b", "c=d"]
    with pytest.raises(RefusedError, match=r"403.*belongs to user bob"):
        home.get_meshes_mesh_endpoints_ep_labels(mesh="m", ep=guest_id)

    with Server(echo) as server:
        end = {"mesh": "m", "proto": "tcp", "name": "web"}
        target = {"targets": [{"host": "127.0.0.1", "port": server.port}], "users": ["*"]}
        other.post_meshes_mesh_apps_ztm_tunnel_api_endpoints_ep_outbound_proto_name(target, ep=guest_id, **end)
        port = free_port()
        home.post_meshes_mesh_apps_ztm_tunnel_api_endpoints_ep_inbound_proto_name(
            {"listens": [{"ip": "127.0.0.1", "port": port}], "exits": [guest_id]}, ep=joined["agent"]["id"], **end
        )
        until(lambda: works(port), what="the tunnel carries")

    assert {each["name"] for each in home.get_meshes_mesh_users(mesh="m")} == {"root", "bob"}
    home.delete_meshes_mesh_users_user(mesh="m", user="bob")
    until(lambda: other.get_meshes_mesh(mesh="m")["state"] == "evicted", what="evicted")
    assert [each["username"] for each in home.get_meshes_mesh_evictions(mesh="m")] == ["bob"]
    home.delete_meshes_mesh_evictions_user(mesh="m", user="bob")
    until(lambda: other.get_meshes_mesh(mesh="m")["connected"], within=40.0, what="let in again")
    other.delete_meshes_mesh(mesh="m")
    assert other.get_meshes() == []


def test_every_operation_has_a_name_of_its_own_and_describes_its_refusals(world: World) -> None:
    agent = world.agent("home")
    document = agent.api("/api/openapi.json")
    names = [said["operationId"] for methods in document["paths"].values() for said in methods.values()]
    assert len(set(names)) == len(names)
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            holes = {each["name"] for each in said.get("parameters", ()) if each["in"] == "path"}
            assert holes == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
            for status, answer in said["responses"].items():
                if int(status) >= 400:
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}, (path, method, status)
            is_told = "security" not in said or said["security"] == []
            assert is_told, path
    assert set(document["components"]["securitySchemes"]) == {"token", "cookie", "csrf"}


def test_head_is_answered_as_get_is_without_its_body(world: World) -> None:
    agent = world.agent("home")
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=15)
    answers = []
    for method in ("GET", "HEAD"):
        connection.request(method, "/api/meshes", headers={"authorization": f"Bearer {agent.token}"})
        answer = connection.getresponse()
        answers.append((answer.status, answer.headers["etag"], answer.headers["content-type"], answer.read()))
    connection.close()
    assert answers[0][:3] == answers[1][:3]
    assert (answers[0][3], answers[1][3]) == (b"[]", b"")
