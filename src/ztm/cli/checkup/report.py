"""What can be told of this machine's agent and its meshes, gathered for `ztm status` and `ztm doctor`.

Every part is asked for a bounded time, and what cannot be had is None; nothing is judged here (see `problems`) and
nothing is changed. Private keys are never asked for.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ztm.cli.checkup.certificate import facts, utc_now
from ztm.cli.context import Context
from ztm.cli.failures import AgentUnreachableError
from ztm.cli.mesh import reason_of, state_of
from ztm.cli.resolve import mesh_path, named_mesh
from ztm.cli.settings import effective
from ztm.errors import CertificateError, DeadlineError, UsageError, ZtmError
from ztm.wire.paths import encode

if TYPE_CHECKING:
    from ztm.cli.client import AgentClient

PATIENCE = 5.0
"""Seconds to wait for one answer: status is asked for when something hangs."""
MESHES_AT_ONCE = 8
"""Meshes asked about at the same time."""

T = TypeVar("T")
Object = dict[str, Any]


def gather(context: Context) -> Object:
    """All that is known; ``agent.error`` says why there is nothing of the agent, if so.

    Raises:
        NotFoundError: the mesh that was named is not joined.
        UsageError: the setting of the agent's address is malformed.
    """
    from ztm.cli.checkup.services import services
    from ztm.cli.version import version_object

    agent, meshes = _agent(context)
    return {
        "cli": version_object()["ztm"],
        "agent": agent,
        "services": [one.as_object() for one in services()],
        "meshes": meshes,
    }


def _agent(context: Context) -> tuple[Object, list[Object]]:
    setting = effective("agent")
    agent: Object = {"address": setting.value, "source": setting.source, "reachable": False, "error": ""}
    try:
        version = context.client.request("GET", "/api/version", timeout=PATIENCE) or {}
        joined = _joined(context)
    except UsageError:
        raise
    except ZtmError as error:
        if _is_about_a_name(context, error):
            raise
        return {**agent, "error": str(error), "refused": not isinstance(error, AgentUnreachableError)}, []
    build = version.get("ztm") or {}
    agent |= {"reachable": True, "version": build, "warnings": list(version.get("warnings") or ())}
    return agent, _each(joined, lambda one: _mesh(context.client, one))


def _is_about_a_name(context: Context, error: ZtmError) -> bool:
    return bool(context.named_mesh) and error.status == 404


def _joined(context: Context) -> list[Object]:
    if context.named_mesh:
        return [named_mesh(context.client, context.named_mesh)]
    found: list[Object] = context.client.request("GET", "/api/meshes", timeout=PATIENCE) or []
    return found


class _Asker:
    """Asks about one mesh; once an answer has not come in time, nothing more is asked."""

    def __init__(self, client: "AgentClient", mesh: str) -> None:
        self._client = client
        self._path = mesh_path(mesh)
        self._is_silent = False

    def ask(self, path: str) -> Any:
        """The answer to a GET below the mesh's path, or None if there is none to be had."""
        if self._is_silent:
            return None
        try:
            return self._client.request("GET", self._path + path, timeout=PATIENCE)
        except DeadlineError:
            self._is_silent = True
        except ZtmError:
            pass
        return None


def _each(joined: list[Object], ask: Callable[[Object], Object]) -> list[Object]:
    """`ask` of every mesh, a few at a time, so that one that hangs delays no other."""
    if len(joined) < 2:
        return [ask(one) for one in joined]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(joined), MESHES_AT_ONCE)) as pool:
        return list(pool.map(ask, joined))


def _mesh(client: "AgentClient", mesh: Object) -> Object:
    asker, own = _Asker(client, mesh["name"]), mesh["agent"]
    found: Object = {
        "name": mesh["name"],
        "state": state_of(mesh),
        "reason": reason_of(mesh),
        "endpoint": {"id": own["id"], "name": own.get("name") or ""},
        "user": own.get("username") or "",
        "bootstraps": list(mesh.get("bootstraps") or ()),
        "hub": None,
        "clockSkewMs": None,
        "certificate": _certificate(own.get("certificate")),
        **_work(asker, own["id"]),
    }
    if found["state"] == "connected":
        found |= _hub(asker, own["id"])
    return found


def _certificate(pem: object) -> Object | None:
    try:
        return facts(str(pem)).as_object(utc_now()) if pem else None
    except CertificateError:
        return None


def _hub(asker: _Asker, own_id: str) -> Object:
    """The attached hub, how long a question to it takes, and how far its clock is from ours."""
    hubs: Object = asker.ask("/hubs") or {}
    attached = [(id_, one) for id_, one in hubs.items() if one.get("connected")]
    hops = asker.ask(f"/ping/endpoints/{encode(own_id)}") or []
    ping, skew = measured(hops)
    if not attached:
        return {"clockSkewMs": skew}
    id_, hub = attached[0]
    shown = {"id": id_, "ports": list(hub.get("ports") or ()), "version": (hub.get("version") or {}).get("ztm") or {}}
    return {"hub": {**shown, "pingMs": ping}, "clockSkewMs": skew}


def measured(hops: list[Mapping[str, Any]]) -> tuple[int | None, int | None]:
    """The time to the hub and back, and the hub's clock less ours, in ms, of a ping's first two hops.

    The skew is right to within half of the time to the hub and back.
    """
    if len(hops) < 2 or any(hop.get(end) is None for hop in hops[:2] for end in ("start", "end")):
        return None, None
    own, hub = hops[0], hops[1]
    if "hub" not in hub:
        return None, None
    ping = max(0, (own["end"] - own["start"]) - (hub["end"] - hub["start"]))
    return ping, round((hub["start"] + hub["end"] - own["start"] - own["end"]) / 2)


def _work(asker: _Asker, own_id: str) -> Object:
    """The apps that run here, and the tunnel ends here."""
    apps = asker.ask(f"/endpoints/{encode(own_id)}/apps")
    running = None if apps is None else [f"{one['provider']}/{one['name']}" for one in apps if one.get("isRunning")]
    if running is not None and "ztm/tunnel" not in running:
        return {"apps": running, "tunnels": None}
    ends = [
        _end(kind, one)
        for kind in ("inbound", "outbound")
        for one in asker.ask(f"/apps/ztm/tunnel/api/endpoints/{encode(own_id)}/{kind}") or ()
    ]
    failed = [end for end in ends if end["reason"]]
    return {"apps": running, "tunnels": {"open": len(ends) - len(failed), "failed": failed}}


def _end(kind: str, end: Object) -> Object:
    """One end of a tunnel, and why it does not work, if so: a listen that is not open, a target not reached."""
    parts = end.get("listens" if kind == "inbound" else "targets") or ()
    reasons = [_reason(part) for part in parts]
    reason = next(filter(None, reasons), "")
    if kind == "outbound" and not all(reasons):
        reason = ""  # another target still serves it
    return {"kind": kind, "name": f"{end['protocol']}/{end['name']}", "reason": reason}


def _reason(part: Object) -> str:
    error = part.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    if error or part.get("open") is False:
        where = f"{part.get('ip') or part.get('host')}:{part.get('port')}"
        return f"{where}: {error}" if error else f"{where} is not open"
    return ""
