"""From the words people type to the mesh, endpoint and hub they mean.

Each function asks the agent once; none of them changes anything.

Source: spec cli.md section 3.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ztm.apps.command import EndpointRef
from ztm.cli import settings
from ztm.errors import ConflictError, NotFoundError
from ztm.wire.paths import encode

if TYPE_CHECKING:
    from ztm.cli.client import AgentClient

PAGE = 100
"""Rows asked for at a time: what an agent gives at most (spec agent-api 6)."""


def mesh_path(mesh: str) -> str:
    """The URL path below which everything of a mesh lives."""
    return f"/api/meshes/{encode(mesh)}"


def find_mesh(client: "AgentClient", name: str) -> dict[str, Any]:
    """The mesh called `name`; if that is empty, the only one, or the default one of several.

    Raises:
        NotFoundError: it does not exist, or none can be told from the others.
    """
    if name:
        return named_mesh(client, name)
    joined: list[dict[str, Any]] = client.request("GET", "/api/meshes") or []
    if not joined:
        raise NotFoundError("you haven't joined a mesh yet (see 'ztm help join')")
    if len(joined) == 1:
        return joined[0]
    default = settings.effective("mesh").value
    if not default:
        names = ", ".join(str(mesh["name"]) for mesh in joined)
        raise NotFoundError(f"no mesh specified: write 'ztm mesh NAME ...' with one of {names}, or set ZTM_MESH")
    for mesh in joined:
        if mesh["name"] == default:
            return mesh
    raise NotFoundError(f"default mesh '{default}' not found (set by {settings.effective('mesh').source})")


def named_mesh(client: "AgentClient", name: str) -> dict[str, Any]:
    """The mesh called `name`.

    Raises:
        NotFoundError: there is none.
    """
    try:
        mesh: dict[str, Any] = client.request("GET", mesh_path(name))
    except NotFoundError:
        raise NotFoundError(f"mesh '{name}' not found (see 'ztm get mesh')") from None
    return mesh


def list_endpoints(client: "AgentClient", mesh: str, **filters: str) -> list[dict[str, Any]]:
    """All endpoints that pass the filters (``id``, ``name``, ``user``, ``keyword``), in the hub's order."""
    return _pages(client, f"{mesh_path(mesh)}/endpoints", "id", filters)


def list_users(client: "AgentClient", mesh: str, name: str = "") -> list[dict[str, Any]]:
    """All users who have an endpoint, or the one called `name`."""
    return _pages(client, f"{mesh_path(mesh)}/users", "name", {"name": name} if name else {})


def _pages(client: "AgentClient", path: str, key: str, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    """All rows of a list that the agent gives a page at a time; no two have the same `key`."""
    found: dict[str, dict[str, Any]] = {}
    while True:
        fields = {**filters, "limit": str(PAGE), "offset": str(len(found))}
        query = "&".join(f"{name}={encode(value)}" for name, value in fields.items())
        page = client.request("GET", f"{path}?{query}") or []
        fresh = {one[key]: one for one in page if one[key] not in found}
        found |= fresh
        if len(page) < PAGE or not fresh:
            return list(found.values())


def find_endpoint(client: "AgentClient", mesh: str, word: str) -> dict[str, Any]:
    """The endpoint whose id is `word`, else the only one whose name is.

    Raises:
        NotFoundError: there is none.
        ConflictError: several have this name.
    """
    found = list_endpoints(client, mesh, id=word, name=word)
    for endpoint in found:
        if endpoint["id"] == word:
            return endpoint
    named = [endpoint for endpoint in found if endpoint.get("name") == word]
    if not named:
        raise NotFoundError(f"endpoint '{word}' not found (see 'ztm get ep')")
    if len(named) > 1:
        ids = ", ".join(str(endpoint["id"]) for endpoint in named)
        raise ConflictError(f"ambiguous endpoint name '{word}': use one of the ids {ids}")
    return named[0]


def list_hubs(client: "AgentClient", mesh: str) -> list[dict[str, Any]]:
    """All known hubs of a mesh, each with its ``id``."""
    hubs = client.request("GET", f"{mesh_path(mesh)}/hubs") or {}
    return [{"id": id_, **hub} for id_, hub in hubs.items()]


def find_hub_id(client: "AgentClient", mesh: str, word: str) -> str:
    """The id of the hub with this id or ``host:port``.

    Raises:
        NotFoundError: there is none.
        ConflictError: several have this address.
    """
    ids = [str(hub["id"]) for hub in list_hubs(client, mesh) if word == hub["id"] or word in hub.get("ports", ())]
    if not ids:
        raise NotFoundError(f"hub '{word}' not found (see 'ztm get hub')")
    if len(ids) > 1:
        raise ConflictError(f"ambiguous hub name '{word}': use one of the ids {', '.join(ids)}")
    return ids[0]


def ref(endpoint: dict[str, Any]) -> EndpointRef:
    """The short form of an endpoint object, or of a mesh object's ``agent``."""
    return EndpointRef(str(endpoint["id"]), str(endpoint.get("name") or endpoint["id"]))
