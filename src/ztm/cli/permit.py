"""Permit files: read and checked for `ztm join`, and shown by `ztm permit show`.

For `join`, keys and certificates are not read here; the agent verifies them. A private key is never printed.

Source: spec cli.md sections 6 and 8.
"""

import json
from typing import Any

from ztm.apps.formats import OUTPUT
from ztm.apps.grammar import Arguments, Command
from ztm.cli.context import Context
from ztm.cli.files import read_text
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
)
