"""Permits that the hub has signed, as `ztm permit list` and `ztm permit revoke` show and find them.

Only root is told of them. Permit files are another matter: see `permit`.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.formats import Listing
from ztm.apps.text import day_time
from ztm.cli.context import Context
from ztm.errors import ConflictError, NotFoundError

HEADINGS = ("ID", "USER", "KEY", "ISSUED", "EXPIRES", "STATE")
WIDE = ("ISSUED BY", "RENEWABLE", "REVOKED")
KEY_DIGITS = 16
"""Hex digits of a key's fingerprint that a table shows."""

Object = Mapping[str, Any]


def listing(context: Context) -> Listing:
    """All permits that the hub has signed.

    Raises:
        ForbiddenError: the mesh was not joined as root.
        RefusedError: the hub keeps no list of them.
    """
    keys = {
        "ISSUED": lambda one: one["issued"],
        "EXPIRES": lambda one: one["expiration"],
        "REVOKED": lambda one: one["revoked"],
    }
    return Listing(
        permits(context),
        HEADINGS,
        _row,
        wide=WIDE,
        wide_row=_wide_row,
        name=lambda one: str(one["id"]),
        keys=keys,
    )


def permits(context: Context) -> list[dict[str, Any]]:
    """All permits, as the agent's API has them.

    Raises:
        ZtmError: as `listing`.
    """
    return context.ask("GET", "/permits") or []


def _row(one: Object) -> tuple[object, ...]:
    dates = day_time(one["issued"]), day_time(one["expiration"])
    return one["id"], one["username"], str(one["key"])[:KEY_DIGITS], *dates, one["state"]


def _wide_row(one: Object) -> tuple[object, ...]:
    return one["issuedBy"] or "n/a", "no" if one["ends"] else "yes", day_time(one["revoked"])


def find(found: list[dict[str, Any]], begun: str) -> dict[str, Any]:
    """The one permit whose id is, or begins with, `begun`.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several.
    """
    fitting = [one for one in found if str(one["id"]).startswith(begun.lower())]
    if not fitting:
        raise NotFoundError(f"no permit's id begins with '{begun}' (see 'ztm permit list')")
    if len(fitting) > 1:
        several = ", ".join(f"{one['id']} of {one['username']}" for one in fitting)
        raise ConflictError(f"several permits' ids begin with '{begun}': {several}")
    return fitting[0]


def sharing(found: list[dict[str, Any]], permit: Object) -> list[str]:
    """The other users for whom the key of `permit` was signed as well: revoking it shuts them out with it."""
    return sorted({str(one["username"]) for one in found if one["key"] == permit["key"]} - {permit["username"]})
