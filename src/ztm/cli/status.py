"""`ztm status`: on one screen, how this machine's agent and meshes are doing, what is wrong and what to do.

It changes nothing, and ends in a bounded time whatever hangs.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.formats import OUTPUT, Description
from ztm.apps.grammar import Arguments, Command
from ztm.apps.text import table
from ztm.cli.context import Context
from ztm.cli.failures import FAILED, NO_AGENT

HEADINGS = ("MESH", "STATE", "ENDPOINT", "USER", "HUB", "PING", "CERTIFICATE", "APPS", "TUNNELS")
MORE_APPS = 3
"""Apps that are named; of more there is only the number."""


def status(context: Context, arguments: Arguments) -> int:
    """Print the state of everything; 0 if all is well, 1 if something is wrong, 3 if the agent cannot be reached.

    Raises:
        NotFoundError: the mesh that was named is not joined.
    """
    from ztm.cli.checkup.problems import problems
    from ztm.cli.checkup.report import gather

    report = gather(context)
    wrong = problems(report)
    report["problems"] = [one.as_object() for one in wrong]
    context.show(Description(report, text(report)), arguments)
    agent = report["agent"]
    if not agent["reachable"] and not agent["refused"]:
        return NO_AGENT
    return FAILED if wrong else 0


def text(report: Mapping[str, Any]) -> str:
    """The screen."""
    agent, lines = report["agent"], [f"Command line: ztm {report['cli']['tag']}"]
    version = f"ztm {agent['version'].get('tag') or 'n/a'}" if agent["reachable"] else "not reachable"
    lines.append(f"Agent:        {version} at {agent['address']} ({_source(agent['source'])})")
    lines += [f"Service:      {_service(one)}" for one in report["services"]]
    if report["meshes"]:
        lines += ["", table(HEADINGS, [_row(mesh) for mesh in report["meshes"]])]
    lines += ["", *_wrong(report["problems"])]
    return "\n".join(lines)


def _source(source: str) -> str:
    return source if source == "default" else f"from {source}"


def _service(one: Mapping[str, str]) -> str:
    detail = ", ".join(filter(None, (one["detail"], one["boot"], "" if one["scope"] == "system" else "of this user")))
    return f"{one['name']} {one['state']}{f' ({detail})' if detail else ''}"


def _row(mesh: Mapping[str, Any]) -> tuple[object, ...]:
    hub, apps, certificate = mesh["hub"], mesh["apps"], mesh["certificate"]
    ping = hub and hub["pingMs"]
    return (
        mesh["name"],
        mesh["state"],
        mesh["endpoint"]["name"],
        mesh["user"],
        ", ".join(hub["ports"]) if hub else "",
        "" if ping is None else f"{ping}ms",
        f"{certificate['daysLeft']} days left" if certificate else "n/a",
        "n/a" if apps is None else _few([app.removeprefix("ztm/") for app in apps]),
        _tunnels(mesh["tunnels"]),
    )


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= MORE_APPS else f"{len(names)} running"


def _tunnels(tunnels: Mapping[str, Any] | None) -> str:
    if tunnels is None:
        return ""
    failed = len(tunnels["failed"])
    return f"{tunnels['open']} open{f', {failed} failed' if failed else ''}"


def _wrong(found: list[Mapping[str, str]]) -> list[str]:
    if not found:
        return ["All is well."]
    lines = ["What is wrong, and what to do:"]
    for one in found:
        lines += [f"  {one['level']}  {one['what']}", f"        {one['do']}"]
    return lines


COMMANDS = (
    Command(
        usage="status",
        title="Show how agent and meshes are doing, what is wrong and what to do",
        run=status,
        local=True,
        options=(OUTPUT,),
        notes="The exit status is 0 if all is well, 1 if something is wrong, and 3 if the agent cannot be reached.",
    ),
)
