"""What an agent keeps: its identity key, the meshes it joined with their hubs, apps' states and local files.

Tables and columns named in spec section 19 are v1's, so that a v1 data directory is taken over as it is;
`mesh_hubs` is ours. Files of the mesh file system and apps' code are not in the database.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ztm import pki
from ztm.errors import StorageError, UsageError
from ztm.model import Address, HubInfo, Version
from ztm.store.database import Database
from ztm.store.files import secure_directory
from ztm.store.schema import AGENT_MIGRATIONS

FILE_NAME = "ztm.db"
"""v1's name (spec mesh-protocol 19)."""
HUBS_KEPT = timedelta(days=30)
"""How long a hub that is not heard of stays worth trying (spec agent-api 12)."""


@dataclass(frozen=True, slots=True)
class MeshRow:
    """One joined mesh. The certificate is empty after its permit was erased."""

    name: str
    ca: str
    endpoint_id: str
    endpoint_name: str
    certificate: str
    key: str | None = field(default=None, repr=False)
    """The private key that came with the permit (root's); others use the identity key."""
    labels: tuple[str, ...] = ()
    offline: bool = False
    """Set by `ztm disable mesh`: stay away until enabled."""
    bootstraps: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class AppRow:
    """The last wanted state of one app: ``running``, ``stopped``, ``disabled`` or empty."""

    provider: str
    name: str
    tag: str
    username: str
    """Who started it."""
    state: str


class AgentStore:
    """The agent's database in `directory`, which is made private.

    Every method raises `StorageError` when the database cannot be read or written; nothing was changed then.

    Raises:
        UsageError: `directory` is a regular file.
        StorageError: it cannot be created, opened or upgraded.

    Source: spec mesh-protocol 19 and agent-api 12.
    """

    def __init__(self, directory: Path, key_kind: str = "") -> None:
        secure_directory(directory)
        self._key_kind = key_kind
        """Of an identity key that is made here; see `pki.new_key`."""
        self.database = Database(directory / FILE_NAME, AGENT_MIGRATIONS)

    def close(self) -> None:
        """Close the database. Idempotent."""
        self.database.close()

    def identity_key(self) -> str:
        """The installation's private key (PEM), made on the first call, the same until replaced."""
        rows = self.database.query(_IDENTITY_KEY)
        if not rows or not rows[0][0]:
            self.database.execute(_FIRST_KEY, (pki.new_key(self._key_kind),))
            rows = self.database.query(_IDENTITY_KEY)
        return str(rows[0][0])

    def replace_identity(self, private_pem: str) -> None:
        """Use this private key from now on; certificates made for the old one no longer fit.

        Raises:
            CertificateError: it is not a usable private key.
        """
        self.database.execute(_SAVE_KEY, (pki.check_private_key(private_pem),))

    def meshes(self) -> dict[str, MeshRow]:
        """Name to mesh, sorted by name.

        Raises:
            StorageError: a row is damaged.
        """
        rows = self.database.query("SELECT name, ca, agent, bootstraps FROM meshes ORDER BY name")
        return {name: self._mesh(name, ca, agent, bootstraps) for name, ca, agent, bootstraps in rows}

    def save_mesh(self, mesh: MeshRow) -> None:
        """Keep a mesh in place of an older one of that name."""
        bootstraps = ",".join(str(address) for address in mesh.bootstraps)
        self.database.execute(_SAVE_MESH, (mesh.name, mesh.ca, _agent_json(mesh), bootstraps))

    def delete_mesh(self, name: str) -> None:
        """Forget a mesh with its hubs, apps' states and apps' local files."""
        with self.database.transaction():
            self.database.execute("DELETE FROM meshes WHERE name = ?", (name,))
            self.database.execute("DELETE FROM mesh_hubs WHERE mesh = ?", (name,))
            self.database.execute("DELETE FROM apps WHERE mesh = ?", (name,))
            self.database.execute("DELETE FROM files WHERE mesh = ?", (name,))

    def hubs(self, mesh: str) -> dict[str, HubInfo]:
        """Hub id to what was last known of each hub of `mesh`.

        Raises:
            StorageError: a row is damaged.
        """
        rows = self.database.query("SELECT id, zone, info FROM mesh_hubs WHERE mesh = ? ORDER BY id", (mesh,))
        return {hub_id: self._hub(hub_id, zone, info) for hub_id, zone, info in rows}

    def save_hubs(self, mesh: str, hubs: Mapping[str, HubInfo], now: datetime) -> None:
        """Keep what is known of these hubs at `now`, and drop others of `mesh` not heard of for `HUBS_KEPT`."""
        seconds = int(now.timestamp())
        rows = [(mesh, hub_id, hub.zone, _hub_json(hub), seconds) for hub_id, hub in hubs.items()]
        oldest = int((now - HUBS_KEPT).timestamp())
        with self.database.transaction():
            self.database.execute_many(_SAVE_HUB, rows)
            self.database.execute("DELETE FROM mesh_hubs WHERE mesh = ? AND updated_at < ?", (mesh, oldest))

    def apps(self, mesh: str) -> tuple[AppRow, ...]:
        """The state of every app of `mesh` that was ever started or disabled, by name."""
        return tuple(AppRow(*(text or "" for text in row)) for row in self.database.query(_APPS, (mesh,)))

    def save_app_state(self, mesh: str, provider: str, name: str, tag: str, username: str, state: str) -> None:
        """Keep the wanted state of one app and who set it."""
        self.database.execute(_SAVE_APP, (mesh, provider, name, tag, username, state))

    def read_file(self, mesh: str, provider: str, app: str, path: str) -> bytes | None:
        """The content of an app's local file (`path` without ``/local/``), or None if there is none."""
        rows = self.database.query(_READ_FILE, (mesh, provider, app, path))
        if not rows:
            return None
        data = rows[0][0]
        return data.encode() if isinstance(data, str) else bytes(data or b"")

    def write_file(self, mesh: str, provider: str, app: str, path: str, data: bytes) -> None:
        """Create or replace an app's local file."""
        self.database.execute(_WRITE_FILE, (mesh, provider, app, path, data))

    def delete_file(self, mesh: str, provider: str, app: str, path: str) -> bool:
        """Delete an app's local file; whether there was one."""
        return self.database.execute(_DELETE_FILE, (mesh, provider, app, path)) > 0

    def list_files(self, mesh: str, provider: str, app: str) -> tuple[str, ...]:
        """The paths of an app's local files, sorted."""
        return tuple(path for (path,) in self.database.query(_LIST_FILES, (mesh, provider, app)))

    def _mesh(self, name: str, ca: str, agent: str, bootstraps: str) -> MeshRow:
        try:
            return _parse_mesh(name, ca, json.loads(agent), bootstraps)
        except (ValueError, TypeError, KeyError, UsageError):
            raise StorageError(
                f"the mesh {name!r} in {self.database.path} is damaged; leave and join it again"
            ) from None

    def _hub(self, hub_id: str, zone: str, info: str) -> HubInfo:
        try:
            value = json.loads(info)
            ports = tuple(Address.parse(port) for port in value["ports"])
            return HubInfo(hub_id, ports, zone, Version(**value["version"]))
        except (ValueError, TypeError, KeyError, UsageError):
            raise StorageError(f"the hub {hub_id} in {self.database.path} is damaged") from None


