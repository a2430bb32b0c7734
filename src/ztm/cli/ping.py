"""`ztm ping`: probes to an endpoint, one or many, and what came of them.

The agent and the hub measure; nothing is computed here but the summary.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.command import EndpointRef
from ztm.apps.formats import NO_HEADERS, OUTPUT, Description, Format, Listing, chosen_format
from ztm.apps.grammar import Arguments, Command, Option
from ztm.apps.text import clock_time, seconds
from ztm.cli.context import Context
from ztm.errors import UnreachableError

TIMEOUT = 40.0
"""Seconds for one probe; the agent itself gives up after 30 (spec cli 11)."""
INTERVAL = 1.0
"""Seconds between two probes, unless ``--interval`` says otherwise."""
MOST = 100_000
"""Probes of one run."""
HEADINGS = ("ID", "TYPE", "NAME", "START", "END", "DURATION", "ERROR")

Hop = Mapping[str, Any]


def ping(context: Context, arguments: Arguments) -> None:
    """Send probes to an endpoint: of one, print each hop of its way; of several, a line each and a summary.

    Raises:
        UnreachableError: no probe was answered; what happened was printed before.
    """
    chosen_format(arguments)
    count, interval = arguments.number("--count", 0, 1), _interval(arguments)
    if count > MOST:
        raise arguments.error(f"invalid value '{count}' for option --count (at most {MOST})")
    target = context.find_endpoint(_target(arguments))
    if count:
        _many(context, arguments, target, count, interval)
        return
    hops = _probe(context, target)
    context.show(Listing(hops, HEADINGS, _row, name=_id), arguments)
    if error := _error(hops):
        raise UnreachableError(f"no answer from endpoint '{target.name}': {error}")


def _interval(arguments: Arguments) -> float:
    text = arguments.value("--interval")
    try:
        value = INTERVAL if text is None else float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise arguments.error(f"invalid value '{text}' for option --interval (seconds, from 0 to 3600)")
    return value


def _target(arguments: Arguments) -> str:
    """The name asked for: after the word ``ep``, or alone; empty for the endpoint of the prefix, or the own one."""
    from ztm.cli.objects import KINDS

    first, second = arguments.word("object type"), arguments.word("object name")
    if KINDS.get(first) == "endpoint":
        return second
    if second or first in KINDS:
        raise arguments.error(f"invalid object type '{first}' for command 'ping' (write 'ztm ping ep NAME')")
    return first


def _probe(context: Context, target: EndpointRef) -> list[dict[str, Any]]:
    return context.ask("GET", f"/ping/endpoints/{target.id}", timeout=TIMEOUT) or []


def _many(context: Context, arguments: Arguments, target: EndpointRef, count: int, interval: float) -> None:
    """Send `count` probes; an interrupt ends them early, and what there was is summed up all the same."""
    form = chosen_format(arguments)
    is_text = form not in (Format.JSON, Format.YAML)
    probes: list[dict[str, Any]] = []
    try:
        while len(probes) < count:
            if probes:
                context.sleep(interval)
            probes.append(_result(_probe(context, target)))
            if is_text:
                context.out(_line(len(probes), target, probes[-1]))
    finally:
        summary = _summary(target, probes)
        text = _summary_line(target, summary) if is_text and probes else ""
        if probes:
            context.show(Description({"probes": probes, "summary": summary}, text, text), arguments)
    if not summary["answered"]:
        raise UnreachableError(f"no answer from endpoint '{target.name}': {probes[-1]['error']}")


def _result(hops: list[dict[str, Any]]) -> dict[str, Any]:
    """One probe: its hops, how long it took in milliseconds, or what went wrong."""
    error = _error(hops)
    return {"milliseconds": None if error else hops[0]["end"] - hops[0]["start"], "error": error, "hops": hops}


def _error(hops: list[dict[str, Any]]) -> str | None:
    """What went wrong on the way, if anything did."""
    for hop in hops:
        if hop.get("error"):
            return str(hop["error"])
    if not hops or hops[0].get("start") is None or hops[0].get("end") is None:
        return "the agent told nothing of its way"
    return None


def _line(number: int, target: EndpointRef, probe: Mapping[str, Any]) -> str:
    if probe["error"]:
        return f"{number}: no answer from {target.name}: {probe['error']}"
    hub = next((hop["hub"] for hop in probe["hops"] if hop.get("hub")), None)
    via = f" via hub {', '.join(hub.get('names') or ()) or hub.get('id')}" if hub else ""
    return f"{number}: answer from {target.name}{via}: {seconds(probe['milliseconds'])}"


def _summary(target: EndpointRef, probes: list[dict[str, Any]]) -> dict[str, Any]:
    """Loss, and the extremes and mean of the times in milliseconds."""
    times = [probe["milliseconds"] for probe in probes if probe["error"] is None]
    summary = {"endpoint": target.id, "sent": len(probes), "answered": len(times)}
    if probes:
        summary["lossPercent"] = round(100 * (len(probes) - len(times)) / len(probes), 1)
    if times:
        summary |= {"min": min(times), "avg": round(sum(times) / len(times), 3), "max": max(times)}
    return summary


def _summary_line(target: EndpointRef, summary: Mapping[str, Any]) -> str:
    text = f"{target.name}: {summary['sent']} sent, {summary['answered']} answered, {summary['lossPercent']:g}% lost"
    if not summary["answered"]:
        return text
    return text + ", min/avg/max " + "/".join(seconds(summary[key]) for key in ("min", "avg", "max"))


def _row(hop: Hop) -> tuple[object, ...]:
    hub = hop.get("hub")
    at = hub or hop.get("endpoint") or {}
    name = ", ".join(at.get("names") or ()) if hub else at.get("name")
    start, end = hop.get("start"), hop.get("end")
    duration = seconds(end - start) if start is not None and end is not None else ""
    kind = "Hub" if hub else "Endpoint"
    return at.get("id"), kind, name, clock_time(start), clock_time(end), duration, hop.get("error")


def _id(hop: Hop) -> str:
    return str((hop.get("hub") or hop.get("endpoint") or {}).get("id"))


COMMANDS = (
    Command(
        usage="ping [object type] [object name]",
        title="Send probes to an endpoint and show their way",
        run=ping,
        options=(
            Option("--count", "<n>", "Send so many probes, and sum them up", "-c"),
            Option("--interval", "<seconds>", f"Time between two probes (default {INTERVAL:g})", "-i"),
            OUTPUT,
            NO_HEADERS,
        ),
        notes="'ztm ping ep NAME', 'ztm ping NAME', or 'ztm ping' for this endpoint itself.\n"
        "Without --count, one probe and each hop of its way. Status 1 means that no probe was answered.",
    ),
)
