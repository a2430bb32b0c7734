"""A permit file as the command line checks it: whole enough to be worth sending to the agent.

Keys and certificates are not read here; the agent verifies them.

Source: spec cli.md sections 6 and 8.
"""

import json
from typing import Any

from ztm.cli.files import read_text
from ztm.errors import CertificateError, UsageError
from ztm.model import Address


def read_permit(name: str) -> dict[str, Any]:
    """The permit in the file `name`; ``-`` is standard input.

    Raises:
        NotFoundError: the file cannot be read.
        CertificateError: it is not a permit, or lacks a part.
    """
    text = read_text(name)
    try:
        permit = json.loads(text)
    except ValueError:
        permit = None
    if not isinstance(permit, dict):
        raise CertificateError(f"invalid format of permit: {name} (expected the JSON that root was given or issued)")
    _check(permit)
    return permit


def _check(permit: dict[str, Any]) -> None:
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
