"""This endpoint's own exit, asked by its own entry: a stream within the process, under the same rules and audit."""

import asyncio

from ztm.apps.base import AppContext
from ztm.apps.proxy.exit import Exit
from ztm.apps.proxy.hosts import Host
from ztm.apps.streams.reach import Early
from ztm.errors import BrokenStreamError, ZtmError
from ztm.model import Peer
from ztm.net.base import Stream
from ztm.net.joint import Joint, joint
from ztm.wire.paths import PROXY_DATAGRAMS


class OwnExit:
    """Asks the exit of this endpoint."""

    def __init__(self, context: AppContext, exit_: Exit) -> None:
        self._context = context
        self._exit = exit_
        self._peer = Peer(context.user, context.place.id)

    async def ask(self, kind: str, host: str, port: int, early: Early) -> Stream:
        """A stream to the destination, which has accepted; `kind` is a path of `wire.paths`.

        Cancelling it cuts the stream.

        Raises:
            ZtmError: what `Exit.carry` raises; nothing was carried.
        """
        near, far = joint()
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._context.spawn(self._serve(kind, Host.parse(host), port, far, accepted))
        try:
            await accepted
        except BaseException:
            near.abort("not accepted")
            raise
        near.write_now(early.data())
        early.forget()
        return near

    async def _serve(self, kind: str, host: Host, port: int, far: Joint, accepted: asyncio.Future[None]) -> None:
        def accept() -> Stream:
            if not accepted.done():
                accepted.set_result(None)
            return far

        carry = self._exit.carry_datagrams if kind == PROXY_DATAGRAMS else self._exit.carry
        try:
            await carry(self._peer, host, port, accept)
        except ZtmError as error:
            if not accepted.done():
                accepted.set_exception(error)
            far.abort(str(error))
        finally:
            if not accepted.done():
                accepted.set_exception(BrokenStreamError("the proxy app stops"))
            far.end()
