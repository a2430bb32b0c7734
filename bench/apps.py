"""What the apps besides the tunnel cost: first use, a program or script elsewhere, and connections by the proxy.

The mesh is the same as for the tunnel: a hub and two agents, each a process of its own.
"""

import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import bulk
import fresh
from processes import BenchError, Sandbox, free_port, is_open
from way_ztm import ZTM, Mesh
from ways import ANSWER, Ports

APPS = ("tunnel", "proxy", "terminal", "script", "users", "port")
AT_ONCE = 16
PIPED = 256 << 20
"""Bytes that a program elsewhere writes."""


@dataclass(slots=True)
class Costs:
    """Milliseconds, unless the name says otherwise."""

    first_use_ms: dict[str, list[float]] = field(default_factory=dict)
    """By app: the first time in a new agent, and the median of those after the app was stopped again."""
    program_ms: float = 0.0
    script_ms: float = 0.0
    program_mb_s: float = 0.0
    proxy_new_per_s: float = 0.0
    proxy_new_p50_ms: float = 0.0
    proxy_http_per_s: float = 0.0
    proxy_http_p50_ms: float = 0.0
    proxy_up_mb_s: float = 0.0
    proxy_down_mb_s: float = 0.0
    failed: int = 0


def costs(net: str, targets: Ports, *, runs: int, seconds: float) -> Costs:
    """Measure all of it; `runs` of what is run one after the other, `seconds` of what is kept busy.

    Raises:
        BenchError: something does not come up or fails.
    """
    found = Costs()
    with Sandbox() as box:
        mesh = Mesh(box, net)
        mesh.add_agent("a")
        mesh.add_agent("b")
        for app in APPS:
            found.first_use_ms[app] = _first_use(mesh, app, runs)
        _programs(mesh, box, found, runs)
        _proxy(mesh, box, found, targets, seconds)
    return found


def _first_use(mesh: Mesh, app: str, runs: int) -> list[float]:
    """Milliseconds from asking a stopped app to its answer: in a new agent, and the median of later ones."""
    mine = mesh.api("a", "GET", "/api/meshes/bench")["agent"]["id"]
    times = []
    for _ in range(runs + 1):
        mesh.api("a", "POST", f"/api/meshes/bench/endpoints/{mine}/apps/ztm/{app}", {"isRunning": False})
        begin = time.perf_counter()
        mesh.api("a", "GET", f"/api/meshes/bench/apps/ztm/{app}/api/appinfo")
        times.append((time.perf_counter() - begin) * 1e3)
    return [times[0], statistics.median(times[1:])]


def _programs(mesh: Mesh, box: Sandbox, found: Costs, runs: int) -> None:
    script = box.directory / "hello.py"
    script.write_text("print('hello')\n")
    mesh.order("a", "ep", "b", "script", "config", "--allow", "on")
    found.program_ms = _median(runs, lambda: mesh.order("a", "terminal", "open", "b", "--", "true"))
    found.script_ms = _median(runs, lambda: mesh.order("a", "ep", "b", "script", str(script)))
    begin = time.perf_counter()
    command = [str(ZTM), "terminal", "open", "b", "--", "head", "-c", str(PIPED), "/dev/zero"]
    done = subprocess.run(command, env=mesh.environment("a"), stdout=subprocess.DEVNULL, check=False, timeout=120)
    if done.returncode:
        raise BenchError(f"a program elsewhere ended with {done.returncode}")
    found.program_mb_s = PIPED / 1e6 / (time.perf_counter() - begin)


def _median(runs: int, work: Callable[[], None]) -> float:
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times[1:])


def _proxy(mesh: Mesh, box: Sandbox, found: Costs, targets: Ports, seconds: float) -> None:
    listen = free_port()
    mesh.order("a", "ep", "b", "proxy", "config", "--add-target", "127.0.0.1/32")
    mesh.order("a", "proxy", "config", "--set-listen", f"127.0.0.1:{listen}")
    box.wait_for("the proxy", mesh.hub, lambda: is_open(listen) and _passes(listen, targets.web))
    web = f"GET http://127.0.0.1:{targets.web}/ HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    for name, request in (("new", _socks4(targets.web) + fresh.REQUEST), ("http", web)):
        got = fresh.connections(listen, AT_ONCE, seconds, ANSWER.encode(), request)
        if not got.times:
            raise BenchError("no connection by the proxy was answered")
        found.failed += got.failed
        setattr(found, f"proxy_{name}_per_s", len(got.times) / got.seconds)
        setattr(found, f"proxy_{name}_p50_ms", statistics.median(got.times) * 1e3)
    for direction, name in (("U", "up"), ("D", "down")):
        carried = bulk.carry(listen, direction, seconds, _socks4(targets.bulk), 8)
        setattr(found, f"proxy_{name}_mb_s", carried.bytes / carried.seconds / 1e6)


def _socks4(port: int) -> bytes:
    """The request for a loopback port; what follows it may be sent at once."""
    return b"\x04\x01" + port.to_bytes(2, "big") + bytes((127, 0, 0, 1)) + b"\x00"


def _passes(listen: int, port: int) -> bool:
    got = fresh.connections(listen, 1, 0.3, ANSWER.encode(), _socks4(port) + fresh.REQUEST)
    return bool(got.times)


def report(found: Costs) -> str:
    """All of it, a line each, for people."""
    first = [
        f"first use of {app}: {new:.0f} ms, then {again:.1f} ms" for app, (new, again) in found.first_use_ms.items()
    ]
    at_once = f"{AT_ONCE} at once"
    return "\n".join(
        [
            *first,
            f"ztm terminal open b -- true: {found.program_ms:.0f} ms; a script: {found.script_ms:.0f} ms",
            f"output of a program elsewhere: {found.program_mb_s:.0f} MB/s",
            f"proxy, SOCKS4, {at_once}: {found.proxy_new_per_s:,.0f} new/s, p50 {found.proxy_new_p50_ms:.1f} ms",
            f"proxy, HTTP, {at_once}: {found.proxy_http_per_s:,.0f} new/s, p50 {found.proxy_http_p50_ms:.1f} ms",
            f"proxy, bulk up {found.proxy_up_mb_s:.0f} MB/s, down {found.proxy_down_mb_s:.0f} MB/s",
            f"not answered: {found.failed}",
        ]
    )
