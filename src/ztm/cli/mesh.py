"""Meshes, as `ztm get` and `ztm describe` show them.

Whether a mesh is connected is the agent's word; nothing is guessed here. Joining and leaving is in `membership`.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.formats import Description, Listing
from ztm.cli.context import Context

HEADINGS = ("NAME", "JOINED AS", "USER", "HUBS", "STATUS")
WIDE = ("STATE", "ENDPOINT ID", "CERTIFICATE DAYS")


def state_of(mesh: Mapping[str, Any]) -> str:
    """The state of a mesh object; an agent that gives none is taken by its older fields."""
    if mesh.get("state"):
        return str(mesh["state"])
    if mesh["agent"].get("offline"):
        return "offline"
    return "connected" if mesh.get("connected") else "connecting"


def reason_of(mesh: Mapping[str, Any]) -> str:
    """Why a mesh is not connected, or an empty text if nothing is known."""
    state, errors = state_of(mesh), mesh.get("errors") or ()
    last = str(mesh.get("lastError") or (errors[0].get("message") if errors else "") or "")
    if state in ("connecting", "offline") or not last:
        return last
    return last if state in last.lower() else f"{state}: {last}"


def status_of(mesh: Mapping[str, Any]) -> str:
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
    chosen = [mesh for mesh in meshes if name in ("", mesh["name"])]
    return Listing(chosen, HEADINGS, _row, wide=WIDE, wide_row=_wide_row)


def _row(mesh: Mapping[str, Any]) -> tuple[object, ...]:
    agent = mesh["agent"]
    return mesh["name"], agent.get("name"), agent.get("username"), ",".join(mesh["bootstraps"]), status_of(mesh)


def _wide_row(mesh: Mapping[str, Any]) -> tuple[object, ...]:
    return state_of(mesh), mesh["agent"].get("id"), _days_left(mesh["agent"].get("certificate") or "")


def _days_left(certificate: str) -> int | None:
    """Whole days until a certificate expires; None if there is none, or none that can be read."""
    from ztm.cli.checkup.certificate import facts, utc_now
    from ztm.errors import CertificateError

    try:
        return facts(certificate).days_left(utc_now()) if certificate else None
    except CertificateError:
        return None


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
        lines += ["Errors:", *(f"  {error.get('time')} {_error(error)}" for error in mesh["errors"])]
    return Description(mesh, "\n".join(lines), str(mesh["name"]))


def _error(error: Mapping[str, Any]) -> str:
    times = error.get("count") or 1
    return f"{error.get('message')}{f' ({times} times)' if times > 1 else ''}"
