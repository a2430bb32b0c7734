"""Users: this user's identity, inviting others, shutting them out and letting them in again.

Who may do so is decided by the hub. How users are shown is in `users`.
"""

from pathlib import Path

from ztm.apps.formats import NO_HEADERS, OUTPUT, SORT, Listing, chosen_format, sorted_by
from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import YES, Context, attempting
from ztm.cli.watch import WATCH
from ztm.errors import CertificateError, ForbiddenError, NotFoundError
from ztm.wire.paths import encode

KEY_BEGIN = "-----BEGIN PUBLIC KEY-----"
MAX_DAYS = 365
"""The longest expiry that hubs take."""


def identity(context: Context, arguments: Arguments) -> None:  # noqa: ARG001
    """Print the agent's public key, which root needs to invite this user."""
    context.out(str(context.client.request_text("GET", "/api/identity")).rstrip("\n"))


def invite(context: Context, arguments: Arguments) -> None:
    """Have root's agent issue a permit for a user, and print it or write it to a file of mode 0600.

    Raises:
        CertificateError: the identity is not a public key.
        ForbiddenError: this endpoint's user is not root.
        StorageError: the permit cannot be written.
        RefusedError: it is to expire, and the hub does not know of that.
    """
    from ztm.cli.files import check_writable, read_text, write_private
    from ztm.cli.resolve import mesh_path
    from ztm.model import check_user

    user = check_user(arguments.word("username"))
    source, target = arguments.require("--identity"), arguments.value("--permit")
    key = read_text(source)
    if KEY_BEGIN not in key:
        raise CertificateError(f"{source} is not an identity (expected the output of 'ztm identity')")
    days = _days(arguments)
    if target and target != "-":
        check_writable(target)
    path = f"{mesh_path(context.mesh)}/permits/{encode(user)}{f'?expires={days}' if days else ''}"
    with attempting(f"cannot invite '{user}' to mesh '{context.mesh}'"):
        permit = context.client.request_text("POST", path, key.strip() + "\n")
    if target and target != "-":
        write_private(Path(target), permit)
    else:
        context.out(permit)


def _days(arguments: Arguments) -> int:
    """After how many days the permit ends; 0 if it does not."""
    days = arguments.number("--expires", 0, 1)
    if days > MAX_DAYS:
        raise arguments.error(f"invalid value '{days}' for option --expires (1 to {MAX_DAYS} days)")
    return days


def evict(context: Context, arguments: Arguments) -> None:
    """Shut a user out of the mesh, and say what that did; asks first on a terminal.

    Raises:
        ForbiddenError: this endpoint's user is not root, or root itself was named.
        NotFoundError: nobody of that name has an endpoint.
    """
    from ztm.model import ROOT

    user, mesh = arguments.word("username"), context.mesh
    what = f"cannot evict '{user}' from mesh '{mesh}'"
    if user == ROOT:
        raise ForbiddenError(f"{what}: root cannot be evicted")
    _check_root(context, what, "evict")
    count = _endpoint_count(context, user)
    if not count and not arguments.flag("--force"):
        raise NotFoundError(
            f"{what}: no endpoint of that user is known (see 'ztm user list'); --force evicts the name anyhow"
        )
    cut = _counted(count, "endpoint")
    context.confirm(f"Evict user '{user}' from mesh '{mesh}', cutting off {cut}?", arguments)
    with attempting(what):
        context.ask("DELETE", f"/users/{encode(user)}{'' if count else '?force=true'}")
    context.out(f"Evicted {user} from mesh {mesh}: {cut} cut off; a permit issued from now on lets {user} in again")


def _endpoint_count(context: Context, user: str) -> int:
    """How many endpoints of a user the hub knows."""
    try:
        found = context.ask("GET", f"/users/{encode(user)}") or {}
    except NotFoundError:
        return 0
    return int((found.get("endpoints") or {}).get("count") or 0)


def _check_root(context: Context, what: str, verb: str) -> None:
    """Refuse here what the hub would refuse anyhow: v1's agents do not tell when it does.

    Raises:
        ForbiddenError: the mesh was not joined as root.
    """
    from ztm.model import ROOT

    user = context.mesh_object["agent"].get("username")
    if user != ROOT:
        raise ForbiddenError(f"{what}: only root may {verb}, and that mesh is joined as '{user}'")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def readmit(context: Context, arguments: Arguments) -> None:
    """Undo an eviction, so that the user's permits and certificates are good again, and say so.

    Raises:
        ForbiddenError: this endpoint's user is not root.
        NotFoundError: the user is not evicted.
    """
    user, mesh = arguments.word("username"), context.mesh
    what = f"cannot readmit '{user}' to mesh '{mesh}'"
    _check_root(context, what, "readmit")
    with attempting(what):
        context.ask("DELETE", f"/evictions/{encode(user)}")
    context.out(f"Readmitted {user} to mesh {mesh}: certificates from before the eviction are good again")


def list_users(context: Context, arguments: Arguments) -> int | None:
    """Print the users of the mesh: those who have an endpoint, and those who are evicted.

    Raises:
        UsageError: there is no such column.
    """
    from ztm.cli.users import listing
    from ztm.cli.watch import watch

    chosen_format(arguments)

    def find() -> Listing:
        return sorted_by(listing(context, ""), arguments)

    if arguments.flag(WATCH.name):
        return watch(context, arguments, find, ("mesh", "endpoint"), context.mesh)
    context.show(find(), arguments)
    return None


COMMANDS = (
    Command(usage="identity", title="Print the identity of this machine's agent", run=identity, local=True),
    Command(
        usage="invite <username>",
        title="Issue a permit that lets a user join",
        run=invite,
        local=True,
        options=(
            Option("--identity", "<file>", "The user's identity, or - for standard input", "-i"),
            Option("--permit", "<file>", "Where to write the permit (default: standard output)", "-p"),
            Option("--expires", "<days>", "End the permit for good after so many days, 1 to 365 (default: never)"),
        ),
        notes=(
            "Only root can invite. The user prints the identity with 'ztm identity'. Agents renew their certificates,\n"
            "but not beyond the end that --expires sets: the user is cut off then. A later invitation of the same\n"
            "identity takes the place of an earlier one. 'ztm permit list' shows all, 'ztm permit revoke' ends one."
        ),
    ),
    Command(
        usage="evict <username>",
        title="Shut a user out of the mesh",
        run=evict,
        local=True,
        options=(Option("--force", "", "Evict a name of which no endpoint is known"), YES),
        notes="Only root can evict. A permit issued to the user later works again; 'ztm user readmit' undoes it all.",
    ),
    Command(
        usage="user list",
        title="List the users of the mesh",
        run=list_users,
        local=True,
        options=(OUTPUT, NO_HEADERS, SORT, WATCH),
        notes="Users who have an endpoint now, and users who are evicted. A permit that was never used is not known.",
    ),
    Command(
        usage="user readmit <username>",
        title="Undo the eviction of a user",
        run=readmit,
        local=True,
        notes="Only root can. Every certificate and permit of the user that has not expired is good again.",
    ),
)
