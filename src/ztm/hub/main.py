"""`ztm run hub`: one hub as one process, until it is told to stop."""

import logging
import sys

from ztm.hub.config import HubConfig
from ztm.hub.hub import Hub
from ztm.hub.root import issue_once
from ztm.logs import log_to_stderr
from ztm.net.aio import run as run_loop
from ztm.net.choice import network as chosen_network
from ztm.net.notify import Notifier
from ztm.net.process import tune_process
from ztm.net.serving import reported, serve
from ztm.store.lock import sole_use

log = logging.getLogger("ztm.hub")


def run(config: HubConfig) -> int:
    """Run a hub in the foreground; the process's exit status.

    Raises:
        ZtmError: it could not start.
    """
    log_to_stderr(config.logs)
    tune_process()
    told = Notifier.of_environment()
    with reported(told), sole_use(config.data, "hub"):
        _root_permit(config)
        return run_loop(_serve(config, told))


def _root_permit(config: HubConfig) -> None:
    if issue_once(config.data, config.names, config.permit, ca=config.ca, signature=config.signature):
        text = f"The root permit is in {config.permit}: whoever has it administers the mesh"
        if config.logs.format == "json":
            log.info("%s", text)
            return
        print(  # noqa: T201 (for the person who started it)
            f"{text}. Join with:\n  ztm join my-mesh --as my-first-ep --permit {config.permit}", file=sys.stderr
        )
    elif config.permit is not None and not config.permit.exists():
        log.warning("a root permit was issued before, so %s is not written; 'ztm root' makes another", config.permit)


async def _serve(config: HubConfig, told: Notifier) -> int:
    network = chosen_network()
    log.debug("the network is %s", network.kind)
    status = await serve(Hub(config, network), told, drain=config.drain)
    await network.flushed()
    return status
