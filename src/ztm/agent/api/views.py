"""The JSON of meshes in the local API, by v1's field names, with what ours adds. Source: spec agent-api 3 and 4.

It holds no private key in any answer.
"""

from typing import Annotated

import msgspec

from ztm.agent.mesh import Mesh
from ztm.agent.state import State
from ztm.model import Permit

MAX_LABELS = 64
"""Labels of one endpoint: as many as a hub keeps."""

Label = Annotated[str, msgspec.Meta(max_length=256)]
Labels = Annotated[list[Label], msgspec.Meta(max_length=MAX_LABELS)]


class Build(msgspec.Struct, omit_defaults=True):
    """The version of one program."""

    edition: str | None = None
    tag: str | None = None
    commit: str | None = None
    date: str | None = None


class VersionView(msgspec.Struct, omit_defaults=True):
    """What a process runs: ztm, and what that runs on by v1's word for it."""

    ztm: Build | None = None
    pipy: Build | None = None
    warnings: list[str] = []
    """What is unsafe in how this agent was started, for people."""


class MeshAgent(msgspec.Struct):
    """The endpoint of a joined mesh."""

    id: str
    name: str
    username: str
    certificate: str
    labels: list[str]
    offline: bool


class MeshError(msgspec.Struct):
    """One kind of failure since the last success; repeats are one, with the time of the last."""

    time: str
    message: str
    count: int = 1


class MeshView(msgspec.Struct, rename={"last_error": "lastError"}):
    """A joined mesh."""

    name: str
    ca: str
    agent: MeshAgent
    bootstraps: list[str]
    connected: bool
    state: str
    """connecting, connected, offline, evicted, refused, full, bad permit or unreachable."""
    errors: list[MeshError]
    last_error: str = ""


class AgentSettings(msgspec.Struct):
    """What a permit, or a change of settings, says about the endpoint."""

    name: str | None = None
    certificate: str | None = None
    privateKey: str | None = None  # noqa: N815 (v1's field)
    labels: list[str] | None = None
    offline: bool | None = None

    def __repr__(self) -> str:
        return f"AgentSettings(name={self.name!r}, labels={self.labels!r}, offline={self.offline!r})"


class MeshSettings(msgspec.Struct):
    """Body of a POST to a mesh; fields left out keep what is stored."""

    ca: str | None = None
    agent: AgentSettings | None = None
    bootstraps: list[str] | None = None


class PermitAgent(msgspec.Struct):
    """The certificate that a user was given."""

    certificate: str


class PermitView(msgspec.Struct):
    """What a user joins with."""

    ca: str
    agent: PermitAgent
    bootstraps: list[str]


class LogLine(msgspec.Struct):
    """One line of a log."""

    time: str
    message: str
    type: str = "info"


def mesh_view(mesh: Mesh) -> MeshView:
    """A mesh as the API shows it."""
    row, health = mesh.row, mesh.health
    return MeshView(
        name=mesh.name,
        ca=row.ca,
        agent=MeshAgent(row.endpoint_id, row.endpoint_name, mesh.user, row.certificate, list(row.labels), row.offline),
        bootstraps=[str(address) for address in row.bootstraps],
        connected=health.state is State.CONNECTED,
        state=str(health.state),
        errors=[MeshError(time, message, count) for time, message, count in mesh.standing.errors],
        last_error=health.reason,
    )


def permit_view(permit: Permit) -> PermitView:
    """A user's permit; one that holds a key is never shown."""
    return PermitView(permit.ca, PermitAgent(permit.certificate), [str(each) for each in permit.bootstraps])
