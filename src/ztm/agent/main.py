"""`ztm run agent`: one agent as one process, until it is told to stop."""

import logging
from datetime import UTC, datetime

from ztm import pki
from ztm.agent.agent import Agent
from ztm.agent.api.views import AgentSettings, MeshSettings
from ztm.agent.config import AgentConfig
from ztm.apps.builtin import BUILTIN
from ztm.errors import UsageError
from ztm.logs import log_to_stderr
from ztm.net.aio import run as run_loop
from ztm.net.choice import network as chosen_network
from ztm.net.notify import Notifier
from ztm.net.process import tune_process
from ztm.net.serving import reported, serve
from ztm.store.lock import sole_use

log = logging.getLogger("ztm.agent")


def run(config: AgentConfig) -> int:
    """Run an agent in the foreground; the process's exit status.

    Raises:
        ZtmError: it could not start.
    """
    log_to_stderr(config.logs)
    tune_process()
    told = Notifier.of_environment()
    with reported(told), sole_use(config.data, "agent"):
        return run_loop(_serve(config, told))


async def _serve(config: AgentConfig, told: Notifier) -> int:
    network = chosen_network(config.proxy)
    log.debug("the network is %s", network.kind)
    status = await serve(_Joining(config, network, BUILTIN), told, drain=config.drain)
    await network.flushed()
    return status


class _Joining(Agent):
    """An agent that joins the mesh that it was told to as it starts."""

    async def start(self) -> None:
        """See `Agent`; a mesh that cannot be joined is a failed start."""
        await super().start()
        if self.config.join is not None:
            await _join(self, self.config, self.config.join)


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
