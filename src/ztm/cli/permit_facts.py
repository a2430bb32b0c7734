"""What `ztm permit show` tells of a permit.

It says whether there is a private key, and never anything of the key itself.
"""

from typing import Any

from ztm.apps.formats import Description
from ztm.cli.checkup.certificate import Facts, facts, iso, utc_now
from ztm.cli.context import Context
from ztm.errors import CertificateError, ZtmError
from ztm.model import ROOT, Address, Permit, permit_id

PATIENCE = 3.0
"""Seconds to wait for the agent's word on its own identity: the permit can be shown without."""


def description(context: Context, permit: dict[str, Any]) -> Description:
    """All facts of a permit whose parts are all there; `object["problem"]` says why it cannot be used, if so.

    Raises:
        CertificateError: its CA, certificate or labels are malformed.
    """
    agent, now = permit["agent"], utc_now()
    parts = [permit["ca"], agent["certificate"], agent.get("privateKey") or ""]
    if not all(isinstance(part, str) for part in parts):
        raise CertificateError("its certificates and its key must be texts")
    user, authority = facts(agent["certificate"]), _authority(permit["ca"])
    found: dict[str, Any] = {
        **user.as_object(now),
        "id": permit_id(user.user, user.key),
        "isRoot": user.user == ROOT,
        "hasPrivateKey": bool(agent.get("privateKey")),
        "ca": authority.as_object(now),
        "bootstraps": [str(one) for one in permit["bootstraps"]],
        "labels": _labels(agent.get("labels")),
        "problem": _problem(permit),
        "fitsThisAgent": True if agent.get("privateKey") else _fits(context, user),
    }
    return Description(found, _text(found, user, authority), user.user)


def _authority(pem: str) -> Facts:
    from ztm import pki

    return facts(pki.check_ca(pem))


def _labels(labels: object) -> list[str]:
    if labels is None:
        return []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise CertificateError("its labels are not a list of texts")
    return labels


def _problem(permit: dict[str, Any]) -> str:
    """Why nobody could join by it now, or an empty text."""
    from ztm import pki

    agent = permit["agent"]
    bootstraps = tuple(Address.parse(one) for one in permit["bootstraps"])
    try:
        pki.check_permit(Permit(permit["ca"], agent["certificate"], bootstraps, agent.get("privateKey")), utc_now())
    except CertificateError as error:
        return str(error)
    return ""


def _fits(context: Context, user: Facts) -> bool | None:
    """Whether the permit was made for the identity of this machine's agent; None where the agent does not tell."""
    from ztm import pki

    try:
        return pki.fingerprint(context.client.request_text("GET", "/api/identity", timeout=PATIENCE)) == user.key
    except ZtmError:
        return None


def _text(found: dict[str, Any], user: Facts, authority: Facts) -> str:
    now = utc_now()
    rows = {
        "User": f"{user.user}{' (administrator of the mesh)' if found['isRoot'] else ''}",
        "Id": found["id"],
        "Private Key": "yes: keep this file secret" if found["hasPrivateKey"] else "no",
        "Key Type": user.key_type,
        "Fingerprint": user.fingerprint,
        "Valid": _validity(user),
        "Days Left": user.days_left(now),
        "Issuer": f"{authority.user}, valid until {iso(authority.not_after)}",
        "CA Fingerprint": authority.fingerprint,
        "Bootstraps": ", ".join(found["bootstraps"]),
        "Labels": ", ".join(found["labels"]) or "(none)",
        "Fits This Agent": _fit_text(found),
    }
    lines = [f"{name}: {value}" for name, value in rows.items()]
    return "\n".join([*lines, f"Problem: {found['problem']}"] if found["problem"] else lines)


def _validity(user: Facts) -> str:
    return f"{iso(user.not_before)} to {iso(user.not_after)}"


def _fit_text(found: dict[str, Any]) -> str:
    if found["hasPrivateKey"]:
        return "yes, and any other: it brings its own key"
    answers = {
        True: "yes",
        False: "no: it was made for another identity (see 'ztm identity')",
        None: "unknown: the agent does not answer",
    }
    return answers[found["fitsThisAgent"]]
