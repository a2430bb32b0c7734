"""`ztm forward` at work: a local listener, and a stream through the agent for each connection.

It is a file of its own because what it needs takes time to load.
"""

import asyncio
import contextlib
import signal

from ztm.apps.command import EndpointRef
from ztm.cli.context import Context
from ztm.cli.output import complain
from ztm.cli.resolve import mesh_path
from ztm.errors import ZtmError
from ztm.model import Address
from ztm.net.aio import AioNetwork
from ztm.net.base import Stream
from ztm.net.choice import network as chosen_network
from ztm.wire.paths import FORWARD_TCP, fill


class Forwarding:
    """One run of the command."""

    def __init__(self, context: Context, endpoint: EndpointRef, target: Address) -> None:
        self._context = context
        self._target = target
        self._endpoint = endpoint
        below = fill(FORWARD_TCP, target=str(target)).removeprefix("/api")
        self._path = f"{mesh_path(context.mesh)}/apps/ztm/tunnel/api/endpoints/{endpoint.id}{below}"

    async def serve(self, listen: Address) -> int:
        """Listen and carry until Ctrl-C, SIGTERM or the end of ``--timeout``; always 0.

        Raises:
            ConflictError: the port cannot be listened on.
        """
        network = chosen_network()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

        async def accept(stream: Stream) -> None:
            await self._carry(network, stream)

        listener = await network.listen(listen, accept)
        try:
            self._context.out(
                f"Forwarding {listener.address} to {self._target} on endpoint {self._endpoint.name} (Ctrl-C ends it)"
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._context.time_left()):
                    await stop.wait()
        finally:
            await listener.close()
        return 0

    async def _carry(self, network: AioNetwork, client: Stream) -> None:
        """Carry one connection; a failure is told, and harms no other."""
        try:
            opened, _, early = await asyncio.to_thread(self._context.client.connect, self._path, {})
            opened.settimeout(None)
            agent = await network.adopt(opened)
        except ZtmError as error:
            complain(f"{client.remote}: {error}")
            client.abort(str(error))
            return
        if early:
            agent.unread(early)
        try:
            await network.splice(client, agent)
        except ZtmError as error:
            client.abort(str(error))
        finally:
            agent.abort("the client is gone")
