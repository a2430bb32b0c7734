"""For tests, ours and yours: virtual time, and a simulated network behind the same seam as the real one.

    async def main() -> None:
        world = SimWorld()
        world.link("10.0.0.1", "10.0.0.2", delay=0.02)
        await world.host("10.0.0.2").listen(Address("0.0.0.0", 80), echo)
        stream = await world.host("10.0.0.1").dial(Address("10.0.0.2", 80))
        world.cut("10.0.0.1", "10.0.0.2")

    run_virtual(main())

Nothing here touches a real network or waits in real time.
"""

from ztm.testing.clock import DeadlockError, VirtualLoop, run_virtual, settle
from ztm.testing.network import SimNetwork
from ztm.testing.world import SimWorld

__all__ = ["DeadlockError", "SimNetwork", "SimWorld", "VirtualLoop", "run_virtual", "settle"]
