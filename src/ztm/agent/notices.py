"""What a user should know about the options that an agent was started with.

Only what is written here is told; what an open local port means is said by the port itself.
"""

from collections.abc import Callable

from ztm import pki
from ztm.agent.config import AgentConfig

UNCONFINED = (
    "--unconfined-apps: apps by others are held by nothing here, and may read this agent's keys and do whatever "
    "its own OS user may"
)
NO_P2P = "--enable-p2p has no effect: direct connections are not built in this version, and all traffic goes by the hub"


def notices(config: AgentConfig, identity_key: Callable[[], str]) -> list[str]:
    """One sentence each, most important first; none where all options do what they say."""
    found = []
    if config.signature and pki.kind_of(identity_key()) != config.signature:
        found.append(
            f"--pqc-signature {config.signature} has no effect on this agent's identity, which was made before; "
            "a new one needs new permits"
        )
    if config.unconfined_apps:
        found.append(UNCONFINED)
    if config.p2p:
        found.append(NO_P2P)
    return found
