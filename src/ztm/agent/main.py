"""`ztm run agent`: one agent as one process, until it is told to stop."""

import asyncio
import signal
from datetime import UTC, datetime

from ztm import pki
from ztm.agent.agent import Agent
from ztm.agent.config import AgentConfig
from ztm.agent.views import AgentSettings, MeshSettings
from ztm.apps.builtin import BUILTIN
from ztm.errors import UsageError
from ztm.logs import log_to_stderr
from ztm.net.aio import AioNetwork
from ztm.net.aio import run as run_loop
from ztm.net.process import tune_process
from ztm.store.lock import sole_use


def run(config: AgentConfig) -> int:
    """Run an agent in the foreground; the process's exit status.

    Raises:
        ZtmError: it could not start.
    """
    log_to_stderr()
    tune_process()
    with sole_use(config.data, "agent"):
        return run_loop(_serve(config))


async def _serve(config: AgentConfig) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    agent = Agent(config, AioNetwork(), BUILTIN)
    try:
        await agent.start()
        if config.join is not None:
            await _join(agent, config, config.join)
        await stop.wait()
    finally:
        await agent.close()
    return 0


async def _join(agent: Agent, config: AgentConfig, mesh: str) -> None:
    if config.join_as is None or config.permit is None:
        raise UsageError("joining at the start needs an endpoint name and a permit")
    try:
        text = config.permit.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read permit {config.permit}: {error}") from error
    permit = pki.parse_permit(text, datetime.now(UTC))
    settings = MeshSettings(
        ca=permit.ca,
        agent=AgentSettings(name=config.join_as, certificate=permit.certificate, privateKey=permit.key),
        bootstraps=[str(address) for address in permit.bootstraps],
    )
    await agent.join(mesh, settings)
