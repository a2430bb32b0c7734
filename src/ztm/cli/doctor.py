"""`ztm doctor`: checks of what a mesh needs to work here, each with what to do if it fails.

It changes nothing; with ``--bundle`` it writes one file, without secrets.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ztm.apps.formats import OUTPUT, Description
from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import Context
from ztm.cli.failures import FAILED
from ztm.errors import ZtmError

WITHIN = 15.0
"""Seconds for all checks together, unless ``--timeout`` gives less."""


def doctor(context: Context, arguments: Arguments) -> int:
    """Run all checks and print what they found; the exit status is 1 if any has failed.

    Raises:
        NotFoundError: the mesh that was named is not joined, or the permit cannot be read.
        StorageError: the bundle cannot be written.
    """
    from ztm.cli.checkup.findings import concurrently
    from ztm.cli.checkup.report import gather
    from ztm.cli.files import check_writable

    bundle = arguments.value("--bundle")
    if bundle:
        check_writable(bundle)
    report = gather(context)
    checks = _checks(context, arguments, report)
    left = context.time_left()
    found = concurrently(checks, WITHIN if left is None else min(left, WITHIN))
    objects = [one.as_object() for one in found]
    context.show(Description(objects, _text(objects)), arguments)
    if bundle:
        _write_bundle(context, bundle, report, objects)
    return FAILED if any(one.level == "fail" for one in found) else 0


def _text(found: Sequence[Mapping[str, str]]) -> str:
    lines = []
    for one in found:
        lines.append(f"{one['level']:<4}  {one['what']}: {one['why']}")
        if one["do"]:
            lines.append(f"        {one['do']}")
    return "\n".join(lines)


def _checks(context: Context, arguments: Arguments, report: Mapping[str, Any]) -> Sequence[Any]:
    from ztm.cli import settings
    from ztm.cli.checkup.apps import apps_check
    from ztm.cli.checkup.findings import Check
    from ztm.cli.checkup.here import data_directories, directory_check, hub_here_check, port_check

    data = arguments.value("--data")
    directories = data_directories(Path(data).expanduser() if data else None)
    address = None if settings.agent_socket() else settings.agent_address()
    return [
        port_check(report["agent"], address),
        *map(directory_check, directories),
        *filter(None, map(hub_here_check, directories)),
        apps_check(),
        Check("report", lambda: _judged(report)),
        *_hub_checks(context, report, arguments.value("--permit")),
    ]


def _hub_checks(context: Context, report: Mapping[str, Any], permit: str | None) -> list[Any]:
    """One for every hub address of every mesh that is not disabled, or of the permit."""
    from ztm.cli.checkup.hub import hub_check
    from ztm.cli.permit import read_permit
    from ztm.model import Address

    if permit:
        read = read_permit(permit)
        return [hub_check(Address.parse(one), str(read["ca"]), "permit") for one in read["bootstraps"]]
    checks = []
    for mesh in report["meshes"]:
        if mesh["state"] != "offline" and (authority := _authority(context, mesh["name"])):
            where = f"mesh {mesh['name']}"
            is_needed = mesh["state"] != "connected"
            addresses = map(Address.parse, mesh["bootstraps"])
            checks += [hub_check(one, authority, where, is_needed=is_needed) for one in addresses]
    return checks


def _authority(context: Context, mesh: str) -> str:
    """The CA of a mesh, or an empty text where the agent does not tell."""
    from ztm.cli.resolve import named_mesh

    try:
        return str(named_mesh(context.client, mesh).get("ca") or "")
    except ZtmError:
        return ""


def _judged(report: Mapping[str, Any]) -> list[Any]:
    """What the report itself says: meshes as the agent sees them, clocks, certificates, services."""
    from ztm.cli.checkup.here import service_findings
    from ztm.cli.checkup.mesh import mesh_findings
    from ztm.cli.checkup.services import Service

    services = [Service(**one) for one in report["services"]]
    return [*service_findings(services), *(one for mesh in report["meshes"] for one in mesh_findings(mesh))]


def _write_bundle(
    context: Context, name: str, report: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]
) -> None:
    from ztm.cli.checkup.bundle import write
    from ztm.cli.output import complain

    write(context, Path(name).expanduser(), report, findings)
    complain(f"wrote {name}: read it before you pass it on; it names users, endpoints and addresses")


COMMANDS = (
    Command(
        usage="doctor",
        title="Check what a mesh needs to work here",
        run=doctor,
        local=True,
        options=(
            OUTPUT,
            Option("--bundle", "<file>", "Also write a report for others to read (tar.gz, without secrets)"),
            Option("--permit", "<file>", "Check the hubs of this permit instead of those of joined meshes", "-p"),
            Option("--data", "<dir>", "Data directory of the agent or hub (default: those that are known)", "-d"),
        ),
        notes=(
            "Checked are the agent, its meshes, names, TCP, TLS and certificates of their hubs, clocks, data\n"
            "directories, disk space, services and what holds apps by others. The exit status is 1 if any check fails."
        ),
    ),
)
