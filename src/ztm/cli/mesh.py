"""Meshes: joining and leaving them, and how they are shown.

Whether a mesh is connected is the agent's word; nothing is guessed here.
"""

import sys
from typing import Any

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import Context, attempting
from ztm.cli.objects import Description, Listing
from ztm.errors import DeadlineError, RefusedError

WAIT = 30
"""Seconds that `ztm join` waits for the hub unless it is told otherwise."""
POLL = 0.1
"""Seconds between two looks at the state while joining."""
FINAL = frozenset({"evicted", "refused", "full", "bad permit", "offline"})
"""States that waiting longer does not mend."""


def join(context: Context, arguments: Arguments) -> None:
    """Join a mesh by a permit and wait until its hub has accepted this endpoint.

    Raises:
        RefusedError: the hub will not have us, as far as the agent can tell.
        DeadlineError: not connected in the time allowed.
    """
    from ztm.cli.permit import read_permit, settings_for
    from ztm.cli.resolve import mesh_path
    from ztm.model import check_name

    name = check_name("mesh", arguments.word("mesh name"))
    endpoint = check_name("endpoint", arguments.require("--as", "endpoint name"))
    limit = arguments.number("--timeout", WAIT, 1)
    permit = read_permit(arguments.require("--permit", "permit file"))
    with attempting(f"cannot join mesh '{name}'"):
        context.client.request("POST", mesh_path(name), settings_for(permit, endpoint))
    if not arguments.flag("--no-wait"):
        joined = _wait(context, name, limit)
        context.out(f"Connected to mesh {name} as {joined['agent']['name']} (endpoint {joined['agent']['id']})")


def _wait(context: Context, name: str, limit: float) -> dict[str, Any]:
    from ztm.cli.resolve import named_mesh

    deadline = context.now() + limit
    told = ""
    while True:
        mesh = named_mesh(context.client, name)
        state, reason = state_of(mesh), reason_of(mesh)
        if state == "connected":
            return mesh
        if state in FINAL:
            raise RefusedError(f"mesh '{name}' is not connected: {reason or state}; {_undo(name)}")
        if context.now() >= deadline:
            why = reason or state
            raise DeadlineError(
                f"mesh '{name}' is not connected after {limit:g} s: {why}; the agent keeps trying; {_undo(name)}"
            )
        if reason != told and sys.stderr.isatty():
            from ztm.cli.output import complain

            complain(f"waiting for mesh '{name}': {reason}")
        told = reason
        context.sleep(POLL)


def _undo(name: str) -> str:
    return f"see 'ztm get mesh', or undo with 'ztm leave {name}'"


def leave(context: Context, arguments: Arguments) -> None:
    """Forget a mesh; its hub and the other endpoints are told by the closed session only.

    Raises:
        NotFoundError: it was not joined.
    """
    from ztm.cli.resolve import mesh_path, named_mesh

    name = arguments.word("mesh name")
    named_mesh(context.client, name)
    with attempting(f"cannot leave mesh '{name}'"):
        context.client.request("DELETE", mesh_path(name))


def state_of(mesh: dict[str, Any]) -> str:
    """The state of a mesh object; an agent that gives none is taken by its older fields."""
    if mesh.get("state"):
        return str(mesh["state"])
    if mesh["agent"].get("offline"):
        return "offline"
    return "connected" if mesh.get("connected") else "connecting"


def reason_of(mesh: dict[str, Any]) -> str:
    """Why a mesh is not connected, or an empty text if nothing is known."""
    state, errors = state_of(mesh), mesh.get("errors") or ()
    last = str(mesh.get("lastError") or (errors[0].get("message") if errors else "") or "")
    if state in ("connecting", "offline") or not last:
        return last
    return last if state in last.lower() else f"{state}: {last}"


def status_of(mesh: dict[str, Any]) -> str:
    """The STATUS cell: ``Connected``, ``Offline``, ``Connecting`` or ``ERROR: reason`` (spec cli 10)."""
    state = state_of(mesh)
    if state == "connected":
        return "Connected"
    if mesh["agent"].get("offline"):
        return "Offline"
    reason = reason_of(mesh)
    if reason or state != "connecting":
        return f"ERROR: {reason or state}"
    return "Connecting"


def listing(context: Context, name: str) -> Listing:
    """The joined meshes, or the one called `name`."""
    meshes = context.client.request("GET", "/api/meshes") or []
    return Listing([mesh for mesh in meshes if name in ("", mesh["name"])], HEADINGS, _row)


HEADINGS = ("NAME", "JOINED AS", "USER", "HUBS", "STATUS")


def _row(mesh: dict[str, Any]) -> tuple[object, ...]:
    agent = mesh["agent"]
    return mesh["name"], agent.get("name"), agent.get("username"), ",".join(mesh["bootstraps"]), status_of(mesh)


def description(context: Context, name: str) -> Description:
    """All about the mesh called `name`.

    Raises:
        NotFoundError: it was not joined.
    """
    from ztm.cli.resolve import named_mesh

    mesh = named_mesh(context.client, name)
    agent = mesh["agent"]
    lines = [f"Mesh: {mesh['name']}", "Hubs:", *(f"  {hub}" for hub in mesh["bootstraps"])]
    lines += ["Agent:", f"  Endpoint ID: {agent['id']}", f"  Endpoint Name: {agent.get('name', '')}"]
    lines += [f"  User Name: {agent.get('username') or ''}"]
    lines += [f"CA Certificate:\n{mesh.get('ca') or ''}", f"User Certificate:\n{agent.get('certificate') or ''}"]
    lines += [f"Status: {status_of(mesh)}"]
    if mesh.get("errors"):
        lines += ["Errors:", *(f"  {error.get('time')} {error.get('message')}" for error in mesh["errors"])]
    return Description(mesh, "\n".join(lines))


COMMANDS = (
    Command(
        usage="join <mesh name>",
        title="Join a mesh by a permit",
        run=join,
        local=True,
        options=(
            Option("--as", "<ep name>", "Name of this endpoint in the mesh"),
            Option("--permit", "<file>", "Permit file, or - for standard input", "-p"),
            Option("--timeout", "<seconds>", f"How long to wait until connected (default {WAIT})"),
            Option("--no-wait", "", "Return as soon as the agent has stored the settings"),
        ),
        notes="The mesh name is your own choice, used on this machine only.",
    ),
    Command(usage="leave <mesh name>", title="Leave a mesh", run=leave, local=True),
)
