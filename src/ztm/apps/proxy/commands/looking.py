"""`ztm proxy get exits` and `ztm proxy ca`: looking at what exits are; nothing is changed."""

from collections.abc import Mapping
from typing import Any

from ztm.apps.command import AppCommand
from ztm.apps.formats import Listing
from ztm.apps.grammar import Arguments
from ztm.apps.proxy.commands.paths import app_path
from ztm.errors import BrokenStreamError, RefusedError


async def authority(context: AppCommand, arguments: Arguments) -> None:  # noqa: ARG001
    """Print the certificate by which the certificates of the exit are signed.

    Raises:
        NotFoundError: the exit generates none.
    """
    found = await context.api("GET", app_path(context, "ca"))
    await context.out(str(found["certificate"]).rstrip())


async def exits(context: AppCommand, arguments: Arguments) -> None:
    """Print the exits that the endpoint knows, and how they fared."""
    found: list[dict[str, Any]] = await context.api("GET", app_path(context, "exits")) or []
    names = await _endpoint_names(context) if found else {}

    def exit_name(one: Mapping[str, Any]) -> str:
        return names.get(one["endpoint"]) or str(one["endpoint"])

    def row(one: Mapping[str, Any]) -> tuple[object, ...]:
        seconds = one.get("seconds")
        held = one.get("heldOff")
        return (
            exit_name(one),
            one["user"],
            ", ".join(one.get("targets") or ()),
            "" if seconds is None else f"{seconds * 1000:.1f} ms",
            "" if held is None else f"{held:.0f} s",
            one.get("lastError"),
        )

    headings = ("EXIT", "USER", "TARGETS", "TIME", "HELD OFF", "LAST ERROR")
    await context.show(Listing(found, headings, row, name=exit_name), arguments)


async def _endpoint_names(context: AppCommand) -> dict[str, str]:
    try:
        return await context.endpoint_names()
    except BrokenStreamError:
        raise
    except RefusedError:
        return {}
