"""An app by others that was given up, in the host of a mesh: it is said to have failed, and an order revives it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from app_mesh import ask
from process_mesh import package, process_mesh, until

from ztm.agent.apps.host import AppHost
from ztm.agent.apps.names import AppName
from ztm.agent.apps.process.app import process_app
from ztm.agent.apps.process.limits import LIMITS
from ztm.errors import UnreachableError
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange

LIMITED = replace(LIMITS, first_retry=0.01, last_retry=0.02, crashes=2)
CODE = """
import os
from ztm_app import App

app = App()

@app.user.get("/pid")
async def pid(req):
    return os.getpid()

@app.user.get("/exit")
async def leave(req):
    os._exit(1)
"""


async def test_an_app_that_was_given_up_is_not_said_to_run_until_an_order_revives_it(tmp_path: Path) -> None:
    installed = package(tmp_path / "package", CODE)
    mesh, store = process_mesh(tmp_path, installed, LIMITED), AgentStore(tmp_path / "store")
    await mesh.join("a")
    context = cast("Any", mesh.context("a"))
    context.close = context.stop
    host = AppHost("m", lambda: "alice", store, mesh.network, {}, lambda *_: context)
    host.add(AppName("alice", "probe"), process_app(installed, LIMITED))

    def state() -> str:
        process = host.app("alice", "probe").process
        return process.state if process is not None else ""

    try:
        for _ in range(2):
            await until(lambda: state() in ("", "running"))
            app = await host.running("alice", "probe")
            await asyncio.gather(ask(app.user_api, "GET", "/exit"), return_exceptions=True)
            await until(lambda: state() != "running")
        await until(lambda: state() == "failed")
        shown = host.app("alice", "probe")
        assert shown.process is not None
        assert (shown.is_running, "crashed 2 times" in shown.process.reason) == (False, True)
        with pytest.raises(UnreachableError, match="is failed: it crashed 2 times"):
            await ask((await host.running("alice", "probe")).user_api, "GET", "/pid")
        await host.change("alice", "probe", AppChange(is_running=True))
        assert (host.app("alice", "probe").is_running, state()) == (True, "running")
        status, _, body = await ask((await host.running("alice", "probe")).user_api, "GET", "/pid")
        assert (status, int(body) > 0) == (200, True)
    finally:
        await host.close()
        await mesh.close()
        store.close()
