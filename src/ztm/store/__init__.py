"""What hub and agent keep on disk: private files, one SQLite database each, typed rows.

A call that returns has its data on disk; one that raises `StorageError` has changed nothing. Everything
is synchronous and safe to call from any thread. No decision about the mesh is made here.
"""

from ztm.store.agent import AgentStore, AppRow, MeshRow
from ztm.store.database import Database
from ztm.store.files import secure_directory, write_private
from ztm.store.hub import HubStore

__all__ = ["AgentStore", "AppRow", "Database", "HubStore", "MeshRow", "secure_directory", "write_private"]
