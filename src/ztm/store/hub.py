"""What a hub keeps: its authority and id, who owns which endpoint, permits, evictions, files' metadata, ACLs.

Tables and columns named in spec section 19 are v1's, so that a v1 data directory is taken over as it is;
the others are ours and v1 does not see them. Sessions and file sources live in memory only.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from ztm import model
from ztm.errors import StorageError, UsageError
from ztm.model import Acl, Eviction, FileInfo, Issued, Origin, Revocation
from ztm.pki import Authority
from ztm.store.database import Database
from ztm.store.files import secure_directory
from ztm.store.schema import HUB_MIGRATIONS

FILE_NAME = "ztm-hub.db"
"""v1's name (spec mesh-protocol 19)."""


class HubStore:
    """The hub's database in `directory`, which is made private.

    Every method raises `StorageError` when the database cannot be read or written; nothing was changed then.

    Raises:
        UsageError: `directory` is a regular file.
        StorageError: it cannot be created, opened or upgraded.

    Source: spec mesh-protocol 19.
    """

    def __init__(self, directory: Path) -> None:
        secure_directory(directory)
        self.database = Database(directory / FILE_NAME, HUB_MIGRATIONS)

    def close(self) -> None:
        """Close the database. Idempotent."""
        self.database.close()

    def authority(self) -> Authority | None:
        """The mesh's CA with its key, ours or taken over from v1; None before the first was saved.

        Raises:
            StorageError: one half is missing.
            CertificateError: what is stored is no CA.
        """
        certificate = self._value("SELECT CAST(data AS TEXT) FROM certificates WHERE name = ?", model.CA)
        key = self._value("SELECT CAST(data AS TEXT) FROM keys WHERE name = ?", model.CA)
        if not certificate and not key:
            return None
        if not certificate or not key:
            raise StorageError(f"{self.database.path} holds only half of the mesh's CA; restore it from a backup")
        return Authority(certificate, key)

    def save_authority(self, authority: Authority) -> None:
        """Keep the CA and its key."""
        with self.database.transaction():
            self.database.execute(_SAVE_CERTIFICATE, (model.CA, authority.certificate))
            self.database.execute(_SAVE_KEY, (model.CA, authority.key))

    def hub_id(self) -> str:
        """The hub's uuid: made on the first call, the same ever after."""
        for (name,) in self.database.query("SELECT name FROM keys WHERE name LIKE 'hub/%' ORDER BY name"):
            try:
                return model.check_uuid("hub", name.removeprefix(model.HUB_PREFIX))
            except UsageError:
                continue
        hub_id = str(uuid4())
        self.database.execute(_SAVE_KEY, (model.HUB_PREFIX + hub_id, ""))
        return hub_id

    def root_issued(self) -> bool:
        """Whether the root permit was created already."""
        return self._value("SELECT value FROM settings WHERE name = ?", "root_issued") == "yes"

    def mark_root_issued(self) -> None:
        """Note that the root permit was created."""
        self.database.execute(_SAVE_SETTING, ("root_issued", "yes"))

    def owners(self) -> dict[str, tuple[str, str]]:
        """Endpoint id to the (user, key fingerprint) that used it first."""
        rows = self.database.query("SELECT endpoint_id, username, fingerprint FROM owners")
        return {endpoint_id: (user, key) for endpoint_id, user, key in rows}

    def save_owner(self, endpoint_id: str, user: str, key: str) -> None:
        """Bind an endpoint id to a user and the fingerprint of the user's key."""
        self.database.execute(_SAVE_OWNER, (endpoint_id, user, key))

    def permits(self) -> list[Issued]:
        """What was signed for each key of each user, by user name."""
        return [
            Issued(
                user=user,
                key=key,
                not_before=begin,
                not_after=end,
                time=time,
                origin=Origin(origin),
                ends=ends,
                latest=latest,
            )
            for user, key, begin, end, time, origin, ends, latest in self.database.query(_PERMITS)
        ]

    def save_permit(self, issued: Issued) -> None:
        """Keep what was signed in place of an older one for the same key of the same user."""
        dates = issued.not_before, issued.not_after, issued.time, issued.origin, issued.ends
        latest = max(issued.latest, issued.not_after)
        self.database.execute(_SAVE_PERMIT, (issued.user, issued.key, *dates, latest))

    def delete_permits(self, gone: Iterable[tuple[str, str]]) -> None:
        """Forget what was signed for these keys, each as (user, fingerprint); all or none."""
        self.database.execute_many("DELETE FROM permits WHERE username = ? AND fingerprint = ?", gone)

    def revocations(self) -> list[Revocation]:
        """Every key that is revoked."""
        return [Revocation(*row) for row in self.database.query(_REVOCATIONS)]

    def save_revocation(self, revocation: Revocation) -> None:
        """Keep a revocation in place of an older one of the same key."""
        self.database.execute(_SAVE_REVOCATION, (revocation.key, revocation.time, revocation.expiration))

    def delete_revocations(self, keys: Iterable[str]) -> None:
        """Forget the revocations of these keys, all or none."""
        self.database.execute_many("DELETE FROM revocations WHERE fingerprint = ?", [(key,) for key in keys])

    def keys_of(self, user: str) -> tuple[str, ...]:
        """Fingerprints of every key that `user` was seen with, sorted."""
        rows = self.database.query(_KEYS_OF, (user, user))
        return tuple(key for (key,) in rows)

    def evictions(self) -> list[Eviction]:
        """Every eviction, by user name."""
        keys: dict[str, list[str]] = {}
        for user, key in self.database.query("SELECT username, fingerprint FROM eviction_keys ORDER BY fingerprint"):
            keys.setdefault(user, []).append(key)
        rows = self.database.query(_EVICTIONS)
        return [Eviction(user, int(time), int(end), tuple(keys.get(user, ()))) for user, time, end in rows]

    def save_eviction(self, eviction: Eviction) -> None:
        """Keep an eviction in place of an older one of the same user."""
        with self.database.transaction():
            self.database.execute(_SAVE_EVICTION, (eviction.user, eviction.time, eviction.expiration))
            self.database.execute("DELETE FROM eviction_keys WHERE username = ?", (eviction.user,))
            rows = [(eviction.user, key) for key in sorted(set(eviction.keys))]
            self.database.execute_many("INSERT INTO eviction_keys (username, fingerprint) VALUES (?, ?)", rows)

    def delete_eviction(self, user: str) -> None:
        """Forget the eviction of `user`, if there is one."""
        with self.database.transaction():
            self.database.execute("DELETE FROM evictions WHERE username = ?", (user,))
            self.database.execute("DELETE FROM eviction_keys WHERE username = ?", (user,))

    def files(self) -> dict[str, FileInfo]:
        """Path to metadata of every file known, deletions included, without sources."""
        rows = self.database.query(_FILES)
        return {path: FileInfo(sha256, int(size), int(time), int(since)) for path, sha256, size, time, since in rows}

    def save_files(self, files: Mapping[str, FileInfo]) -> None:
        """Keep the metadata of these paths, all or none."""
        rows = [(path, info.hash, info.size, info.time_ms, info.since_ms) for path, info in files.items()]
        self.database.execute_many(_SAVE_FILE, rows)

    def acls(self) -> dict[str, Acl]:
        """Path to ACL.

        Raises:
            StorageError: a row is damaged.
        """
        rows = self.database.query("SELECT path, access, since FROM acl")
        return {path: self._acl(path, access, since) for path, access, since in rows}

    def save_acls(self, acls: Sequence[Acl]) -> None:
        """Keep these ACLs in place of older ones of the same paths, all or none."""
        rows = [(acl.path, json.dumps({"all": acl.all, "users": acl.users}), acl.since_ms) for acl in acls]
        self.database.execute_many(_SAVE_ACL, rows)

    def _acl(self, path: str, access: str, since: int | None) -> Acl:
        try:
            value = json.loads(access)
            return Acl(path, value.get("all") or "", dict(value.get("users") or {}), int(since or 0))
        except (ValueError, TypeError, AttributeError):
            raise StorageError(f"the ACL of {path} in {self.database.path} is damaged") from None

    def _value(self, sql: str, name: str) -> str:
        rows = self.database.query(sql, (name,))
        return str(rows[0][0] or "") if rows else ""


