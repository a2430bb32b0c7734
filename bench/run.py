"""`make bench`: ours beside direct loopback TCP, a chain of nginx, and ssh through a jump host, in one table.

Everything stays on loopback and in temporary directories, and ends with the run. It measures and judges nothing: how
to read the figures is in docs/benchmarks.md.

usage: run.py [--quick] [--only direct,nginx,ssh,ztm,idle,start,apps] [--json FILE]
"""

import argparse
import json
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import alone
import apps
import report
from measure import Figures, Lengths, way_figures
from processes import BenchError, Sandbox
from way_nginx import NginxChain
from way_ssh import SshJump
from way_ztm import ZtmMesh
from ways import Direct, Ports, Way, open_bulk, open_web

FULL = Lengths(bulk=4.0, requests=5.0, settle=2.0)
QUICK = Lengths(bulk=1.0, requests=1.0, settle=0.5)
WAYS: dict[str, Callable[[], Way]] = {"direct": Direct, "nginx": NginxChain, "ssh": SshJump, "ztm": ZtmMesh}
NAMES = (*WAYS, "idle", "start", "apps")
FILES = 16384
"""Open files that a thousand agents in one process need, with room."""


def main() -> int:
    """Measure what was asked for; the process's exit status."""
    asked = _arguments()
    _raise_file_limit()
    where = report.machine()
    print(where, flush=True)
    found: dict[str, object] = {"machine": where}
    ways = _ways([name for name in WAYS if name in asked.only], QUICK if asked.quick else FULL)
    if ways:
        print("\n" + report.table(ways), flush=True)
        found["ways"] = [asdict(figures) for figures in ways]
    found |= _alone(asked.only, quick=asked.quick)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter measurements: does it work, not how fast")
    parser.add_argument("--only", type=_names, default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    return parser.parse_args()


def _names(text: str) -> Sequence[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)} (there are {', '.join(NAMES)})")
    return names


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _ways(names: Sequence[str], lengths: Lengths) -> list[Figures]:
    if not names:
        return []
    with Sandbox() as box:
        web = _web(box)
        targets = Ports(web=web, bulk=open_bulk(box, sys.executable))
        found = []
        for name in names:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            found.append(way_figures(WAYS[name](), targets, lengths))
        return found


def _web(box: Sandbox) -> int:
    """The web target's port, or one where nobody answers: bulk is measured all the same."""
    try:
        return open_web(box)
    except BenchError as error:
        print(f"no requests will be measured: {error}", file=sys.stderr)
        return 1


def _alone(only: Sequence[str], *, quick: bool) -> dict[str, object]:
    found: dict[str, object] = {}
    if "idle" in only:
        try:
            found |= _idle(quick=quick)
        except BenchError as error:
            print(f"\nidle: {error}")
    if "apps" in only:
        try:
            found["apps"] = asdict(_apps(quick=quick))
        except (BenchError, OSError) as error:
            print(f"\napps: {error}")
    if "start" in only:
        found["start_ms"] = {name: _start(name, words, quick=quick) for name, words in alone.STARTS.items()}
    return found


def _apps(*, quick: bool) -> apps.Costs:
    print("measuring apps ...", file=sys.stderr, flush=True)
    with Sandbox() as box:
        targets = Ports(web=open_web(box), bulk=open_bulk(box, sys.executable))
        found = apps.costs(targets, runs=3 if quick else 15, seconds=1.0 if quick else 4.0)
    print("\n" + apps.report(found), flush=True)
    return found


def _start(name: str, words: Sequence[str], *, quick: bool) -> dict[str, float]:
    median, longest = alone.start_times(words, 5 if quick else 20)
    print(f"{name}, warm: median {median:.0f} ms, longest {longest:.0f} ms", flush=True)
    return {"median": median, "longest": longest}


def _idle(*, quick: bool) -> dict[str, object]:
    print("measuring idle ...", file=sys.stderr, flush=True)
    hub, agent = alone.idle_processes(1.0 if quick else 3.0)
    print(f"\nidle: hub {hub:.1f} MB, agent {agent:.1f} MB", flush=True)
    full = alone.population(100 if quick else 1000, 5.0 if quick else 32.0)
    print(
        f"{full.agents} idle agents: hub {full.hub_before_mb:.1f} -> {full.hub_after_mb:.1f} MB, "
        f"{full.kb_per_agent:.0f} KB an agent, {full.hub_cpu_percent:.1f} % of a core; "
        f"they came at {full.connect_per_s:.0f} a second"
    )
    return {"idle_mb": {"hub": hub, "agent": agent}, "population": asdict(full)}


if __name__ == "__main__":
    sys.exit(main())
