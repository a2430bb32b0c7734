"""`make demo`: a mesh of one hub and two agents on this machine, and a web page fetched through it.

Each step shows the command as a person would type it and what it printed. Everything lives in a temporary
directory with a home of its own and on ports that were free: the user's `~/.ztm` is never touched, and nothing is
left behind, however it ends.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

import speed
from sandbox import Agent, DemoError, Sandbox

MESH = "my-mesh"
NEWS = 10.0
"""Seconds for one endpoint to hear what another offers; about one is usual."""
HEAD = """\
A hub, and two agents that dial it: 'home', where you sit, and 'workplace', where a web page is that only
workplace can reach. All three run on this machine now, in {directory}
"""
WAY = """
   The way it came: you -> home (127.0.0.1:{entry}) => hub => workplace -> 127.0.0.1:{page}
   '=>' is a TLS session that agents keep with the hub: no connection of yours needs a handshake of its own"""
TRY = """
Try it by hand. In another terminal:
  export HOME={home} PATH={bin}:$PATH
  curl http://127.0.0.1:{entry}/                                # the page, through the mesh
  export ZTM_AGENT={agent}                          # which agent 'ztm' talks to: this one is home
  ztm get ep ; ztm tunnel get tunnel ; ztm ping ep workplace
  ztm tunnel close inbound tcp/web
Logs: {directory}/*.log
"""


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; 0 when it went well, also when Ctrl-C ended it."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--once", action="store_true", help="end after the measurements (make demo ONCE=1)")
    once = parser.parse_args(arguments).once
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background jobs begin with it ignored
    try:
        with Sandbox() as sandbox:
            _show(sandbox, once=once)
    except KeyboardInterrupt:
        print("\nended: hub, agents and web page are stopped, and their directory is removed")
    except (DemoError, OSError) as failure:
        print(f"make demo: {failure}", file=sys.stderr)
        return 1
    return 0


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)  # by way of the sandbox's end


def _show(sandbox: Sandbox, *, once: bool) -> None:
    print(HEAD.format(directory=sandbox.directory))
    page = sandbox.start_page()
    print(f"0. A small web page at 127.0.0.1:{page}\n")
    home, workplace = _join(sandbox)
    entry = _open_tunnel(sandbox, home, workplace, page)
    print("5. Fetch the page through the mesh\n")
    print(f"   GET http://127.0.0.1:{entry}/")
    for line in speed.fetch(entry).splitlines():
        print(f"   {line}")
    print(WAY.format(entry=entry, page=page))
    _measure(entry, page)
    if once:
        print("\nONCE=1: done; hub, agents and web page end now")
        return
    print(
        TRY.format(
            home=sandbox.directory,
            bin=sandbox.ztm.parent,
            entry=entry,
            agent=home.address,
            directory=sandbox.directory,
        )
    )
    print("It stays up until Ctrl-C.", flush=True)
    sandbox.wait()


def _join(sandbox: Sandbox) -> tuple[Agent, Agent]:
    print("1. Start a hub; the first time, it writes a permit for the user root\n")
    sandbox.start_hub("root.json")
    print("2. Start two agents; they listen for 'ztm' on this machine only\n")
    home, workplace = sandbox.start_agent("home"), sandbox.start_agent("workplace")
    print("3. Join both to the mesh by the permit\n")
    for agent in (home, workplace):
        sandbox.ztm_at(agent, "join", MESH, "--as", agent.name, "--permit", "root.json")
    sandbox.ztm_at(home, "get", "ep")
    sandbox.ztm_at(home, "ping", "ep", "workplace")
    return home, workplace


def _open_tunnel(sandbox: Sandbox, home: Agent, workplace: Agent, page: int) -> int:
    """Open a tunnel from home to the page; the port of its entrance."""
    print("4. Open a tunnel: an exit at workplace, an entrance at home\n")
    entry = sandbox.free_port()
    sandbox.ztm_at(workplace, "tunnel", "open", "outbound", "tcp/web", "--targets", f"127.0.0.1:{page}")
    sandbox.ztm_at(home, "tunnel", "open", "inbound", "tcp/web", "--listen", f"127.0.0.1:{entry}")
    _await_exit(sandbox, home)
    sandbox.ztm_at(home, "tunnel", "get", "tunnel")
    return entry


def _await_exit(sandbox: Sandbox, home: Agent) -> None:
    """Wait until home has heard of the exit, and say how long that took."""
    begin = time.monotonic()
    while not _knows_exit(sandbox, home):
        if time.monotonic() - begin > NEWS:
            raise DemoError(f"home has not heard of workplace's exit within {NEWS:.0f} s")
    print(f"   (home hears of the exit by the mesh's shared files: {time.monotonic() - begin:.1f} s)\n", flush=True)


def _knows_exit(sandbox: Sandbox, home: Agent) -> bool:
    tunnels = json.loads(sandbox.said_by_ztm_at(home, "tunnel", "get", "tunnel", "-o", "json"))
    return any(tunnel["outbound"] for tunnel in tunnels)


def _measure(entry: int, page: int) -> None:
    print("\n6. How fast is that here, with all five processes on this one machine?\n")
    print(f"   {'':32}{'through the mesh':>18}{'directly':>12}")
    meshed, direct = speed.first_bytes(entry), speed.first_bytes(page)
    _row("first byte, new connection, p50", f"{meshed.p50 * 1000:.2f} ms", f"{direct.p50 * 1000:.2f} ms")
    _row("the slowest of them", f"{meshed.slowest * 1000:.2f} ms", f"{direct.slowest * 1000:.2f} ms")
    bulk, bare = speed.bulk(entry), speed.bulk(page)
    _row(f"bulk, {speed.BULK >> 20} MiB", f"{bulk / 1e6:.0f} MB/s", f"{bare / 1e6:.0f} MB/s")
    print(f"\n   ({speed.CONNECTIONS} connections, one after the other; `make bench` measures with care)", flush=True)


def _row(what: str, meshed: str, direct: str) -> None:
    print(f"   {what:32}{meshed:>18}{direct:>12}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