def _parse_mesh(name: str, ca: str | None, agent: dict[str, Any], bootstraps: str | None) -> MeshRow:
    return MeshRow(
        name=name,
        ca=ca or "",
        endpoint_id=agent["id"],
        endpoint_name=agent.get("name") or "",
        certificate=agent.get("certificate") or "",
        key=agent.get("privateKey") or None,
        labels=tuple(agent.get("labels") or ()),
        offline=bool(agent.get("offline")),
        bootstraps=tuple(Address.parse(text) for text in (bootstraps or "").split(",") if text.strip()),
    )


def _agent_json(mesh: MeshRow) -> str:
    agent: dict[str, Any] = {
        "id": mesh.endpoint_id,
        "name": mesh.endpoint_name,
        "certificate": mesh.certificate,
        "labels": mesh.labels,
        "offline": mesh.offline,
    }
    if mesh.key is not None:
        agent["privateKey"] = mesh.key
    return json.dumps(agent, ensure_ascii=False)


def _hub_json(hub: HubInfo) -> str:
    version = hub.version
    return json.dumps(
        {
            "ports": [str(port) for port in hub.ports],
            "version": {
                "edition": version.edition,
                "tag": version.tag,
                "commit": version.commit,
                "date": version.date,
            },
        }
    )


_IDENTITY_KEY = "SELECT CAST(data AS TEXT) FROM keys WHERE name = 'agent'"
_FIRST_KEY = """
    INSERT INTO keys (name, data) VALUES ('agent', ?)
    ON CONFLICT (name) DO UPDATE SET data = excluded.data WHERE keys.data IS NULL OR keys.data = ''"""
_SAVE_KEY = """
    INSERT INTO keys (name, data) VALUES ('agent', ?)
    ON CONFLICT (name) DO UPDATE SET data = excluded.data"""
_SAVE_MESH = """
    INSERT INTO meshes (name, ca, agent, bootstraps) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET ca = excluded.ca, agent = excluded.agent, bootstraps = excluded.bootstraps"""
_SAVE_HUB = """
    INSERT INTO mesh_hubs (mesh, id, zone, info, updated_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (mesh, id) DO UPDATE
    SET zone = excluded.zone, info = excluded.info, updated_at = excluded.updated_at"""
_APPS = "SELECT provider, name, tag, username, state FROM apps WHERE mesh = ? ORDER BY provider, name, tag"
_SAVE_APP = """
    INSERT INTO apps (mesh, provider, name, tag, username, state) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (mesh, provider, name, tag) DO UPDATE SET username = excluded.username, state = excluded.state"""
_READ_FILE = "SELECT data FROM files WHERE mesh = ? AND provider = ? AND app = ? AND path = ?"
_WRITE_FILE = """
    INSERT INTO files (mesh, provider, app, path, data) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (mesh, provider, app, path) DO UPDATE SET data = excluded.data"""
_DELETE_FILE = "DELETE FROM files WHERE mesh = ? AND provider = ? AND app = ? AND path = ?"
_LIST_FILES = "SELECT path FROM files WHERE mesh = ? AND provider = ? AND app = ? ORDER BY path"
