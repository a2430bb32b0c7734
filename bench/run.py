"""`make bench`: ours on both networks beside direct loopback TCP, a chain of nginx, and ssh through a jump host.

Everything stays on loopback and in temporary directories, and ends with the run. It measures and says which targets are
met; nothing fails. How to read the figures is in docs/benchmarks.md.

usage: run.py [--quick] [--rounds N] [--agents N] [--json FILE]
              [--only direct,nginx,ssh,aio,native,idle,busy,start,apps]
"""

import argparse
import json
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import apps
import busy
import crowd
import report
import start
from measure import Figures, Lengths, median, stalled_figures, way_figures
from processes import BenchError, Sandbox
from way_nginx import NginxChain
from way_ssh import SshJump
from way_ztm import ZtmMesh, has_native
from ways import Direct, Ports, Way, open_bulk, open_web

FULL = Lengths(bulk=2.0, requests=2.0, settle=1.0)
QUICK = Lengths(bulk=1.0, requests=1.0, settle=0.5)
ROUNDS = 3
"""Short rounds of all ways in turn, of which the median counts: the machine's speed changes while it measures."""
NETS = ("aio", "native")
WAYS: dict[str, Callable[[], Way]] = {
    "direct": Direct,
    "nginx": NginxChain,
    "ssh": SshJump,
    **{net: partial(ZtmMesh, net) for net in NETS},
}
ONCE = ("direct", "ssh")
"""Ways that one round is enough for: nothing is compared with them to the last per cent."""
ALONE = ("idle", "busy")
NAMES = (*WAYS, *ALONE, "start", "apps")
SLOW = ("start", "apps")
"""What `--quick` leaves out unless it is asked for."""
FILES = 20000
"""Open files that ten thousand agents on one hub need, with room."""


def main() -> int:
    """Measure what was asked for; the process's exit status."""
    asked = _arguments()
    _raise_file_limit()
    where = report.machine()
    print(where, flush=True)
    found: dict[str, object] = {"machine": where}
    rounds = _ways([name for name in WAYS if name in asked.only], QUICK if asked.quick else FULL, asked.rounds)
    if rounds:
        print("\n" + report.table(report.WAYS, [median(each) for each in rounds]), flush=True)
        found["ways"] = [asdict(median(each)) for each in rounds]
        found["rounds"] = [[asdict(one) for one in each] for each in rounds]
    if alone := _ours_alone(asked):
        print("\n" + report.table(report.OURS_ALONE, alone), flush=True)
        found["alone"] = [asdict(figures) for figures in alone]
    found |= _people(asked.only, quick=asked.quick)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter measurements: does it work, not how fast")
    parser.add_argument("--only", type=_names, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of all ways (default {ROUNDS}; quick: 1)")
    parser.add_argument("--agents", type=int, default=1000, metavar="N", help="idle agents on one hub (default 1,000)")
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (1 if asked.quick else ROUNDS)
    asked.only = asked.only or (NAMES if not asked.quick else [name for name in NAMES if name not in SLOW])
    return asked


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


def _ways(names: Sequence[str], lengths: Lengths, rounds: int) -> list[list[Figures]]:
    """The rounds of each way; every second round runs the other way round."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    if not names:
        return []
    with Sandbox() as box:
        targets = Ports(web=_web(box), bulk=open_bulk(box, sys.executable))
        for number in range(rounds):
            for name in names[:: -1 if number % 2 else 1]:
                if number and name in ONCE:
                    continue
                _say(f"{name}, round {number + 1} of {1 if name in ONCE else rounds}")
                found[name].append(way_figures(WAYS[name](), targets, lengths))
        for name in names:
            if name != "direct":
                _say(f"a stalled stream, {name}")
                found[name].append(stalled_figures(WAYS[name](), targets))
    return list(found.values())


def _say(what: str) -> None:
    print(f"measuring {what} ...", file=sys.stderr, flush=True)


def _web(box: Sandbox) -> int:
    """The web target's port, or one where nobody answers: bulk is measured all the same."""
    try:
        return open_web(box)
    except BenchError as error:
        print(f"no requests will be measured: {error}", file=sys.stderr)
        return 1


def _ours_alone(asked: argparse.Namespace) -> list[Figures]:
    """What there is no yardstick for, a column for each network."""
    nets = [net for net in NETS if net != "native" or has_native()]
    found = {net: Figures(net) for net in nets}
    for net, figures in found.items():
        if "idle" in asked.only:
            _idle(net, figures, asked)
        if "busy" in asked.only:
            _say(f"busy Python, {net}")
            with Sandbox() as box:
                _merge(figures, busy.busy(net, Ports(web=_web(box), bulk=open_bulk(box, sys.executable))))
    return list(found.values()) if set(ALONE) & set(asked.only) else []


def _idle(net: str, figures: Figures, asked: argparse.Namespace) -> None:
    _say(f"idle, {net}")
    try:
        figures.values |= crowd.idle_processes(net, 1.0 if asked.quick else 3.0)
    except BenchError as error:
        figures.missing["idle"] = str(error)
    _say(f"{asked.agents} idle agents, {net}")
    _merge(figures, crowd.crowd(net, asked.agents, 16.0 if asked.quick else 32.0))


def _merge(into: Figures, figures: Figures) -> None:
    into.values |= figures.values
    into.missing |= figures.missing
    into.failed += figures.failed


def _people(only: Sequence[str], *, quick: bool) -> dict[str, object]:
    """What somebody at the prompt waits for, on the network that is the default here."""
    found: dict[str, object] = {}
    if "apps" in only:
        try:
            found["apps"] = asdict(_apps(quick=quick))
        except (BenchError, OSError) as error:
            print(f"\napps: {error}")
    if "start" in only:
        found["start_ms"] = {name: _start(name, words, quick=quick) for name, words in start.STARTS.items()}
    return found


def _apps(*, quick: bool) -> apps.Costs:
    net = "native" if has_native() else "aio"
    _say(f"apps, {net}")
    with Sandbox() as box:
        targets = Ports(web=open_web(box), bulk=open_bulk(box, sys.executable))
        found = apps.costs(net, targets, runs=3 if quick else 15, seconds=1.0 if quick else 4.0)
    print("\n" + apps.report(found), flush=True)
    return found


def _start(name: str, words: Sequence[str], *, quick: bool) -> dict[str, float]:
    median, longest = start.start_times(words, 5 if quick else 20)
    print(f"{name}, warm: median {median:.0f} ms, longest {longest:.0f} ms", flush=True)
    return {"median": median, "longest": longest}


if __name__ == "__main__":
    sys.exit(main())
