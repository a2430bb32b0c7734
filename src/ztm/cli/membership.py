"""Being in meshes: joining, leaving, being in one for a while only, and by which hub.

Whether a mesh is connected is the agent's word; nothing is guessed here. How meshes are shown is in `mesh`.
"""

from typing import Any

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import YES, Context, attempting
from ztm.cli.waiting import WAIT, await_connection, comes_true
from ztm.errors import ConflictError, DeadlineError, NotFoundError, RefusedError


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
    permit = read_permit(arguments.require("--permit", "permit file"))
    with attempting(f"cannot join mesh '{name}'"):
        context.client.request("POST", mesh_path(name), settings_for(permit, endpoint))
    if not arguments.flag(NO_WAIT.name):
        await_connection(context, name, f"see 'ztm get mesh', or undo with 'ztm leave {name}'")


def leave(context: Context, arguments: Arguments) -> None:
    """Forget a mesh; its hub and the other endpoints are told by the closed session only.

    Raises:
        NotFoundError: it was not joined.
    """
    from ztm.cli.resolve import mesh_path, named_mesh

    name, keeps = arguments.word("mesh name"), arguments.flag("--keep-data")
    mesh = named_mesh(context.client, name)
    lost = "its settings and this endpoint's certificate" + ("" if keeps else ", files and apps")
    context.confirm(f"Leave mesh '{name}' (endpoint '{mesh['agent'].get('name', '')}'), deleting {lost}?", arguments)
    with attempting(f"cannot leave mesh '{name}'"):
        context.client.request("DELETE", mesh_path(name) + ("?keepData=true" if keeps else ""))
    if keeps:
        context.out(
            f"Left mesh {name}; its files and apps stay in the agent's data directory (meshes/{name}) "
            f"and are found again when a mesh is joined as {name}"
        )


def enable(context: Context, arguments: Arguments) -> None:
    """Connect to a disabled mesh again, by a new permit if one is given, and wait until it is connected.

    Raises:
        NotFoundError: it was not joined, or the permit file cannot be read.
        ConflictError: its permit was erased, and no other is given.
        RefusedError: the hub will not have us, as far as the agent can tell.
        DeadlineError: not connected in the time allowed.
    """
    from ztm.cli.permit import read_permit, settings_for
    from ztm.cli.resolve import mesh_path, named_mesh

    name, file = arguments.word("mesh name"), arguments.value("--permit")
    permit = read_permit(file) if file else None
    mesh = named_mesh(context.client, name)
    agent: dict[str, Any] = {"offline": False}
    changes: dict[str, Any] = {"agent": agent}
    if permit is not None:
        given = settings_for(permit, mesh["agent"].get("name", ""))
        agent |= {key: given["agent"][key] for key in ("certificate", "privateKey") if key in given["agent"]}
        changes["ca"] = given["ca"]
    elif not mesh["agent"].get("certificate"):
        raise ConflictError(f"mesh '{name}' has no permit, as it was erased: give one with 'ztm enable mesh -p FILE'")
    with attempting(f"cannot enable mesh '{name}'"):
        context.client.request("POST", mesh_path(name), changes)
    if not arguments.flag(NO_WAIT.name):
        await_connection(context, name, f"see 'ztm get mesh', or undo with 'ztm disable mesh {name}'")


def disable(context: Context, arguments: Arguments) -> None:
    """Disconnect from a mesh until it is enabled again, and erase its permit if that is asked for.

    Raises:
        NotFoundError: it was not joined.
        RefusedError: the agent left it as it is.
    """
    from ztm.cli.resolve import mesh_path, named_mesh

    name, erases = arguments.word("mesh name"), arguments.flag("--erase-permit")
    named_mesh(context.client, name)
    if erases:
        context.confirm(f"Erase the permit of mesh '{name}'? Only a new one brings it back", arguments)
    agent: dict[str, Any] = {"offline": True, **({"certificate": ""} if erases else {})}
    with attempting(f"cannot disable mesh '{name}'"):
        mesh = context.client.request("POST", mesh_path(name), {"agent": agent}) or {}
    left = mesh.get("agent") or {}
    if left.get("offline") is False or (erases and left.get("certificate")):
        raise RefusedError(f"mesh '{name}' is not disabled: the agent left it as it is")


