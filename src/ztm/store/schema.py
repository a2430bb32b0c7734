"""The tables of hub and agent, as lists of migrations; only ever appended to.

v1's tables come first, as v1 names them (spec mesh-protocol 19): where a v1 database is opened they are
there already and keep their rows. Their keys are made unique so that upserts find them; of rows that
share a key the last one written stays. Columns are never added to v1's tables, so that v1 can still
open what we leave.
"""


def _unique(table: str, *columns: str) -> tuple[str, str]:
    key = ", ".join(columns)
    return (
        f"DELETE FROM {table} WHERE rowid NOT IN (SELECT max(rowid) FROM {table} GROUP BY {key})",  # noqa: S608
        f"CREATE UNIQUE INDEX IF NOT EXISTS {table}_key ON {table} ({key})",
    )


_HUB_V1 = (
    "CREATE TABLE IF NOT EXISTS certificates (name TEXT PRIMARY KEY, data TEXT)",
    "CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, data TEXT)",
    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, hash TEXT, size BIGINT, time BIGINT, since BIGINT)",
    "CREATE TABLE IF NOT EXISTS acl (path TEXT PRIMARY KEY, access TEXT, since BIGINT)",
    "CREATE TABLE IF NOT EXISTS evictions (username TEXT PRIMARY KEY, evicted_at BIGINT, expires_at BIGINT)",
    *_unique("certificates", "name"),
    *_unique("keys", "name"),
    *_unique("files", "path"),
    *_unique("acl", "path"),
    *_unique("evictions", "username"),
)
_HUB_OWN = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE owners (endpoint_id TEXT PRIMARY KEY, username TEXT NOT NULL, fingerprint TEXT NOT NULL)",
    "CREATE INDEX owners_username ON owners (username)",
    """CREATE TABLE issued (username TEXT NOT NULL, fingerprint TEXT NOT NULL, not_before BIGINT NOT NULL,
       PRIMARY KEY (username, fingerprint))""",
    """CREATE TABLE eviction_keys (username TEXT NOT NULL, fingerprint TEXT NOT NULL,
       PRIMARY KEY (username, fingerprint))""",
)
_HUB_PERMITS = (
    """CREATE TABLE permits (username TEXT NOT NULL, fingerprint TEXT NOT NULL, not_before BIGINT NOT NULL,
       not_after BIGINT NOT NULL, issued_at BIGINT NOT NULL, origin TEXT NOT NULL, ends_at BIGINT,
       latest BIGINT NOT NULL, PRIMARY KEY (username, fingerprint))""",
    # until now all that a hub signed itself was valid for 365 days
    """INSERT INTO permits SELECT username, fingerprint, not_before, not_before + 31536000, not_before, '', NULL,
       not_before + 31536000 FROM issued""",
    "DROP TABLE issued",
    "CREATE TABLE revocations (fingerprint TEXT PRIMARY KEY, revoked_at BIGINT NOT NULL, expires_at BIGINT NOT NULL)",
)
HUB_MIGRATIONS = ((*_HUB_V1, *_HUB_OWN), _HUB_PERMITS)
"""Version 1: v1's tables and our own. Version 2: permits with their dates, and those that are revoked."""

_AGENT_V1 = (
    "CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, data TEXT)",
    "CREATE TABLE IF NOT EXISTS meshes (name TEXT PRIMARY KEY, ca TEXT, agent TEXT, bootstraps TEXT)",
    "CREATE TABLE IF NOT EXISTS apps (mesh TEXT, name TEXT, tag TEXT, provider TEXT, username TEXT, state TEXT)",
    "CREATE TABLE IF NOT EXISTS files (mesh TEXT, provider TEXT, app TEXT, path TEXT, data BLOB)",
    *_unique("keys", "name"),
    *_unique("meshes", "name"),
    "UPDATE apps SET tag = COALESCE(tag, ''), provider = COALESCE(provider, '')",
    *_unique("apps", "mesh", "provider", "name", "tag"),
    *_unique("files", "mesh", "provider", "app", "path"),
)
_AGENT_OWN = (
    """CREATE TABLE mesh_hubs (mesh TEXT NOT NULL, id TEXT NOT NULL, zone TEXT NOT NULL, info TEXT NOT NULL,
       updated_at BIGINT NOT NULL, PRIMARY KEY (mesh, id))""",
)
AGENT_MIGRATIONS = ((*_AGENT_V1, *_AGENT_OWN),)
"""Version 1: v1's tables (without `hubs`, which mixes the meshes: spec cli 14 no. 33) and our own."""
