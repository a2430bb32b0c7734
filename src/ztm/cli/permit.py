"""Permits: files, read and checked for `ztm join` and shown by `ztm permit show`; those issued, listed and revoked.

For `join`, keys and certificates are not read here; the agent verifies them. A private key is never printed.

Source: spec cli.md sections 6 and 8.
"""

import json
from typing import Any

from ztm.apps.formats import NO_HEADERS, OUTPUT, SORT, Listing, chosen_format, sorted_by
from ztm.apps.grammar import Arguments, Command
from ztm.cli.context import YES, Context, attempting
from ztm.cli.files import read_text
from ztm.cli.watch import WATCH
from ztm.errors import CertificateError, UsageError


def read_permit(name: str) -> dict[str, Any]:
    """The permit in the file `name`; ``-`` is standard input.

    Raises:
        NotFoundError: the file cannot be read.
        CertificateError: it is not a permit, or lacks a part.
    """
    text = read_text(name)
    try:
        permit = json.loads(text)
    except (ValueError, RecursionError):
        permit = None
    if not isinstance(permit, dict):
        raise CertificateError(f"invalid format of permit: {name} (expected the JSON that root was given or issued)")
    _check(permit)
    return permit


def _check(permit: dict[str, Any]) -> None:
    from ztm.model import Address

    agent = permit.get("agent")
    if not permit.get("ca"):
        raise CertificateError("permit missing CA certificate")
    if not isinstance(agent, dict) or not agent.get("certificate"):
        raise CertificateError("permit missing user certificate")
    bootstraps = permit.get("bootstraps")
    if not isinstance(bootstraps, list) or not bootstraps:
        raise CertificateError("permit missing bootstraps")
    for bootstrap in bootstraps:
        try:
            well_formed = isinstance(bootstrap, str) and bool(Address.parse(bootstrap, "").host)
        except UsageError:
            well_formed = False
        if not well_formed:
            raise CertificateError(f"invalid bootstrap address in permit: {bootstrap!r}")


def settings_for(permit: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """What joins a mesh by `permit` as `endpoint`, in the form of the agent's API (spec agent-api 4)."""
    agent = {key: permit["agent"][key] for key in ("certificate", "privateKey", "labels") if permit["agent"].get(key)}
    return {"ca": permit["ca"], "agent": {"name": endpoint, **agent}, "bootstraps": permit["bootstraps"]}


def show(context: Context, arguments: Arguments) -> int:
    """Print what a permit says; the exit status is 1 if nobody could join by it now.

    Raises:
        NotFoundError: the file cannot be read.
        CertificateError: it is not a permit, or a part of it is malformed.
    """
    name = arguments.word("file")
    permit = read_permit(name)
    from ztm.cli.permit_facts import description

    try:
        shown = description(context, permit)
    except CertificateError as error:
        raise CertificateError(f"cannot use permit {name}: {error}") from None
    context.show(shown, arguments)
    return 1 if shown.object["problem"] else 0


def list_permits(context: Context, arguments: Arguments) -> int | None:
    """Print the permits that the hub has signed, the newest for each key.

    Raises:
        UsageError: there is no such column.
        ForbiddenError: this endpoint's user is not root.
        RefusedError: the hub keeps no list of them.
    """
    from ztm.cli.permits import listing
    from ztm.cli.watch import watch

    chosen_format(arguments)

    def find() -> Listing:
        with attempting(f"cannot list the permits of mesh '{context.mesh}'"):
            return sorted_by(listing(context), arguments)

    if arguments.flag(WATCH.name):
        return watch(context, arguments, find, ("mesh", "endpoint"), context.mesh)
    context.show(find(), arguments)
    return None


def revoke(context: Context, arguments: Arguments) -> None:
    """Shut out the key of one permit, and say what that did; asks first on a terminal.

    Raises:
        ForbiddenError: this endpoint's user is not root.
        NotFoundError: there is no such permit.
        ConflictError: several ids begin like that, or the permit is the one in use here.
    """
    from ztm.cli.permits import find, permits, sharing
    from ztm.wire.paths import encode

    begun, mesh = arguments.word("id"), context.mesh
    with attempting(f"cannot revoke permit '{begun}' of mesh '{mesh}'"):
        found = permits(context)
        permit = find(found, begun)
        user, others = permit["username"], sharing(found, permit)
        if permit["state"] == "revoked":
            context.out(f"Permit {permit['id']} of {user} in mesh {mesh} was revoked before")
            return
        also = f" and of {', '.join(others)}, whose key is the same" if others else ""
        context.confirm(f"Revoke permit {permit['id']} of user '{user}'{also}, cutting off who uses it?", arguments)
        done = context.ask("DELETE", f"/permits/{encode(permit['id'])}")
    cut = ", ".join(str(one["name"] or one["id"]) for one in done["endpoints"])
    who = f"{user}, {', '.join(others)}" if others else user
    context.out(
        f"Revoked permit {permit['id']} of {who} in mesh {mesh}: {f'cut off {cut}' if cut else 'no one used it'}"
    )


COMMANDS = (
    Command(
        usage="permit show <file>",
        title="Show whose a permit is, until when, and whether it can be used here",
        run=show,
        local=True,
        options=(OUTPUT,),
        notes=(
            "The file - is standard input. Private keys are never shown. The exit status is 1 if nobody could join by\n"
            "this permit now: it has expired, say, or its parts do not belong together."
        ),
    ),
    Command(
        usage="permit list",
        title="List the permits that the hub has issued",
        run=list_permits,
        local=True,
        options=(OUTPUT, NO_HEADERS, SORT, WATCH),
        notes=(
            "Only root can. Each key of each user is listed once, with its newest certificate; renewals keep the id.\n"
            "Expired permits are listed for 30 days. What a hub of v1 has signed is not known."
        ),
    ),
    Command(
        usage="permit revoke <id>",
        title="Shut out whoever uses a permit",
        run=revoke,
        local=True,
        options=(YES,),
        notes=(
            "Only root can. The id is that of 'ztm permit list', or its first few digits. The permit's key is shut\n"
            "out at once, under any name; other keys of the user go on working. A later invitation for the same key\n"
            "lets it in again. The permit in use here cannot be revoked: use another one of root ('ztm root')."
        ),
    ),
)
