"""Names that exist now, asked of the agent for completion.

Whatever fails gives no names; how long it may take is the caller's business. Nothing is changed.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ztm.cli.context import Context
from ztm.errors import ZtmError
from ztm.wire.paths import encode

Name = tuple[str, str]
"""A word that commands take, and a few words about it."""
FEW_MESHES = 4
"""So many meshes are asked for their endpoints, where no mesh is chosen."""


class Live:
    """The names that one command line could mean."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def named(self, kind: str, begun: str = "") -> list[Name]:
        """The names of one kind of object, of which `begun` is typed; empty where there is none to be had."""
        found = getattr(self, f"_{kind}", None)
        try:
            return list(found(begun)) if found else []
        except (ZtmError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return []  # an answer of another form than ours is as good as none

    def _mesh(self, _begun: str) -> Iterable[Name]:
        from ztm.cli.mesh import state_of

        return [(str(one["name"]), state_of(one)) for one in self._context.client.request("GET", "/api/meshes")]

    def _endpoint(self, begun: str) -> Iterable[Name]:
        """By name, or by id where several have that name; with the mesh before it where that was typed."""
        mesh, slash, part = begun.rpartition("/")
        if slash:
            return [(f"{mesh}/{name}", about) for name, about in self._endpoints(mesh, part)]
        if self._context.named_mesh:
            return self._endpoints(self._context.named_mesh, part)
        try:
            return self._endpoints(self._context.mesh, part)
        except ZtmError:
            meshes = [name for name, _ in self._mesh("")][:FEW_MESHES]
            return [(f"{mesh}/{name}", about) for mesh in meshes for name, about in self._endpoints(mesh, part)]

    def _endpoints(self, mesh: str, begun: str) -> list[Name]:
        from ztm.cli.resolve import mesh_path

        query = f"?keyword={encode(begun)}" if begun else ""
        found = self._context.client.request("GET", f"{mesh_path(mesh)}/endpoints{query}") or []
        count = Counter(str(one.get("name")) for one in found)
        return [
            (name if name and count[name] == 1 else str(one["id"]), _about(one))
            for one in found
            for name in (str(one.get("name") or ""),)
        ]

    def _hub(self, _begun: str) -> Iterable[Name]:
        hubs = self._context.ask("GET", "/hubs") or {}
        return [
            (str(port), "attached" if hub.get("connected") else "") for hub in hubs.values() for port in hub["ports"]
        ]

    def _user(self, _begun: str) -> Iterable[Name]:
        return [(str(one["name"]), "") for one in self._context.ask("GET", "/users") or []]

    def _group(self, _begun: str) -> Iterable[Name]:
        return [(str(one["name"]), "") for one in self._context.ask("GET", "/apps/ztm/users/api/groups") or []]

    def _evicted(self, _begun: str) -> Iterable[Name]:
        return [(str(one["username"]), "evicted") for one in self._context.ask("GET", "/evictions") or []]

    def _permit(self, _begun: str) -> Iterable[Name]:
        found = self._context.ask("GET", "/permits") or []
        return [(str(one["id"]), f"{one['username']}, {one['state']}") for one in found if one["state"] != "revoked"]

    def _file(self, _begun: str) -> Iterable[Name]:
        return [
            (str(path), f"{one.get('size')} bytes") for path, one in (self._context.ask("GET", "/files") or {}).items()
        ]

    def _app(self, _begun: str) -> Iterable[Name]:
        """By name alone, or with its provider where several providers have one of that name."""
        found: list[dict[str, Any]] = self._context.ask("GET", f"/endpoints/{self._context.endpoint.id}/apps") or []
        names = [f"{one['name']}@{one['tag']}" if one.get("tag") else str(one["name"]) for one in found]
        count = Counter(names)
        return [
            (name if count[name] == 1 else f"{one['provider']}/{name}", "running" if one.get("isRunning") else "")
            for name, one in zip(names, found, strict=True)
        ]

    def _label(self, _begun: str) -> Iterable[Name]:
        found = self._context.ask("GET", "/endpoints") or []
        return [(str(label), "") for one in found for label in (one.get("agent") or {}).get("labels") or ()]

    def _own_label(self, _begun: str) -> Iterable[Name]:
        return [
            (str(label), "") for label in self._context.ask("GET", f"/endpoints/{self._context.endpoint.id}/labels")
        ]

    def _tunnel(self, _begun: str) -> Iterable[Name]:
        return _ends(self._context.ask("GET", "/apps/ztm/tunnel/api/tunnels"))

    def _inbound(self, _begun: str) -> Iterable[Name]:
        return self._ends("inbound")

    def _outbound(self, _begun: str) -> Iterable[Name]:
        return self._ends("outbound")

    def _ends(self, kind: str) -> list[Name]:
        return _ends(self._context.ask("GET", f"/apps/ztm/tunnel/api/endpoints/{self._context.endpoint.id}/{kind}"))


def _ends(found: list[dict[str, Any]] | None) -> list[Name]:
    return [(f"{one['protocol']}/{one['name']}", "") for one in found or ()]


def _about(endpoint: dict[str, Any]) -> str:
    return ", ".join(filter(None, (str(endpoint.get("username") or ""), "" if endpoint.get("online") else "offline")))
