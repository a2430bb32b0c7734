"""What an app for ztm is written with: ``from ztm_app import App``.

An app runs in a process of its own, confined, and reaches the mesh only through the agent and only as its
manifest's permissions say. Tests of an app use `ztm_app.testing`; nothing else below this package is for apps.
"""

from ztm.apps.base import Place
from ztm.apps.grammar import Option
from ztm.errors import (
    BrokenStreamError,
    ConflictError,
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
    UsageError,
    ZtmError,
)
from ztm.model import Endpoint, Peer
from ztm.rest.message import Response
from ztm.wire.processes import FileRecord
from ztm_app.app import App
from ztm_app.commands import CommandContext
from ztm_app.host import Port
from ztm_app.mesh import Files, Mesh
from ztm_app.replies import Reply, Request
from ztm_app.routes import PeerRoutes, Routes
from ztm_app.streams import Incoming, Stream

__all__ = [
    "App",
    "BrokenStreamError",
    "CommandContext",
    "ConflictError",
    "DeadlineError",
    "Endpoint",
    "FileRecord",
    "Files",
    "ForbiddenError",
    "Incoming",
    "Mesh",
    "NotFoundError",
    "Option",
    "Peer",
    "PeerRoutes",
    "Place",
    "Port",
    "Reply",
    "Request",
    "Response",
    "Routes",
    "Stream",
    "UnreachableError",
    "UsageError",
    "ZtmError",
]