def attach(context: Context, arguments: Arguments) -> None:
    """Leave the hub that this endpoint is attached to for another one, and wait until that is done.

    Raises:
        NotFoundError: there is no such hub, or it does not answer.
        DeadlineError: not attached in the time allowed.
    """
    from ztm.cli.resolve import find_hub_id, list_hubs

    word, mesh = arguments.word("hub name"), context.mesh
    id_ = find_hub_id(context.client, mesh, word)

    def is_attached() -> bool:
        return any(hub["id"] == id_ and hub.get("connected") for hub in list_hubs(context.client, mesh))

    if is_attached():
        return
    with attempting(f"cannot attach to hub '{word}'"):
        context.ask("POST", f"/hubs/{id_}", {"connected": True})
    if not comes_true(context, is_attached):
        raise DeadlineError(f"mesh '{mesh}' is not attached to hub '{word}' yet: see 'ztm describe hub {word}'")


def try_service(context: Context, arguments: Arguments) -> None:  # noqa: ARG001
    """Say that there is no trial service here.

    Raises:
        NotFoundError: always.
    """
    raise NotFoundError(
        f"no trial service '{arguments.word('service type')}': the one that 'ztm try' asked is its vendor's; "
        "make a mesh of your own with 'ztm run hub' (see 'ztm help run')"
    )


NO_WAIT = Option("--no-wait", "", "Return as soon as the agent has stored the settings")
PERMIT = Option("--permit", "<file>", "Permit file, or - for standard input", "-p")
WAITS = f"Waits until the hub has accepted this endpoint, at most {WAIT:g} s or the time of --timeout."

COMMANDS = (
    Command(
        usage="join <mesh name>",
        title="Join a mesh by a permit",
        run=join,
        local=True,
        options=(Option("--as", "<ep name>", "Name of this endpoint in the mesh"), PERMIT, NO_WAIT),
        notes=f"The mesh name is your own choice, used on this machine only.\n{WAITS}",
    ),
    Command(
        usage="leave <mesh name>",
        title="Leave a mesh",
        run=leave,
        local=True,
        options=(Option("--keep-data", "", "Keep the mesh's files and apps on disk"), YES),
    ),
    Command(
        usage="enable mesh|meshes <mesh name>",
        title="Connect to a disabled mesh again",
        run=enable,
        local=True,
        options=(PERMIT, NO_WAIT),
        notes=f"A permit that is given replaces the CA and the certificate; key and hubs stay.\n{WAITS}",
    ),
    Command(
        usage="disable mesh|meshes <mesh name>",
        title="Disconnect from a mesh, and stay in it",
        run=disable,
        local=True,
        options=(Option("--erase-permit", "", "Erase this endpoint's certificate as well"), YES),
    ),
    Command(
        usage="attach <hub name>",
        title="Go over to another hub of the mesh",
        run=attach,
        local=True,
        notes="The hub's id or one of its addresses. Streams that are open go on.",
    ),
    Command(
        usage="try <service type>",
        title="Say that there is no trial service here",
        run=try_service,
        local=True,
        options=(
            Option("--mesh-name", "<mesh>", "Not used"),
            Option("--user-name", "<user>", "Not used"),
            Option("--ep-name", "<endpoint>", "Not used"),
            Option("--pass-key", "<key>", "Not used"),
            Option("--permit", "<file>", "Not used"),
            Option("--targets", "<host:port ...>", "Not used"),
            Option("--master", "<endpoint>", "Not used"),
            Option("--listen", "<[ip:]port ...>", "Not used"),
        ),
    ),
)