_SAVE_CERTIFICATE = """
    INSERT INTO certificates (name, data) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET data = excluded.data"""
_SAVE_KEY = """
    INSERT INTO keys (name, data) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET data = excluded.data"""
_SAVE_SETTING = """
    INSERT INTO settings (name, value) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
_SAVE_OWNER = """
    INSERT INTO owners (endpoint_id, username, fingerprint) VALUES (?, ?, ?)
    ON CONFLICT (endpoint_id) DO UPDATE SET username = excluded.username, fingerprint = excluded.fingerprint"""
_PERMITS = """
    SELECT username, fingerprint, not_before, not_after, issued_at, origin, ends_at, latest FROM permits
    ORDER BY username, issued_at, fingerprint"""
_SAVE_PERMIT = """
    INSERT INTO permits (username, fingerprint, not_before, not_after, issued_at, origin, ends_at, latest)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (username, fingerprint) DO UPDATE
    SET not_before = excluded.not_before, not_after = excluded.not_after, issued_at = excluded.issued_at,
        origin = excluded.origin, ends_at = excluded.ends_at, latest = excluded.latest"""
_REVOCATIONS = "SELECT fingerprint, revoked_at, expires_at FROM revocations ORDER BY fingerprint"
_SAVE_REVOCATION = """
    INSERT INTO revocations (fingerprint, revoked_at, expires_at) VALUES (?, ?, ?)
    ON CONFLICT (fingerprint) DO UPDATE SET revoked_at = excluded.revoked_at, expires_at = excluded.expires_at"""
_KEYS_OF = """
    SELECT fingerprint FROM permits WHERE username = ?
    UNION SELECT fingerprint FROM owners WHERE username = ?
    ORDER BY fingerprint"""
_EVICTIONS = """
    SELECT username, evicted_at, COALESCE(expires_at, evicted_at + 31536000) FROM evictions
    WHERE evicted_at IS NOT NULL ORDER BY username"""
_SAVE_EVICTION = """
    INSERT INTO evictions (username, evicted_at, expires_at) VALUES (?, ?, ?)
    ON CONFLICT (username) DO UPDATE SET evicted_at = excluded.evicted_at, expires_at = excluded.expires_at"""
_FILES = """
    SELECT path, hash, size, time, COALESCE(since, 0) FROM files
    WHERE hash IS NOT NULL AND size IS NOT NULL AND time IS NOT NULL"""
_SAVE_FILE = """
    INSERT INTO files (path, hash, size, time, since) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (path) DO UPDATE
    SET hash = excluded.hash, size = excluded.size, time = excluded.time, since = excluded.since"""
_SAVE_ACL = """
    INSERT INTO acl (path, access, since) VALUES (?, ?, ?)
    ON CONFLICT (path) DO UPDATE SET access = excluded.access, since = excluded.since"""
