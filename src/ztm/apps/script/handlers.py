"""The script app's handlers: each answers one request for this endpoint, or has a script run elsewhere.

Which of them a path leads to is in `api`. Source: spec apps-network 4.2 and 4.3.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from ztm.apps.base import AppContext
from ztm.apps.callers import peer_of
from ztm.apps.script.client import Kept
from ztm.apps.script.entry import EXT, EXT_HEADER, Entry
from ztm.apps.script.exit import Exit
from ztm.apps.script.forms import SettingsBody, shown
from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.model import MAX_SCRIPT, Order
from ztm.apps.script.service import Scripts
from ztm.errors import BrokenStreamError, UsageError
from ztm.model import Peer, check_uuid
from ztm.rest.message import BINARY, JSON, TEXT, Request, Response
from ztm.wire.codec import encode_endpoints

PYTHON_ONLY = "this endpoint runs Python scripts only\n"
STATUS_HEADER = "ztm-status"
"""Exit status of a script, in the answer to the local user."""
CUT_HEADER = "ztm-cut"
"""Whether the answer holds the beginning of the output only."""


class Handlers:
    """What can be asked of scripts."""

    def __init__(self, context: AppContext, scripts: Scripts, exit_: Exit, entry: Entry, limits: ScriptLimits) -> None:
        self._context = context
        self._scripts = scripts
        self._exit = exit_
        self._entry = entry
        self._limits = limits

    async def endpoints(self, request: Request) -> Response:  # noqa: ARG002
        """The endpoints of the mesh."""
        return Response(body=encode_endpoints(await self._context.endpoints()), content_type=JSON)

    # ------------------------------------------------------------------ settings

    async def settings(self, request: Request) -> Response:  # noqa: ARG002
        """What this endpoint allows."""
        return Response(body=shown(self._scripts.settings, self._exit.running))

    async def change(self, request: Request) -> Response:
        """Allow something else on this endpoint."""
        peer = request.peer or Peer(self._context.user, self._context.place.id)
        settings = self._scripts.change(peer, await request.json(SettingsBody))
        return Response(201, shown(settings, self._exit.running))

    # ------------------------------------------------------------------ runs

    async def run(self, request: Request) -> Response:
        """Run a script on the endpoint of the path, and answer with its output when it has ended, as v1 does."""
        endpoint = check_uuid("endpoint", request.params["ep"])
        order, script = Order.parse(request.query), await request.body(MAX_SCRIPT)
        output = Kept(self._limits.kept_output, merged=True)
        status = await _unless_gone(request, self._entry.run(endpoint, order, script, output))
        headers = [(STATUS_HEADER, str(status)), *([(CUT_HEADER, "1")] if output.is_cut else [])]
        return Response(200, bytes(output.stdout), BINARY, headers)

    async def enter(self, request: Request) -> None:
        """Run a script for another endpoint, on the stream that it asks with."""
        if request.query.get("ext") != EXT:
            raise UsageError(f"scripts are taken with ext={EXT} only")
        order = Order.parse(request.query)
        if order.language != "python":
            raise UsageError(PYTHON_ONLY.strip())
        await self._exit.serve(peer_of(request), order, lambda: request.upgrade.accept([(EXT_HEADER, EXT)]))

    async def refuse(self, request: Request) -> Response:  # noqa: ARG002
        """A caller of v1, whose command line prints this; the stream then ends (spec apps-network 7 rule 1)."""
        return Response(415, PYTHON_ONLY, TEXT, [("connection", "close")])


async def _unless_gone(request: Request, work: Coroutine[Any, Any, int]) -> int:
    """What `work` gives; it is cancelled when the caller, whose body was taken, goes away.

    Raises:
        BrokenStreamError: the caller went away.
    """
    loop = asyncio.get_running_loop()
    working, leaving = loop.create_task(work), loop.create_task(request.gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise BrokenStreamError("the caller went away; its script was stopped")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
