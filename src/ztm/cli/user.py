"""Users: this user's identity, inviting others and shutting them out.

Who may do so is decided by the hub.
"""

import sys
from pathlib import Path

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import Context, attempting
from ztm.errors import CertificateError, ZtmError
from ztm.wire.paths import encode

KEY_BEGIN = "-----BEGIN PUBLIC KEY-----"


def identity(context: Context, arguments: Arguments) -> None:  # noqa: ARG001
    """Print the agent's public key, which root needs to invite this user."""
    context.out(str(context.client.request_text("GET", "/api/identity")).rstrip("\n"))


def invite(context: Context, arguments: Arguments) -> None:
    """Have root's agent issue a permit for a user, and print it or write it to a file of mode 0600.

    Raises:
        CertificateError: the identity is not a public key.
        ForbiddenError: this endpoint's user is not root.
        StorageError: the permit cannot be written.
    """
    from ztm.cli.files import check_writable, read_text, write_private
    from ztm.cli.resolve import mesh_path
    from ztm.model import check_user

    user = check_user(arguments.word("username"))
    source, target = arguments.require("--identity"), arguments.value("--permit")
    key = read_text(source)
    if KEY_BEGIN not in key:
        raise CertificateError(f"{source} is not an identity (expected the output of 'ztm identity')")
    if target and target != "-":
        check_writable(target)
    with attempting(f"cannot invite '{user}' to mesh '{context.mesh}'"):
        permit = context.client.request_text(
            "POST", f"{mesh_path(context.mesh)}/permits/{encode(user)}", key.strip() + "\n"
        )
    if target and target != "-":
        write_private(Path(target), permit)
    else:
        context.out(permit)


def evict(context: Context, arguments: Arguments) -> None:
    """Shut a user out of the mesh; asks first on a terminal.

    Raises:
        ForbiddenError: this endpoint's user is not root, or root itself was named.
        NotFoundError: nobody of that name is known to the hub.
    """
    user = arguments.word("username")
    mesh = context.mesh
    if not arguments.flag("--yes") and sys.stdin is not None and sys.stdin.isatty():
        _confirm(f"Evict user '{user}' from mesh '{mesh}', cutting all of its connections?")
    with attempting(f"cannot evict '{user}' from mesh '{mesh}'"):
        context.ask("DELETE", f"/users/{encode(user)}")


def _confirm(question: str) -> None:
    from ztm.cli.output import clean

    sys.stderr.write(f"{clean(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ZtmError("nothing was changed")


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
        ),
        notes="Only root can invite. The user prints the identity with 'ztm identity'.",
    ),
    Command(
        usage="evict <username>",
        title="Shut a user out of the mesh",
        run=evict,
        local=True,
        options=(Option("--yes", "", "Do not ask for confirmation", "-y"),),
        notes="Only root can evict. A permit issued to the user later works again.",
    ),
)
